// Every libc function the engine, the porter (and the layer worker, in at.ts) may call beside Node's own, and the error they end in.
import { constants } from 'node:os';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');

export const raw = {
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  connect: libc.func('int connect(int fd, const uint8_t *address, uint32_t length)'),
  getsockopt: libc.func('int getsockopt(int fd, int level, int name, uint8_t *value, uint8_t *length)'),
  setsockopt: libc.func('int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t length)'),
  sendmsg: libc.func('int64_t sendmsg(int fd, const uint8_t *message, int flags)'),
  recvmsg: libc.func('int64_t recvmsg(int fd, uint8_t *message, int flags)'),
  pipe2: libc.func('int pipe2(uint8_t *fds, int flags)'),
  splice: libc.func(
    'int64_t splice(int in, int64_t *inOffset, int out, uint8_t *outOffset, uint64_t length, uint32_t flags)',
  ),
  fcntl: libc.func('int fcntl(int fd, int command, int value)'),
  epollCreate1: libc.func('int epoll_create1(int flags)'),
  epollCtl: libc.func('int epoll_ctl(int epoll, int operation, int fd, const uint8_t *event)'),
  epollWait: libc.func('int epoll_wait(int epoll, uint8_t *events, int count, int timeoutMs)'),
  poll: libc.func('int poll(uint8_t *fds, uint64_t count, int timeoutMs)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, uint8_t *value)'),
  statx: libc.func('int statx(int directory, const char *path, int flags, uint32_t mask, uint8_t *facts)'),
  flock: libc.func('int flock(int fd, int operation)'),
  setgroups: libc.func('int setgroups(uint64_t count, const uint32_t *groups)'),
  setresgid: libc.func('int setresgid(uint32_t real, uint32_t effective, uint32_t saved)'),
  setresuid: libc.func('int setresuid(uint32_t real, uint32_t effective, uint32_t saved)'),
  openat2: libc.func('long syscall(long number, int directory, const char *path, const uint8_t *how, uint64_t size)'),
};

const NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));

/** A failed call: which, on what, and the kernel's answer. `code` is the errno's name, as on Node's own errors. */
export class SysError extends Error {
  readonly syscall: string;
  readonly errno: number;
  readonly code: string;
  constructor(syscall: string, subject: string, errno: number) {
    const code = NAMES.get(errno) ?? `errno ${errno}`;
    super(`${syscall} ${subject}: ${code}`);
    this.syscall = syscall;
    this.errno = errno;
    this.code = code;
  }
}

/** The result of a call, or its SysError when it is -1. `errno` is read at once: any later call may change it. */
export function checked(syscall: string, subject: string, result: number | bigint): number {
  if (Number(result) === -1) throw new SysError(syscall, subject, koffi.errno());
  return Number(result);
}

/** The result of a call, or minus its errno, for calls whose errors are answers (EAGAIN). */
export function orErrno(result: number | bigint): number {
  return Number(result) === -1 ? -koffi.errno() : Number(result);
}

/** The address of a buffer's first byte, for structures that hold pointers. The buffer must outlive the call. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/** Errno by name, for comparing with what orErrno() gives. */
export const E = constants.errno;
