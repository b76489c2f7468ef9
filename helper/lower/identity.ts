// Who the user's program is and what it may do: limits, capabilities, ids, working directory, filter. Whatever needs the host's rights (raising a limit,
// the out-of-memory score) is done by the first process; giving up is done by the second, last. After execve the kernel computes the capabilities
// anew: for root they are the bounding set, for others the ambient one; so what is kept for installing the filter does not survive it.
import { CAP_SYS_ADMIN, LINUX_CAPABILITY_VERSION_3 } from '../../proto/abi/capability.gen.ts';
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { AT_FDCWD, O_WRONLY } from '../../proto/abi/fcntl.gen.ts';
import * as pr from '../../proto/abi/prctl.gen.ts';
import { RLIMIT_NAMES } from '../../proto/abi/resource.gen.ts';
import { SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_SET_MODE_FILTER } from '../../proto/abi/seccomp.gen.ts';
import { SIG_SETMASK, SIGPIPE, SIGSET_BYTES, SIGXFSZ } from '../../proto/abi/signal.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { type Capabilities, Resource, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedProcess } from '../decode/checked.ts';
import { close, directoryFlags, openInRoot, openOurs, writeText } from './calls.ts';
import type { Machine } from './host.ts';
import { type Program, u32, u64 } from './program.ts';
import { FILTERS } from './seccomp.gen.ts';

/** Descriptors the program itself may need; a lower limit is set by the second process alone, which needs no right for that. */
const NOFILE_LEAST = 1024n;

/** First process: hard limits, which only the host's root may raise, and the score, whose file belongs to it while the process is non-dumpable. */
export function raiseLimits(program: Program, user: CheckedProcess): void {
  for (const { resource, hard } of user.rlimits)
    if (resource !== Resource.RESOURCE_NOFILE || hard >= NOFILE_LEAST) setLimit(program, resource, [hard, hard]);
  if (user.oomScoreAdj === 0) return;
  const setting = program.during(`set oom_score_adj ${user.oomScoreAdj}`);
  writeText(setting, openOurs(setting, '/proc/self/oom_score_adj', O_WRONLY), String(user.oomScoreAdj));
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
  const directory = openInRoot(entering, { at: AT_FDCWD, path: cwd, flags: directoryFlags(machine.arch) });
  entering.call(nr.SYS_fchdir, [directory]);
  close(program, directory);
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
