// Joins the terminal and a container's streams over a taken-over connection, until the output ends or the user types the detach keys.
import type { Socket } from 'node:net';
import { makeDemux } from './demux.ts';
import { makeKeyFilter, readDetachKeys } from './detach-keys.ts';
import type { Session } from './session.ts';
import { makeRaw } from './terminal.ts';

export type StreamOptions = {
  readonly socket: Socket;
  readonly tty: boolean;
  /** Send standard input. */
  readonly stdin: boolean;
  readonly detachKeys: string;
};

export type StreamEnd = 'done' | 'detached';

/** Runs the streams; the terminal is as before when this answers or throws. */
export async function joinStreams(session: Session, options: StreamOptions): Promise<StreamEnd> {
  const restore = options.stdin && options.tty ? makeRaw(session) : () => undefined;
  const input = startInput(session, options);
  try {
    return await Promise.race([copyOutput(session, options), input.detached.then(() => 'detached' as const)]);
  } finally {
    input.stop();
    restore();
    options.socket.destroy();
  }
}

/** Copies standard input to the socket; its end is the socket's half close. */
function startInput(session: Session, options: StreamOptions): { detached: Promise<void>; stop: () => void } {
  const { socket } = options;
  const detached = Promise.withResolvers<void>();
  if (!options.stdin) {
    socket.end();
    return { detached: detached.promise, stop: () => undefined };
  }
  const { stdin } = session;
  const filter = options.tty ? makeKeyFilter(readDetachKeys(options.detachKeys)) : undefined;
  const onData = (typed: Buffer): void => {
    const { pass, detach } = filter === undefined ? { pass: typed, detach: false } : filter(typed);
    if (pass.length > 0 && socket.writable && !socket.write(pass)) {
      stdin.pause();
      socket.once('drain', () => stdin.resume());
    }
    if (detach) detached.resolve();
  };
  const onEnd = (): void => void socket.end();
  stdin.on('data', onData).on('end', onEnd).on('error', onEnd);
  const stop = (): void => {
    stdin.off('data', onData).off('end', onEnd);
    stdin.pause();
    // A pipe that nobody reads any more must not keep the process.
    stdin.unref?.();
  };
  return { detached: detached.promise, stop };
}

async function copyOutput(session: Session, options: StreamOptions): Promise<StreamEnd> {
  const demux = options.tty ? (bytes: Buffer) => [{ stream: 1, bytes }] : makeDemux();
  for await (const arrived of options.socket as AsyncIterable<Buffer>) {
    for (const { stream, bytes } of demux(arrived)) {
      const to = stream === 2 ? session.stderr : session.stdout;
      if (!to.write(bytes)) await new Promise((resolve) => to.once('drain', resolve));
    }
  }
  return 'done';
}
