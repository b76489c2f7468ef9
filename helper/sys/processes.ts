// Processes by descriptor: a pid may be somebody else's a moment later, a pidfd never. And the clock that orders their ends.
import { CLOCK_BOOTTIME } from '../../proto/abi/time.gen.ts';
import * as wait from '../../proto/abi/wait.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import * as told from '../../proto/abi/pidfd.gen.ts';
import { addressOf, checked, orErrno, raw, words } from './libc.ts';

/** man 2 prctl; gives its result. */
export const prctl = (option: number, value = 0) => checked('prctl', option, raw.prctl(option, value, 0, 0, 0));

/** man 2 pidfd_open. The descriptor is close-on-exec. */
export const pidfdOpen = (pid: number) => checked('pidfd_open', pid, raw.pidfdOpen(nr.SYS_pidfd_open, pid, 0));

/** man 2 pidfd_send_signal. Throws with ESRCH once the process is reaped. */
export const pidfdSendSignal = (pidfd: number, signal: number) =>
  checked('pidfd_send_signal', signal, raw.pidfdSendSignal(nr.SYS_pidfd_send_signal, pidfd, signal, null, 0));

/** A duplicate of another process's descriptor, close-on-exec. man 2 pidfd_getfd. */
export const pidfdGetfd = (pidfd: number, target: number) =>
  checked('pidfd_getfd', target, raw.pidfdGetfd(nr.SYS_pidfd_getfd, pidfd, target, 0));

/**
 * How a child of ours ended, in wait(2)'s form (exit code in bits 8 to 15, else signal in bits 0 to 6 and 0x80 for a core dump); undefined while it
 * runs. Never waits. With WNOWAIT in `options` it stays to be reaped. Throws with ECHILD where it is not our child. man 2 waitid.
 */
export function waitPidfd(pidfd: number, options = 0): number | undefined {
  const info = Buffer.alloc(wait.SIGINFO_BYTES);
  checked('waitid', pidfd, raw.waitid(wait.P_PIDFD, pidfd, info, wait.WEXITED | wait.WNOHANG | options));
  if (info.readInt32LE(wait.SI_PID_AT) === 0) return undefined;
  return waitStatus(info.readInt32LE(wait.SI_CODE_AT), info.readInt32LE(wait.SI_STATUS_AT));
}

/** How a process that is not our child ended, once somebody has reaped it; undefined before that, and always before Linux 6.15. */
export function exitOfOther(pidfd: number): number | undefined {
  const info = Buffer.alloc(told.PIDFD_INFO_SIZE_VER0);
  info.writeBigUInt64LE(BigInt(told.PIDFD_INFO_EXIT));
  if (orErrno(raw.ioctl(pidfd, told.PIDFD_GET_INFO, info)) < 0) return undefined;
  const known = (info.readBigUInt64LE() & BigInt(told.PIDFD_INFO_EXIT)) !== 0n;
  return known ? info.readInt32LE(told.PIDFD_EXIT_CODE_AT) : undefined;
}

/** wait(2)'s status of waitid(2)'s si_code and si_status. */
export function waitStatus(code: number, status: number): number {
  if (code === wait.CLD_EXITED) return (status & 0xff) << 8;
  return (status & 0x7f) | (code === wait.CLD_DUMPED ? 0x80 : 0);
}

/** man 2 close_range. */
export const closeRange = (first: number, last: number, flags: number) =>
  checked('close_range', first, raw.closeRange(nr.SYS_close_range, first, last, flags));

/** Executes the file behind the descriptor in our own place, with no arguments and no environment. man 2 execveat. */
export function executeDescriptor(fd: number, flags: number): never {
  const nothing = words(0);
  const list = addressOf(nothing);
  checked('execveat', fd, raw.execveat(nr.SYS_execveat, fd, '', list, list, flags));
  throw new Error(`execveat returned (${nothing.length})`);
}

/** Nanoseconds of CLOCK_BOOTTIME, the boot clock: what happened is in its order across restarts of the helper. man 2 clock_gettime. */
export function bootNs(): bigint {
  const time = Buffer.alloc(16);
  checked('clock_gettime', 'CLOCK_BOOTTIME', raw.clockGettime(CLOCK_BOOTTIME, time));
  return time.readBigInt64LE(0) * 1_000_000_000n + time.readBigInt64LE(8);
}
