// The door: the helper's side of the porter (core/porter), the sandboxed process that holds the sockets, speaks gRPC and keeps the lanes. Nothing is
// believed of it but that bytes came. Who is at the other end of a connection the kernel says, asked here of the connection itself; what is asked is
// signed by a key of that uid and numbered, so a porter that was taken over can lose and delay calls, but make none. The descriptors that pass
// through it, both ways, are in its hands; it has them from those who are connected, and policy judges each anew.
// It sends what cannot keep us waiting (core/porter/quiet.ts) and holds it as long as we do; connections go back to it (side.ts). A porter that breaks the
// rules is killed, and another starts.
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { SIGKILL } from '../../proto/abi/signal.gen.ts';
import { SOCK_STREAM } from '../../proto/abi/socket.gen.ts';
import { encodeFrame, frameReader } from '../../proto/porter/frame.ts';
import { reaped } from '../launch/run.ts';
import { pipe2 } from '../sys/descriptors.ts';
import { pidfdSendSignal } from '../sys/processes.ts';
import { socketpair } from '../sys/sockets.ts';
import { newCalls, type Send } from './calls.ts';
import type { Service } from './serve.ts';
import { openSide, type Side } from './side.ts';

export type Ends = { readonly errors: number; readonly stream: number; readonly side: number };
export type DoorParts = {
  /** Starts a porter with these at its ends; they stay open here. */
  readonly start: (ends: Ends) => Promise<{ readonly pid: number; readonly pidfd: number }>;
  readonly service: Service;
  /** No call is taken before. */
  readonly mayBegin: Promise<unknown>;
  readonly started: (pid: number) => void;
  readonly log: (line: string) => void;
};
/** Answers and events that a porter has not read. */
const UNREAD_BYTES_MAX = 16 << 20;
/** After one that lived shorter than this the next one waits so long. */
const AGAIN_MS = 500;

/** Starts a porter, and another whenever one has ended; gives the function that ends this once the first one is ready. Throws where it never is. */
export async function openDoor(parts: DoorParts): Promise<() => void> {
  const side = openSide();
  let porter = await admit(parts, side);
  let closed = false;
  const close = (): void => {
    closed = true;
    porter.end('the helper ends');
  };
  const keepOpen = async (): Promise<void> => {
    while (!closed) {
      const begun = Date.now();
      const why = await porter.ended;
      if (closed) return;
      parts.log(`the porter is gone: ${why}`);
      if (Date.now() - begun < AGAIN_MS) await sleep(AGAIN_MS);
      porter = await admit(parts, side);
    }
    close();
  };
  const first = await Promise.race([porter.ready, porter.ended]);
  if (first !== undefined) throw new Error(`the porter does not start: ${first}`);
  keepOpen().catch((error: unknown) => {
    parts.log(`no porter: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1); // the keeper starts another helper
  });
  return close;
}

async function admit({ start, service, mayBegin, started, log }: DoorParts, side: Side) {
  const [stream, itsStream] = socketpair(SOCK_STREAM);
  const [errors, itsErrors] = pipe2();
  const socket = new Socket({ fd: stream, readable: true, writable: true });
  new Socket({ fd: errors, readable: true, writable: false }).once('data', (said: Buffer) =>
    log(`the porter says ${JSON.stringify(said.toString('utf8', 0, 1000))}`),
  );
  const { pid, pidfd } = await start({ errors: itsErrors, stream: itsStream, side: side.end }).finally(() => {
    for (const fd of [itsErrors, itsStream]) closeSync(fd);
  });
  await mayBegin;
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const { promise: ready, resolve: begin } = Promise.withResolvers<void>();
  let over = false;
  const send: Send = (frame) => {
    if (over) return;
    socket.write(encodeFrame(frame));
    if (socket.writableLength > UNREAD_BYTES_MAX) end('it does not read');
  };
  const begun = (): void => {
    started(pid);
    begin();
  };
  const calls = newCalls({ side, send, service, ready: begun, log });
  const end = (why: string): void => {
    if (over) return;
    over = true;
    socket.destroy();
    pidfdSendSignal(pidfd, SIGKILL);
    reaped(pidfd).catch((error: unknown) => log(`the porter's end: ${String(error)}`));
    calls.stop();
    side.clear();
    resolve(why);
  };
  const read = frameReader(calls.take);
  socket.on('data', (chunk: Buffer) => {
    try {
      if (!over) read(chunk);
    } catch (error) {
      end(error instanceof Error ? error.message : String(error));
    }
  });
  for (const event of ['error', 'end', 'close']) socket.on(event, () => end('it has ended'));
  return { ready, ended, end };
}
