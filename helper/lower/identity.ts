// Who the user's program is and what it may do: limits, capabilities, ids, working directory, filter. Whatever needs the host's rights (raising a limit,
// the out-of-memory score) is done by the first process; giving up is done by the second, last. After execve the kernel computes the capabilities
// anew: for root they are the bounding set, for others the ambient one; so what is kept for installing the filter does not survive it.
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { AT_FDCWD, O_WRONLY } from '../../proto/abi/fcntl.gen.ts';
import * as pr from '../../proto/abi/prctl.gen.ts';
import { RLIMIT_NAMES, RLIMIT_NOFILE } from '../../proto/abi/resource.gen.ts';
import { SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_SET_MODE_FILTER } from '../../proto/abi/seccomp.gen.ts';
import { SIG_SETMASK, SIGPIPE, SIGSET_BYTES, SIGXFSZ } from '../../proto/abi/signal.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import type { Arch } from './encode.ts';
import { type Capabilities, Resource, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import { CAP_SYS_ADMIN, LINUX_CAPABILITY_VERSION_3 } from '../../proto/abi/capability.gen.ts';
import type { CheckedProcess } from '../decode/checked.ts';
import { close, directoryFlags, openInRoot, openOurs, writeText } from './calls.ts';
import type { Machine } from './host.ts';
import { type Program, u32, u64 } from './program.ts';
import { compileSeccomp } from './seccomp.ts';
import { DEFAULT_RULES } from './seccomp-default.gen.ts';

/** Descriptors the program itself may need; a lower limit is set by the second process alone, which needs no right for that. */
const NOFILE_LEAST = 1024n;

/** First process: hard limits, which only the host's root may raise, and the score, whose file belongs to it while the process is non-dumpable. */
export function raiseLimits(program: Program, user: CheckedProcess): void {
  for (const { resource, hard } of user.rlimits) {
    const number = resource - Resource.RESOURCE_CPU;
    if (number === RLIMIT_NOFILE && hard < NOFILE_LEAST) continue;
    program.call(nr.SYS_prlimit64, [0, number, program.data(u64(hard, hard)), 0], { step: limitStep(number) });
  }
  if (user.oomScoreAdj === 0) return;
  const step = `set oom_score_adj ${user.oomScoreAdj}`;
  const file = openOurs(program, { path: '/proc/self/oom_score_adj', flags: O_WRONLY, step });
  writeText(program, file, { text: String(user.oomScoreAdj), step });
}

/** Second process: the limits themselves, then every descriptor but standard input, output and error closes on execution. */
export function settleLimits(program: Program, user: CheckedProcess): void {
  for (const { resource, soft, hard } of user.rlimits) {
    const number = resource - Resource.RESOURCE_CPU;
    program.call(nr.SYS_prlimit64, [0, number, program.data(u64(soft, hard)), 0], { step: limitStep(number) });
  }
  program.call(nr.SYS_close_range, [3, 0xffffffff, CLOSE_RANGE_CLOEXEC], { step: 'close descriptors' });
}

function limitStep(number: number): string {
  return `set limit ${RLIMIT_NAMES[number]}`;
}

/** Second process, in the root: working directory, ids, capabilities. The directory is opened by the container's root, as runc does, in the root. */
export function becomeUser(program: Program, user: CheckedProcess, machine: Machine): void {
  const { uid, gid, groups, cwd, capabilities } = user;
  const step = `enter the working directory ${cwd}`;
  const directory = openInRoot(program, { at: AT_FDCWD, path: cwd, flags: directoryFlags(machine.arch), step });
  program.call(nr.SYS_fchdir, [directory], { step });
  close(program, directory);
  for (let one = 0; one <= machine.lastCapability; one++)
    if (((capabilities.bounding >> BigInt(one)) & 1n) === 0n)
      program.call(nr.SYS_prctl, [pr.PR_CAPBSET_DROP, one, 0, 0, 0], { step: `give up capability ${one}` });
  if (!machine.rootless || groups.length > 0)
    program.call(nr.SYS_setgroups, [groups.length, program.data(u32(...groups, 0))], { step: 'set groups' });
  program.call(nr.SYS_setresgid, [gid, gid, gid], { step: `become group ${gid}` });
  if (uid !== 0)
    program.call(nr.SYS_prctl, [pr.PR_SET_KEEPCAPS, 1, 0, 0, 0], { step: 'keep capabilities for the filter' });
  program.call(nr.SYS_setresuid, [uid, uid, uid], { step: `become user ${uid}` });
  program.call(nr.SYS_umask, [user.umask], { step: 'set umask' });
  // Node ignores these two, and ignored signals outlive CLONE_CLEAR_SIGHAND and execve.
  for (const signal of [SIGPIPE, SIGXFSZ])
    program.call(nr.SYS_rt_sigaction, [signal, program.data(u64(0, 0, 0, 0)), 0, SIGSET_BYTES], {
      step: 'reset signals',
    });
  program.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, program.data(u64(0)), 0, SIGSET_BYTES], { step: 'reset signals' });
}

