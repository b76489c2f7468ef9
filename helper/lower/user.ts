// Who the user's program is, what it reads and writes, what it may do, and how it is executed. Whatever needs the host's rights (raising a limit, the out-of-memory score) is done
// by the first process; giving up is done by the second, last. After execve the kernel computes the capabilities anew: for root they are the bounding set,
// for others the ambient one; so what is kept for installing the filter does not survive it. With `init`, the process stays as PID 1 in this program,
// which reaps, passes signals on and ends as its child does, and the child executes; by then both have given up everything, and PID 1's memory belongs
// to the host's user namespace.
import { CAP_SYS_ADMIN, LINUX_CAPABILITY_VERSION_3 } from '../../proto/abi/capability.gen.ts';
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { AT_FDCWD, O_CLOEXEC, O_NOCTTY, O_RDWR, O_WRONLY } from '../../proto/abi/fcntl.gen.ts';
import { TIOCGPTPEER, TIOCSCTTY, TIOCSPTLCK, TIOCSWINSZ } from '../../proto/abi/ioctls.gen.ts';
import * as pr from '../../proto/abi/prctl.gen.ts';
import { RLIMIT_NAMES } from '../../proto/abi/resource.gen.ts';
import { CLONE_PARENT_SETTID } from '../../proto/abi/sched.gen.ts';
import { SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_SET_MODE_FILTER } from '../../proto/abi/seccomp.gen.ts';
import { SIG_SETMASK, SIGCHLD, SIGPIPE, SIGSET_BYTES, SIGXFSZ } from '../../proto/abi/signal.gen.ts';
import { CMSGHDR_BYTES, MSGHDR_BYTES, SCM_RIGHTS, SOL_SOCKET } from '../../proto/abi/socket.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import * as waiting from '../../proto/abi/wait.gen.ts';
import { type Capabilities, Resource, Seccomp, type Stdio } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedProcess } from '../decode/checked.ts';
import * as calls from './calls.ts';
import { FIELD, REPORT_BYTES } from './encode.ts';
import type { Machine, StdioHost } from './host.ts';
import { ADD, newLabel, Refused, u32, u64, within } from './program.ts';
import type { Program, Result, Slot, Word } from './program.ts';
import { FILTERS } from './seccomp.gen.ts';

/** Descriptors the program itself may need; a lower limit is set by the second process alone, which needs no right for that. */
const NOFILE_LEAST = 1024n;

/** First process: hard limits, which only the host's root may raise, and the score, whose file belongs to it while the process is non-dumpable. */
export function raiseLimits(program: Program, user: CheckedProcess): void {
  for (const { resource, hard } of user.rlimits)
    if (resource !== Resource.RESOURCE_NOFILE || hard >= NOFILE_LEAST) setLimit(program, resource, [hard, hard]);
  if (user.oomScoreAdj === 0) return;
  const setting = program.during(`set oom_score_adj ${user.oomScoreAdj}`);
  calls.writeText(setting, calls.openOurs(setting, '/proc/self/oom_score_adj', O_WRONLY), String(user.oomScoreAdj));
}

/** Second process: the limits themselves, then every descriptor but standard input, output and error closes on execution. */
export function settleLimits(program: Program, user: CheckedProcess): void {
  for (const { resource, soft, hard } of user.rlimits) setLimit(program, resource, [soft, hard]);
  program.call(nr.SYS_close_range, [3, 0xffffffff, CLOSE_RANGE_CLOEXEC], { step: 'close descriptors' });
}

function setLimit(program: Program, resource: Resource, limit: readonly [soft: bigint, hard: bigint]): void {
  const number = resource - Resource.RESOURCE_CPU;
  const step = `set limit ${RLIMIT_NAMES[number]}`;
  program.call(nr.SYS_prlimit64, [0, number, program.data(u64(...limit)), 0], { step });
}

