// Every libc function the helper's process may call beside Node's own. To audit the helper, start here; what the new processes call is in helper/lower.
// syscall(2) stands only for what glibc 2.28 (the oldest Node 24 runs on) has no function for. Each is used by the file named beside it.
import koffi from 'koffi';
import { SysError } from './error.ts';

const libc = koffi.load('libc.so.6');

export const raw = {
  // files.ts
  flock: libc.func('int flock(int fd, int operation)'),
  fallocate: libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  openat2: libc.func('int64_t syscall(int64_t nr, int at, const char *path, const uint8_t *how, uint64_t size)'),
  openTree: libc.func('int64_t syscall(int64_t nr, int at, const char *path, uint32_t flags)'),
  mountSetattr: libc.func(
    'int64_t syscall(int64_t nr, int at, const char *path, uint32_t flags, const uint8_t *set, uint64_t size)',
  ),
  // descriptors.ts
  fcntl: libc.func('int fcntl(int fd, int command, int value)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, uint8_t *value)'),
  dup3: libc.func('int dup3(int from, int to, int flags)'),
  pipe2: libc.func('int pipe2(uint8_t *pair, int flags)'),
  memfdCreate: libc.func('int memfd_create(const char *name, uint32_t flags)'),
  // sockets.ts
  socketpair: libc.func('int socketpair(int domain, int type, int protocol, uint8_t *pair)'),
  sendmsg: libc.func('int64_t sendmsg(int fd, const uint8_t *message, int flags)'),
  recvmsg: libc.func('int64_t recvmsg(int fd, uint8_t *message, int flags)'),
  getsockopt: libc.func('int getsockopt(int fd, int level, int name, uint8_t *value, uint8_t *length)'),
  // processes.ts
  prctl: libc.func('int prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)'),
  waitid: libc.func('int waitid(int kind, uint32_t id, uint8_t *info, int options)'),
  pidfdOpen: libc.func('int64_t syscall(int64_t nr, int pid, uint32_t flags)'),
  pidfdSendSignal: libc.func('int64_t syscall(int64_t nr, int pidfd, int signal, const uint8_t *info, uint32_t flags)'),
  pidfdGetfd: libc.func('int64_t syscall(int64_t nr, int pidfd, int target, uint32_t flags)'),
  clockGettime: libc.func('int clock_gettime(int clock, uint8_t *time)'),
  // helper/launch/child.ts
  closeRange: libc.func('int64_t syscall(int64_t nr, uint32_t first, uint32_t last, uint32_t flags)'),
  execveat: libc.func('int64_t syscall(int64_t nr, int at, const char *path, int64_t argv, int64_t env, int flags)'),
  mmap: libc.func('void *mmap(int64_t address, uint64_t length, int protection, int flags, int fd, int64_t offset)'),
};

/** The result of a call, or its SysError when it is -1. errno is read at once: any later call may change it. */
export function checked(call: string, subject: string | number, result: number | bigint): number {
  if (Number(result) === -1) throw new SysError(call, String(subject), koffi.errno());
  return Number(result);
}

/** The result of a call, or minus its errno, for calls whose errors are answers (EAGAIN). */
export function orErrno(result: number | bigint): number {
  return Number(result) === -1 ? -koffi.errno() : Number(result);
}

/** The bytes of unsigned 64-bit numbers, for structures. */
export function words(...values: readonly (number | bigint)[]): Buffer {
  return Buffer.from(new BigUint64Array(values.map(BigInt)).buffer);
}

/** The address of a buffer's first byte, for structures that hold pointers. The buffer must outlive the call. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/** Mapped memory as a buffer, and its address. */
export type Mapped = { readonly address: bigint; readonly view: Buffer };
type Mapping = { readonly protection: number; readonly flags: number; readonly fd: number };

/** Maps `length` bytes. man 2 mmap. */
export function mapMemory(length: number, how: Mapping): Mapped {
  const pointer: unknown = raw.mmap(0, length, how.protection, how.flags, how.fd, 0);
  const address = koffi.address(pointer);
  if (address === 0xffffffffffffffffn) throw new SysError('mmap', `${length} bytes`, koffi.errno());
  return { address, view: Buffer.from(koffi.view(pointer, length)) };
}

/** Machine code at the address as a function: (struct clone_args *, its size, program) -> pid or minus errno. */
export function cloneFunctionAt(address: bigint): (args: bigint, size: number, program: bigint) => number | bigint {
  return koffi.decode(address, koffi.proto('int64_t berth_clone(int64_t args, uint64_t size, int64_t program)'));
}
