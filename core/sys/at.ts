// Calls on names relative to a directory descriptor, for the layer worker's unpacker. Names are bytes and stay beneath the directory:
// no symbolic link, magic link, mount point or `..` is passed on the way.
import { readSync, writeSync } from 'node:fs';
import koffi from 'koffi';
import { O_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import {
  OPEN_HOW_BYTES,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../../proto/abi/openat2.gen.ts';
import { SYS_openat2 } from '../../proto/abi/unistd.gen.ts';
import { checked, E, orErrno, SysError } from './libc.ts';

const libc = koffi.load('libc.so.6');
const raw = {
  openat2: libc.func(
    'long syscall(long number, int directory, const uint8_t *path, const uint8_t *how, uint64_t size)',
  ),
  mkdirat: libc.func('int mkdirat(int directory, const uint8_t *name, uint32_t mode)'),
  mknodat: libc.func('int mknodat(int directory, const uint8_t *name, uint32_t mode, uint64_t device)'),
  symlinkat: libc.func('int symlinkat(const uint8_t *target, int directory, const uint8_t *name)'),
  linkat: libc.func('int linkat(int from, const uint8_t *old, int to, const uint8_t *name, int flags)'),
  fchownat: libc.func('int fchownat(int directory, const uint8_t *name, uint32_t uid, uint32_t gid, int flags)'),
  fchmodat: libc.func('int fchmodat(int directory, const uint8_t *name, uint32_t mode, int flags)'),
  utimensat: libc.func('int utimensat(int directory, const uint8_t *name, const int64_t *times, int flags)'),
  fsetxattr: libc.func('int fsetxattr(int fd, const uint8_t *name, const uint8_t *value, uint64_t size, int flags)'),
  copyFileRange: libc.func(
    'int64_t copy_file_range(int in, int64_t *from, int out, int64_t *to, uint64_t length, uint32_t flags)',
  ),
  syncfs: libc.func('int syncfs(int fd)'),
};

/** Source: include/uapi/linux/fcntl.h. */
const AT_SYMLINK_NOFOLLOW = 0x100;
const COPY_BYTES = 1 << 20;

export type At = { dir: number; name: Uint8Array };

const zeroEnded = (bytes: Uint8Array): Uint8Array => Buffer.concat([bytes, Buffer.of(0)]);
const shown = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** Opens what lies beneath a directory. `name` may be a path of several parts; "." is the directory itself. */
export function openBeneath(at: At, flags: number, mode = 0): number {
  const how = Buffer.alloc(OPEN_HOW_BYTES);
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(mode), 8);
  how.writeBigUInt64LE(BigInt(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV), 16);
  return checked('openat2', shown(at.name), raw.openat2(SYS_openat2, at.dir, zeroEnded(at.name), how, how.length));
}

/** man 2 mkdirat. */
export function makeDir(at: At, mode: number): void {
  checked('mkdirat', shown(at.name), raw.mkdirat(at.dir, zeroEnded(at.name), mode));
}

/** man 2 mknodat; `mode` has the file's type. */
export function makeNode(at: At, mode: number, device: { major: number; minor: number }): void {
  const { major, minor } = device;
  const number = BigInt((minor & 0xff) | (major << 8)) | (BigInt(minor >>> 8) << 20n); // glibc's gnu_dev_makedev for 12 and 20 bits
  checked('mknodat', shown(at.name), raw.mknodat(at.dir, zeroEnded(at.name), mode, number));
}

/** man 2 symlinkat. */
export function makeSymlink(at: At, target: Uint8Array): void {
  checked('symlinkat', shown(at.name), raw.symlinkat(zeroEnded(target), at.dir, zeroEnded(at.name)));
}

/** man 2 linkat, symbolic links not followed. */
export function makeLink(from: At, to: At): void {
  checked('linkat', shown(to.name), raw.linkat(from.dir, zeroEnded(from.name), to.dir, zeroEnded(to.name), 0));
}

/** man 2 fchownat, symbolic links not followed. */
export function changeOwner(at: At, uid: number, gid: number): void {
  checked('fchownat', shown(at.name), raw.fchownat(at.dir, zeroEnded(at.name), uid, gid, AT_SYMLINK_NOFOLLOW));
}

/** man 2 fchmodat; never for a symbolic link. */
export function changeMode(at: At, mode: number): void {
  checked('fchmodat', shown(at.name), raw.fchmodat(at.dir, zeroEnded(at.name), mode, 0));
}

/** man 2 utimensat: time of access and change of what the name itself is. */
export function changeTime(at: At, seconds: bigint, nsec: number): void {
  const times = new BigInt64Array([seconds, BigInt(nsec), seconds, BigInt(nsec)]);
  checked('utimensat', shown(at.name), raw.utimensat(at.dir, zeroEnded(at.name), times, AT_SYMLINK_NOFOLLOW));
}

/** man 2 fsetxattr. */
export function setXattr(fd: number, name: Uint8Array, value: Uint8Array): void {
  checked('fsetxattr', shown(name), raw.fsetxattr(fd, zeroEnded(name), value, value.length, 0));
}

/** Copies a stretch of one file to another, in the kernel where it can. An input that ends early is an error. */
export function copyRange(
  from: { fd: number; offset: number },
  to: { fd: number; offset: number },
  length: number,
): void {
  const [source, target] = [BigInt64Array.of(BigInt(from.offset)), BigInt64Array.of(BigInt(to.offset))];
  for (let left = length; left > 0; ) {
    const count = orErrno(raw.copyFileRange(from.fd, source, to.fd, target, left, 0));
    const done = length - left;
    if (count === 0) throw new SysError('copy_file_range', `at byte ${from.offset + done}: the input is short`, E.EIO);
    if (count > 0) left -= count;
    else if ([E.EXDEV, E.EINVAL, E.ENOSYS, E.EOPNOTSUPP].includes(-count)) {
      copyByHand({ fd: from.fd, offset: from.offset + done }, { fd: to.fd, offset: to.offset + done }, left);
      return;
    } else if (-count !== E.EINTR) throw new SysError('copy_file_range', `${length} bytes`, -count);
  }
}

function copyByHand(from: { fd: number; offset: number }, to: { fd: number; offset: number }, length: number): void {
  const chunk = Buffer.allocUnsafe(Math.min(COPY_BYTES, length));
  for (let done = 0; done < length; ) {
    const count = readSync(from.fd, chunk, 0, Math.min(chunk.length, length - done), from.offset + done);
    if (count === 0) throw new SysError('read', `at byte ${from.offset + done}: the input is short`, E.EIO);
    for (let at = 0; at < count; ) at += writeSync(to.fd, chunk, at, count - at, to.offset + done + at);
    done += count;
  }
}

/** man 2 syncfs: everything of the file system the descriptor is on. */
export function syncFileSystem(fd: number): void {
  checked('syncfs', `descriptor ${fd}`, raw.syncfs(fd));
}