/** Second process, in the root: working directory, ids, capabilities. The directory is opened by the container's root, as runc does, in the root. */
export function becomeUser(program: Program, user: CheckedProcess, machine: Machine): void {
  const { uid, gid, groups, cwd, capabilities } = user;
  const entering = program.during(`enter the working directory ${cwd}`);
  const directory = calls.openInRoot(entering, { at: AT_FDCWD, path: cwd, flags: calls.directoryFlags(machine.arch) });
  entering.call(nr.SYS_fchdir, [directory]);
  calls.close(program, directory);
  for (const one of bitsOf(~capabilities.bounding, machine))
    control(program, [pr.PR_CAPBSET_DROP, one], `give up capability ${one}`);
  if (!machine.rootless || groups.length > 0)
    program.call(nr.SYS_setgroups, [groups.length, program.data(u32(...groups, 0))], { step: 'set groups' });
  program.call(nr.SYS_setresgid, [gid, gid, gid], { step: `become group ${gid}` });
  if (uid !== 0) control(program, [pr.PR_SET_KEEPCAPS, 1], 'keep capabilities for the filter');
  program.call(nr.SYS_setresuid, [uid, uid, uid], { step: `become user ${uid}` });
  program.call(nr.SYS_umask, [user.umask], { step: 'set umask' });
  // Node ignores these two, and ignored signals outlive CLONE_CLEAR_SIGHAND and execve.
  const resetting = program.during('reset signals');
  for (const signal of [SIGPIPE, SIGXFSZ])
    resetting.call(nr.SYS_rt_sigaction, [signal, program.data(u64(0, 0, 0, 0)), 0, SIGSET_BYTES]);
  resetting.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, program.data(u64(0)), 0, SIGSET_BYTES]);
}

function control(program: Program, args: readonly number[], step: string): void {
  program.call(nr.SYS_prctl, [...args, 0, 0, 0, 0].slice(0, 5), { step });
}

/** The kernel's capabilities that are in the set. */
function bitsOf(set: bigint, { lastCapability }: Machine): number[] {
  const all = Array.from({ length: lastCapability + 1 }, (_, one) => one);
  return all.filter((one) => ((set >> BigInt(one)) & 1n) === 1n);
}

type Hardened = { readonly seccomp: Seccomp; readonly machine: Machine };

/** Capabilities, no_new_privs and, last of all, the filter. Installing that without no_new_privs takes SYS_ADMIN, which ends with execve. */
export function lowerHardening(program: Program, user: CheckedProcess, { seccomp, machine }: Hardened): void {
  const { ambient, bounding } = user.capabilities;
  const filtered = seccomp === Seccomp.SECCOMP_DEFAULT;
  const forFilter = filtered && !user.noNewPrivileges ? 1n << BigInt(CAP_SYS_ADMIN) : 0n;
  control(program, [pr.PR_CAP_AMBIENT, pr.PR_CAP_AMBIENT_CLEAR_ALL], 'clear ambient capabilities');
  // Before the capabilities: without a filter theirs is the last record in which anything but execve may stand.
  if (user.noNewPrivileges) control(program, [pr.PR_SET_NO_NEW_PRIVS, 1], 'set no_new_privs');
  setCapabilities(program, user.capabilities, forFilter);
  for (const one of bitsOf(ambient, machine))
    control(program, [pr.PR_CAP_AMBIENT, pr.PR_CAP_AMBIENT_RAISE, one], `raise ambient capability ${one}`);
  if (!filtered) return;
  const filter = filterFor(machine.arch, bounding);
  const sockFprog = program.data(u64(filter.length / 8, 0), [[8, program.data(filter)]]);
  const installing = program.during('install the seccomp filter');
  installing.call(nr.SYS_seccomp, [SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, sockFprog]);
}

