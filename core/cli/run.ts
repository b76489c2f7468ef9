// `berth run`: create, attach, wait, start, in that order, so that neither a byte nor the exit code can be missed.
import type { Client } from '../client/client.ts';
import { type Given, isOn, listOf, textOf } from './command.ts';
import { attachedStreams } from './container-body.ts';
import { makeContainer, readBody, runFailure } from './create.ts';
import { CliError } from './error.ts';
import type { Session } from './session.ts';
import { keysOf, startInForeground } from './watch.ts';
import { windowSize } from './terminal.ts';

/** `berth run [OPTIONS] IMAGE …`: the exit code is the container's, 125 to 127 when it could not be started. */
export async function runContainer(session: Session, given: Given): Promise<number> {
  const detached = isOn(given, 'detach');
  if (detached && listOf(given, 'attach').length > 0)
    throw new CliError('conflicting options: cannot specify both --attach and --detach', 1);
  const streams = attachedStreams(given);
  const tty = isOn(given, 'tty');
  if (streams.stdin && tty && !session.stdin.isTTY) throw new CliError('the input device is not a TTY');
  try {
    const read = readBody(session, given, 'run');
    const detachKeys = keysOf(session, textOf(given, 'detach-keys'));
    const size = tty && !detached ? windowSize(session) : undefined;
    const body =
      size === undefined ? read : { ...read, HostConfig: { ...read.HostConfig, ConsoleSize: [size.h, size.w] } };
    const client = await session.client();
    const id = await makeContainer(session, { client, given, body });
    if (detached) return await startDetached(session, client, id);
    const any = streams.stdin || streams.stdout || streams.stderr;
    if (!any) session.stdout.write(`${id}\n`);
    return await startInForeground(session, {
      client,
      id,
      streams,
      tty,
      detachKeys,
      sigProxy: !given.flags.has('sig-proxy') || isOn(given, 'sig-proxy'),
      condition: isOn(given, 'rm') ? 'removed' : 'next-exit',
    });
  } catch (error) {
    throw runFailure(error);
  }
}

async function startDetached(session: Session, client: Client, id: string): Promise<number> {
  try {
    await client.startContainer(id);
  } finally {
    // Also of one that did not start: it is there, and can be looked at and removed.
    session.stdout.write(`${id}\n`);
  }
  return 0;
}
