// Starts a container and stays with it: streams, window, signals, exit code.
import type { Client } from '../client/client.ts';
import { readConfig } from './config.ts';
import { DEFAULT_KEYS, readDetachKeys } from './detach-keys.ts';
import { CliError } from './error.ts';
import type { Session } from './session.ts';
import { forwardSignals } from './signals.ts';
import { joinStreams } from './stream.ts';
import { followWindow } from './terminal.ts';

export type Foreground = {
  readonly client: Client;
  readonly id: string;
  readonly streams: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  readonly tty: boolean;
  readonly detachKeys: string;
  readonly sigProxy: boolean;
  /** What counts as the end: `removed` with --rm, so that it is gone when the command ends. */
  readonly condition: 'next-exit' | 'removed';
};

/** Attaches, starts, waits. Gives the exit code, or 0 when the user left by the detach keys. */
export async function startInForeground(session: Session, run: Foreground): Promise<number> {
  const { client, id, streams, detachKeys } = run;
  const { stdin, stdout, stderr } = streams;
  const attaching =
    stdin || stdout || stderr ? client.attach(id, { stream: true, stdin, stdout, stderr, detachKeys }) : undefined;
  const [attached, waiting] = await Promise.all([attaching, client.waitContainer(id, run.condition)]);
  // Joined before the start: what is printed first is read first, and typed-ahead input is there when the program reads.
  const joined =
    attached === undefined
      ? undefined
      : joinStreams(session, { socket: attached.socket, tty: run.tty, stdin, detachKeys });
  joined?.catch(() => undefined);
  const stops: (() => void)[] = [];
  try {
    if (run.sigProxy) stops.push(forwardSignals(session, (signal) => client.killContainer(id, signal)));
    await client.startContainer(id).catch(async (error: unknown) => {
      attached?.socket.destroy();
      // The terminal is as before when the failure is told.
      await joined?.catch(() => undefined);
      throw error;
    });
    if (run.tty && stdout) stops.push(followWindow(session, (size) => client.resizeContainer(id, size)));
    const end = await joined;
    if (end === 'detached') return 0;
    return await exitCodeOf(waiting.exit);
  } finally {
    for (const stop of stops) stop();
  }
}

/** The keys of the flag, else of the user's settings, else Docker's. Throws CliError when they are none: before anything is started. */
export function keysOf(session: Session, flag: string | undefined): string {
  const keys = flag ?? readConfig(session.env).detachKeys ?? DEFAULT_KEYS;
  readDetachKeys(keys);
  return keys;
}

/** The exit code of a wait that has begun. Throws CliError with 125 when the engine went away or says so. */
export async function exitCodeOf(
  exit: Promise<{ StatusCode: number; Error?: { Message: string } | undefined }>,
): Promise<number> {
  const result = await exit.catch((error: unknown) => {
    throw new CliError(`error waiting for container: ${error instanceof Error ? error.message : String(error)}`, 125);
  });
  if (result.Error !== undefined && result.Error !== null)
    throw new CliError(`error waiting for container: ${result.Error.Message}`, 125);
  return result.StatusCode;
}
