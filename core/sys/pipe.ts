// Pipes, and bytes moved from them to files inside the kernel: a byte is always in the pipe or in the file, never only in our memory.
import { O_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import { SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../../proto/abi/splice.gen.ts';
import { checked, orErrno, raw } from './libc.ts';

/** A new pipe, both ends CLOEXEC. */
export function makePipe(): { read: number; write: number } {
  const fds = Buffer.alloc(8);
  checked('pipe2', 'new pipe', raw.pipe2(fds, O_CLOEXEC));
  return { read: fds.readInt32LE(0), write: fds.readInt32LE(4) };
}

const offset = Buffer.alloc(8);

/** Moves up to `count` bytes that wait in a pipe to a place of a file. Gives how many, 0 at the pipe's end, or minus an errno (EAGAIN: nothing waits; ENOSPC: nothing was taken). */
export function spliceToFile(
  pipe: number,
  file: number,
  at: { readonly position: number; readonly count: number },
): number {
  offset.writeBigInt64LE(BigInt(at.position), 0);
  return orErrno(raw.splice(pipe, null, file, offset, at.count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

/** Moves up to `count` bytes from a pipe or terminal to a pipe, or a pipe to a terminal; as spliceToFile(). */
export function splicePipes(from: number, to: number, count: number): number {
  return orErrno(raw.splice(from, null, to, null, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}
