// Standard input of a process as a Writable: a pipe through libuv, a terminal by plain writes. Waits where the process does not read.
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { closeFd, duplicate, setNonblocking } from '../sys/fd.ts';
import type { Container } from './container.ts';

type Done = (error?: Error | null) => void;
const RETRY_MS = 5;

/** `later`: calls back when there is one, where none is there yet. */
export type Terminal = { readonly fd: () => number | undefined; readonly later?: (then: () => void) => boolean };

/** Writes to a terminal's master; the descriptor stays open. Bytes for one that is gone are dropped. */
export function terminalInput(terminal: Terminal): Writable {
  const put = (bytes: Buffer, done: Done): void => {
    const to = terminal.fd();
    if (to === undefined && terminal.later?.(() => put(bytes, done))) return;
    const left = to === undefined ? 0 : bytes.length - tryWrite(to, bytes);
    if (left === 0) done();
    else setTimeout(put, RETRY_MS, bytes.subarray(bytes.length - left), done);
  };
  return new Writable({ write: (chunk: Buffer, _encoding, done) => put(chunk, done) });
}

/** How much a terminal took; all of it where nobody reads it any more. */
function tryWrite(fd: number, bytes: Buffer): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EAGAIN' ? 0 : bytes.length;
  }
}

/** Writes to a pipe; takes the descriptor over and closes it at its end. */
export function pipeInput(fd: number): Socket {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.on('error', () => socket.destroy()); // EPIPE: the process has closed its standard input
  return socket;
}

/**
 * An attachment's input. A container that does not run yet gets the bytes when it does. end() closes the container's standard input where
 * it was made for one client (`StdinOnce`), and never a terminal's.
 */
export function containerInput(container: Container): Writable {
  if (container.record.body.Tty)
    return terminalInput({ fd: () => container.terminal, later: (then) => whenStarted(container, then) });
  const once = container.record.body.StdinOnce;
  let socket: Socket | undefined;
  const whenOpen = (then: (socket: Socket | undefined) => void): void => {
    if (socket === undefined && container.input !== undefined) {
      setNonblocking(container.input);
      socket = pipeInput(duplicate(container.input));
    }
    if (socket !== undefined) then(socket.destroyed ? undefined : socket);
    else if (!whenStarted(container, () => whenOpen(then))) then(undefined);
  };
  return new Writable({
    write: (chunk: Buffer, _encoding, done) =>
      whenOpen((to) => {
        if (to === undefined) done();
        else to.write(chunk, () => done());
      }),
    final: (done) =>
      whenOpen((to) => {
        if (once && container.input !== undefined) {
          closeFd(container.input);
          container.input = undefined;
        }
        if (once) to?.end();
        done();
      }),
    destroy: (error, done) => {
      if (socket !== undefined && !once) socket.destroy();
      done(error);
    },
  });
}

/** Calls back when a container that does not run gets its streams; false for one that runs. */
function whenStarted(container: Container, then: () => void): boolean {
  if (container.record.state.kind === 'running') return false;
  container.inputReady.add(then);
  return true;
}