/** Sets the process's effective, permitted and inheritable capabilities, and `more` of the first two. */
export function setCapabilities(program: Program, capabilities: Capabilities, more: bigint): void {
  const { effective, permitted, inheritable } = capabilities;
  const sets = [effective | more, permitted | more, inheritable];
  const words = [...sets.map((set) => Number(set & 0xffffffffn)), ...sets.map((set) => Number(set >> 32n))];
  const header = program.data(u32(LINUX_CAPABILITY_VERSION_3, 0));
  program.call(nr.SYS_capset, [header, program.data(u32(...words))], { step: 'set capabilities' });
}

/** The filter as an array of struct sock_filter, 8 bytes each. */
export function filterFor(arch: Machine['arch'], bounding: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * FILTERS[arch].length));
  for (const [i, [code, yes, no, k, capability]] of FILTERS[arch].entries()) {
    const held = capability !== undefined && ((bounding >> BigInt(capability)) & 1n) === 1n;
    view.setUint32(8 * i, code | (yes << 16) | (no << 24), true);
    view.setUint32(8 * i + 4, held ? 0 : k, true);
  }
  return new Uint8Array(view.buffer);
}

/** Executes; the last records of a program. */
export function lowerExecute(program: Program, user: CheckedProcess): void {
  const argv = program.strings(user.argv);
  const env = program.strings(user.env);
  const reports = user.executables.map((file): Slot => {
    const label = newLabel();
    program.here(label);
    program.call(nr.SYS_execve, [file, argv, env], { step: `execute ${file}`, ignore: true });
    // A record's own number and result are a report as the launcher would write it.
    return { kind: 'slot', label, field: FIELD.index };
  });
  const pointers = reports.map((report, i) => [16 * i, report] as const);
  const vectors = program.data(u64(...reports.flatMap(() => [0, REPORT_BYTES])), pointers);
  program.call(nr.SYS_writev, [program.status, vectors, reports.length], { ignore: true });
  program.call(nr.SYS_exit_group, [127]);
}

/** Makes the user's program a child of this process, which is PID 1 and stays. The child goes on with the next record. */
export function lowerInit(program: Program, user: CheckedProcess, tty: boolean): void {
  const [child, loop, reap] = [newLabel(), newLabel(), newLabel()];
  const [ended, exited, isMain] = [newLabel(), newLabel(), newLabel()];
  const all = program.data(u64(-1));
  const info = program.scratch;
  const word = (at: number): Word => ({ kind: 'word', data: within(info, at) });
  // Blocked signals are kept even for PID 1, which without a handler would never see them.
  const starting = program.during('start init');
  starting.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, all, 0, SIGSET_BYTES]);
  const pidAt: Slot = { kind: 'slot', label: isMain, field: FIELD.match };
  const pid = starting.call(nr.SYS_clone, [CLONE_PARENT_SETTID | SIGCHLD, 0, pidAt, 0, 0], { on: [0, child] });
  program.call(nr.SYS_close_range, [3, 0xffffffff, 0], { ignore: true }); // the status pipe above all
  setCapabilities(program, user.capabilities, 0n);

  program.here(loop);
  const signal = program.call(nr.SYS_rt_sigtimedwait, [all, 0, 0, SIGSET_BYTES], { ignore: true, on: [SIGCHLD, reap] });
  program.call(nr.SYS_kill, [pid, signal], { ignore: true });
  program.jump(loop);

  program.here(reap);
  const looks = waiting.WEXITED | waiting.WNOHANG | waiting.WNOWAIT;
  program.call(nr.SYS_waitid, [waiting.P_ALL, 0, info, looks, 0], { ignore: true });
  program.here(isMain);
  program.call(ADD, [word(waiting.SI_PID_AT), 0], { on: [UNKNOWN_PID, ended] });
  program.call(ADD, [word(waiting.SI_PID_AT), 0], { on: [0, loop] });
  program.call(nr.SYS_wait4, [word(waiting.SI_PID_AT), 0, waiting.WNOHANG, 0], { ignore: true });
  program.jump(reap);

  program.here(ended);
  program.call(ADD, [word(waiting.SI_CODE_AT), 0], { on: [waiting.CLD_EXITED, exited] });
  const code = program.call(ADD, [word(waiting.SI_STATUS_AT), 128]);
  program.call(nr.SYS_exit_group, [code]);
  program.here(exited);
  program.call(nr.SYS_exit_group, [word(waiting.SI_STATUS_AT)]);

  program.here(child);
  if (tty) {
    program.call(nr.SYS_setsid, [], { step: 'start a session' });
    controlTerminal(program);
  }
  const resetting = program.during('reset signals');
  resetting.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, program.data(u64(0)), 0, SIGSET_BYTES]);
}

