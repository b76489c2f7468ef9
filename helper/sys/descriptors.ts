// Descriptors that Node makes none of: pipes as raw numbers, sealed memory files, duplicates; and when one becomes readable, through Node's own loop.
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { F_DUPFD_CLOEXEC, O_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import { checked, raw } from './libc.ts';

/** man 2 pipe2, close-on-exec. */
export function pipe2(flags = 0): [read: number, write: number] {
  const pair = Buffer.alloc(8);
  checked('pipe2', '', raw.pipe2(pair, flags | O_CLOEXEC));
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}

/** man 2 fcntl, for commands whose argument is a number. */
export const fcntl = (fd: number, command: number, value = 0) => checked('fcntl', fd, raw.fcntl(fd, command, value));

/** A duplicate under the lowest free number, close-on-exec. */
export function duplicate(fd: number): number {
  return fcntl(fd, F_DUPFD_CLOEXEC);
}

/** man 2 dup3. */
export const dup3 = (from: number, to: number, flags = O_CLOEXEC) => checked('dup3', from, raw.dup3(from, to, flags));

/** man 2 ioctl; `value` is read and written in place. */
export const ioctl = (fd: number, request: number, value: Uint8Array = new Uint8Array(8)) =>
  checked('ioctl', `${fd} 0x${request.toString(16)}`, raw.ioctl(fd, request, value));

/** man 2 memfd_create. */
export const memfdCreate = (name: string, flags: number) => checked('memfd_create', name, raw.memfdCreate(name, flags));

// libuv's handle for pipes polls any descriptor it is given; Node shows its class only on a socket's handle.
type PipeHandle = { open(fd: number): number; readStart(): number; close(): void; unref(): void; onread: () => void };
let pipeClass: (new (type: number) => PipeHandle) | undefined;

function newPipeHandle(): PipeHandle {
  if (pipeClass === undefined) {
    const [read, write] = pipe2();
    const socket = new Socket({ fd: read, readable: true, writable: false }) as Socket & { _handle: PipeHandle };
    pipeClass = socket._handle.constructor as new (type: number) => PipeHandle;
    socket.destroy();
    closeSync(write);
  }
  return new pipeClass(0);
}

/**
 * Calls back once when the descriptor becomes readable: for a pidfd, when its process has ended. No thread, 0.8 KiB. It watches a duplicate, so the
 * caller's descriptor stays open and untouched; for a pidfd, whose read fails, nothing is taken from it. Gives the function that stops watching.
 */
export function watchPidfd(pidfd: number, callback: () => void): () => void {
  const handle = newPipeHandle();
  let open = true;
  const stop = () => {
    if (open) handle.close();
    open = false;
  };
  const error = handle.open(duplicate(pidfd));
  if (error !== 0) throw new Error(`watch ${pidfd}: libuv answers ${error}`);
  handle.onread = () => {
    if (!open) return;
    stop();
    callback();
  };
  handle.readStart();
  return stop;
}
