// Plain descriptors: close, duplicate, lock, window size, what they are, and paths opened once with the caller's own rights.
import { closeSync } from 'node:fs';
import {
  F_DUPFD_CLOEXEC,
  F_GETFL,
  F_SETFL,
  O_NONBLOCK,
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_STATX_DONT_SYNC,
  O_CLOEXEC,
  O_PATH,
} from '../../proto/abi/fcntl.gen.ts';
import { LOCK_EX, LOCK_NB } from '../../proto/abi/file.gen.ts';
import { TIOCSWINSZ } from '../../proto/abi/ioctls.gen.ts';
import { OPEN_HOW_BYTES, RESOLVE_NO_MAGICLINKS } from '../../proto/abi/openat2.gen.ts';
import { S_IFMT, STATX_BYTES, STATX_MNT_ID, STATX_TYPE, STX_MNT_ID_AT, STX_MODE_AT } from '../../proto/abi/stat.gen.ts';
import { SYS_openat2 } from '../../proto/abi/unistd.gen.ts';
import { checked, E, orErrno, raw, SysError } from './libc.ts';

/** Closes a descriptor. An error of close(2) says nothing that could be acted on here: the descriptor is gone all the same. */
export function closeFd(fd: number): void {
  try {
    closeSync(fd);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EIO')) throw error;
  }
}

/** A second descriptor of the same open file. */
export function duplicate(fd: number): number {
  return checked('fcntl', `F_DUPFD_CLOEXEC ${fd}`, raw.fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

/** Whether it only names a place (O_PATH). */
export function isPlace(fd: number): boolean {
  return (checked('fcntl', `F_GETFL ${fd}`, raw.fcntl(fd, F_GETFL, 0)) & O_PATH) !== 0;
}

/** Its type (S_IF*) and its mount's number, without asking the file system it lies on, which may be somebody's program. */
export function kindOf(fd: number): { readonly type: number; readonly mount: bigint } {
  const facts = Buffer.alloc(STATX_BYTES);
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  checked('statx', `descriptor ${fd}`, raw.statx(fd, '', flags, STATX_TYPE | STATX_MNT_ID, facts));
  return { type: facts.readUInt16LE(STX_MODE_AT) & S_IFMT, mount: facts.readBigUInt64LE(STX_MNT_ID_AT) };
}

/** Names a file or directory without opening it for reading: O_PATH, symlinks followed, magic links (/proc/PID/fd/N) not. */
export function openPath(path: string): number {
  const how = Buffer.alloc(OPEN_HOW_BYTES);
  how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(RESOLVE_NO_MAGICLINKS), 16);
  return checked('openat2', path, raw.openat2(SYS_openat2, AT_FDCWD, path, how, how.length));
}

/** Takes the exclusive lock of an open file; false when somebody else holds it. It is given up when the last duplicate is closed. */
export function tryLock(fd: number): boolean {
  const result = orErrno(raw.flock(fd, LOCK_EX | LOCK_NB));
  if (result === -E.EWOULDBLOCK) return false;
  if (result < 0) throw new SysError('flock', `descriptor ${fd}`, -result);
  return true;
}

/** Tells a terminal its size; the kernel sends SIGWINCH to its foreground group. */
export function setWindowSize(fd: number, columns: number, rows: number): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  checked('ioctl', `TIOCSWINSZ ${columns}x${rows}`, raw.ioctl(fd, TIOCSWINSZ, size));
}

/** Makes reads and writes answer EAGAIN instead of waiting, for every descriptor of this open file. */
export function setNonblocking(fd: number): void {
  const flags = checked('fcntl', `F_GETFL ${fd}`, raw.fcntl(fd, F_GETFL, 0));
  checked('fcntl', `F_SETFL ${fd}`, raw.fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}