/** No pid, and its upper half is zero as in the pid that the kernel writes over it. */
const UNKNOWN_PID = 0xffffffff;

type Lowering = { readonly stdio: Stdio; readonly host: StdioHost; readonly devpts: Result | undefined };

/**
 * Puts the three descriptors in place: those the helper made, or a pty of `devpts`; gives the slave, if it is one. The master is opened through the mount
 * we made ourselves (exec: through a directory that was seen to be a devpts), never through a path's meaning in the container, and the slave by ioctl on
 * the master (CVE-2025-52565). The master goes to the helper over a socket; nothing else of the container's does.
 */
export function lowerStdio(program: Program, { stdio, host, devpts }: Lowering): Result | undefined {
  if (host.kind === 'pipes') {
    const setting = program.during('set standard input and output');
    for (const [i, descriptor] of host.descriptors.entries())
      setting.call(nr.SYS_dup3, [program.use(descriptor), i, 0]);
    return undefined;
  }
  if (devpts === undefined) throw new Refused('stdio.tty', 'needs a mount of /dev/pts');
  const making = program.during('make a terminal');
  const opened = calls.openWithin(making, { at: devpts, path: 'ptmx', flags: O_RDWR | O_NOCTTY });
  const master = freeDescriptor(program);
  making.call(nr.SYS_dup3, [opened, master, O_CLOEXEC]);
  calls.close(program, opened);
  making.call(nr.SYS_ioctl, [master, TIOCSPTLCK, program.data(u32(0))]);
  const slave = making.call(nr.SYS_ioctl, [master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC]);
  const size = program.data(new Uint8Array(new Uint16Array([stdio.rows, stdio.columns, 0, 0]).buffer));
  if (stdio.rows > 0 || stdio.columns > 0) making.call(nr.SYS_ioctl, [master, TIOCSWINSZ, size]);
  send(program.during('pass the terminal on'), program.use(host.socket), master);
  calls.close(program, master);
  for (const i of [0, 1, 2]) making.call(nr.SYS_dup3, [slave, i, 0]);
  return slave;
}

/** The session's leader takes standard input as its controlling terminal. */
export function controlTerminal(program: Program): void {
  program.call(nr.SYS_ioctl, [0, TIOCSCTTY, 0], { step: 'take the terminal' });
}

/**
 * A number that no descriptor can have when the process gets there, so that a control message can name it: descriptors get the lowest number that is
 * free, those of the helper are known, and a record opens at most one.
 */
function freeDescriptor(program: Program): number {
  let free = 3;
  for (let left = program.records.length + 1; left > 0; free++) if (!program.descriptors.has(free)) left--;
  while (program.descriptors.has(free)) free++;
  return free;
}

function send(program: Program, socket: number, descriptor: number): void {
  const vector = program.data(u64(0, 1), [[0, program.data(new Uint8Array(8))]]);
  const control = new Uint8Array(CMSGHDR_BYTES + 8);
  control.set(u64(CMSGHDR_BYTES + 4));
  control.set(u32(SOL_SOCKET, SCM_RIGHTS, descriptor), 8);
  const message = new Uint8Array(MSGHDR_BYTES);
  message.set(u64(0, 0, 0, 1, 0, control.length));
  const parts = [[16, vector] as const, [32, program.data(control)] as const];
  program.call(nr.SYS_sendmsg, [socket, program.data(message, parts), 0]);
}
