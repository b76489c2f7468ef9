// `berth start`: several containers in the background, or one with its streams.
import { type Given, isOn, textOf } from './command.ts';
import { CliError } from './error.ts';
import type { Session } from './session.ts';
import { tellFailures } from './verbs.ts';
import { keysOf, startInForeground } from './watch.ts';

/** One after the other: a later one may join the namespaces of an earlier one. */
async function startEach(session: Session, names: readonly string[]): Promise<number> {
  const client = await session.client();
  const failed: string[] = [];
  for (const name of names) {
    try {
      await client.startContainer(name);
      session.stdout.write(`${name}\n`);
    } catch (error) {
      tellFailures(session, [error]);
      failed.push(name);
    }
  }
  if (failed.length > 0) throw new CliError(`Error: failed to start containers: ${failed.join(', ')}`);
  return 0;
}

/** Prints the names that were started; with -a or -i the container's output, and its exit code is ours. */
export async function startContainers(session: Session, given: Given): Promise<number> {
  const interactive = isOn(given, 'interactive');
  if (!isOn(given, 'attach') && !interactive) return startEach(session, given.args);
  const [name = '', ...more] = given.args;
  if (more.length > 0) throw new CliError('you cannot start and attach multiple containers at once');
  const detachKeys = keysOf(session, textOf(given, 'detach-keys'));
  const client = await session.client();
  const found = await client.inspectContainer(name);
  return startInForeground(session, {
    client,
    id: found.Id,
    streams: { stdin: interactive && found.Config.OpenStdin, stdout: true, stderr: true },
    tty: found.Config.Tty,
    detachKeys,
    sigProxy: true,
    condition: found.HostConfig.AutoRemove ? 'removed' : 'next-exit',
  });
}
