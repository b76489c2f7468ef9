// System call numbers. Programs carry x86-64's; `numberOn` gives those of the machine they run on. Source: arch/x86/entry/syscalls/syscall_64.tbl and
// include/uapi/asm-generic/unistd.h, Linux 6.18. From 424 on the numbers are equal on all architectures.
export const SYS_read = 0;
export const SYS_write = 1;
export const SYS_close = 3;
export const SYS_mmap = 9;
export const SYS_rt_sigaction = 13;
export const SYS_rt_sigprocmask = 14;
export const SYS_ioctl = 16;
export const SYS_pread64 = 17;
export const SYS_writev = 20;
export const SYS_nanosleep = 35;
export const SYS_socket = 41;
export const SYS_sendmsg = 46;
export const SYS_recvmsg = 47;
export const SYS_clone = 56;
export const SYS_execve = 59;
export const SYS_wait4 = 61;
export const SYS_kill = 62;
export const SYS_fcntl = 72;
export const SYS_fchdir = 81;
export const SYS_umask = 95;
export const SYS_setsid = 112;
export const SYS_setgroups = 116;
export const SYS_setresuid = 117;
export const SYS_setresgid = 119;
export const SYS_capset = 126;
export const SYS_rt_sigtimedwait = 128;
export const SYS_fstatfs = 138;
export const SYS_pivot_root = 155;
export const SYS_prctl = 157;
export const SYS_mount = 165;
export const SYS_umount2 = 166;
export const SYS_sethostname = 170;
export const SYS_setdomainname = 171;
export const SYS_clock_gettime = 228;
export const SYS_exit_group = 231;
export const SYS_waitid = 247;
export const SYS_keyctl = 250;
export const SYS_openat = 257;
export const SYS_mkdirat = 258;
export const SYS_mknodat = 259;
export const SYS_fchownat = 260;
export const SYS_unlinkat = 263;
export const SYS_symlinkat = 266;
export const SYS_unshare = 272;
export const SYS_dup3 = 292;
export const SYS_prlimit64 = 302;
export const SYS_setns = 308;
export const SYS_seccomp = 317;
export const SYS_execveat = 322;
export const SYS_pidfd_send_signal = 424;
export const SYS_open_tree = 428;
export const SYS_move_mount = 429;
export const SYS_fsopen = 430;
export const SYS_fsconfig = 431;
export const SYS_fsmount = 432;
export const SYS_pidfd_open = 434;
export const SYS_clone3 = 435;
export const SYS_close_range = 436;
export const SYS_openat2 = 437;
export const SYS_pidfd_getfd = 438;
export const SYS_mount_setattr = 442;

/** arm64's number of each call above whose number differs. */
const ARM64 = new Map<number, number>([
  [SYS_read, 63],
  [SYS_write, 64],
  [SYS_close, 57],
  [SYS_mmap, 222],
  [SYS_rt_sigaction, 134],
  [SYS_rt_sigprocmask, 135],
  [SYS_ioctl, 29],
  [SYS_pread64, 67],
  [SYS_writev, 66],
  [SYS_nanosleep, 101],
  [SYS_socket, 198],
  [SYS_sendmsg, 211],
  [SYS_recvmsg, 212],
  [SYS_clone, 220],
  [SYS_execve, 221],
  [SYS_wait4, 260],
  [SYS_kill, 129],
  [SYS_fcntl, 25],
  [SYS_fchdir, 50],
  [SYS_umask, 166],
  [SYS_setsid, 157],
  [SYS_setgroups, 159],
  [SYS_setresuid, 147],
  [SYS_setresgid, 149],
  [SYS_capset, 91],
  [SYS_rt_sigtimedwait, 137],
  [SYS_fstatfs, 44],
  [SYS_pivot_root, 41],
  [SYS_prctl, 167],
  [SYS_mount, 40],
  [SYS_umount2, 39],
  [SYS_sethostname, 161],
  [SYS_setdomainname, 162],
  [SYS_clock_gettime, 113],
  [SYS_exit_group, 94],
  [SYS_waitid, 95],
  [SYS_keyctl, 219],
  [SYS_openat, 56],
  [SYS_mkdirat, 34],
  [SYS_mknodat, 33],
  [SYS_fchownat, 54],
  [SYS_unlinkat, 35],
  [SYS_symlinkat, 36],
  [SYS_unshare, 97],
  [SYS_dup3, 24],
  [SYS_prlimit64, 261],
  [SYS_setns, 268],
  [SYS_seccomp, 277],
  [SYS_execveat, 281],
]);

export type Arch = 'x64' | 'arm64';

/** The number of a call on the architecture. Throws for one this file does not list. */
export function numberOn(arch: Arch, number: number): number {
  if (arch === 'x64' || number >= SYS_pidfd_send_signal) return number;
  const known = ARM64.get(number);
  if (known === undefined) throw new Error(`no arm64 number for system call ${number}`);
  return known;
}