/** Capabilities, no_new_privs and, last of all, the filter. Installing that without no_new_privs takes SYS_ADMIN, which ends with execve. */
export function lowerHardening(
  program: Program,
  user: CheckedProcess,
  more: { seccomp: Seccomp; machine: Machine },
): void {
  const { ambient, bounding } = user.capabilities;
  const filtered = more.seccomp === Seccomp.SECCOMP_DEFAULT;
  const forFilter = filtered && !user.noNewPrivileges ? 1n << BigInt(CAP_SYS_ADMIN) : 0n;
  program.call(nr.SYS_prctl, [pr.PR_CAP_AMBIENT, pr.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0], {
    step: 'clear ambient capabilities',
  });
  // Before the capabilities: without a filter theirs is the last record in which anything but execve may stand.
  if (user.noNewPrivileges)
    program.call(nr.SYS_prctl, [pr.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0], { step: 'set no_new_privs' });
  setCapabilities(program, user.capabilities, forFilter);
  for (let one = 0; one <= more.machine.lastCapability; one++)
    if (((ambient >> BigInt(one)) & 1n) === 1n)
      program.call(nr.SYS_prctl, [pr.PR_CAP_AMBIENT, pr.PR_CAP_AMBIENT_RAISE, one, 0, 0], {
        step: `raise ambient capability ${one}`,
      });
  if (!filtered) return;
  const filter = filterFor(more.machine.arch, bounding);
  const sockFprog = program.data(u64(filter.length / 8, 0), [[8, program.data(filter)]]);
  program.call(nr.SYS_seccomp, [SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, sockFprog], {
    step: 'install the seccomp filter',
  });
}

/** Sets the process's effective, permitted and inheritable capabilities, and `more` of the first two. */
export function setCapabilities(program: Program, capabilities: Capabilities, more: bigint): void {
  const { effective, permitted, inheritable } = capabilities;
  const sets = [effective | more, permitted | more, inheritable];
  const words = [...sets.map((set) => Number(set & 0xffffffffn)), ...sets.map((set) => Number(set >> 32n))];
  const header = program.data(u32(LINUX_CAPABILITY_VERSION_3, 0));
  program.call(nr.SYS_capset, [header, program.data(u32(...words))], { step: 'set capabilities' });
}

// Compiling takes longer than all the rest of a lowering, and there are few different sets of capabilities.
const filters = new Map<string, Uint8Array>();
const FILTERS_MAX = 64;

function filterFor(arch: Arch, bounding: bigint): Uint8Array {
  const key = `${arch} ${bounding}`;
  const known = filters.get(key);
  if (known !== undefined) return known;
  if (filters.size >= FILTERS_MAX) filters.clear();
  const filter = compileSeccomp(DEFAULT_RULES, arch, bounding);
  filters.set(key, filter);
  return filter;
}
