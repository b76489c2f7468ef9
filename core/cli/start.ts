// `berth start`: several containers in the background, or one with its streams.
import { type Given, isOn, textOf } from './command.ts';
import { CliError } from './error.ts';
import type { Session } from './session.ts';
import { onEach } from './verbs.ts';
import { keysOf, startInForeground } from './watch.ts';

const startEach = onEach(async (client, _given, name) => {
  await client.startContainer(name);
  return name;
});

/** Prints the names that were started; with -a or -i the container's output, and its exit code is ours. */
export async function startContainers(session: Session, given: Given): Promise<number> {
  const interactive = isOn(given, 'interactive');
  if (!isOn(given, 'attach') && !interactive) return startEach(session, given);
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
