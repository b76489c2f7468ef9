// An exec: a process in a running container. The first process only prepares its child's pid namespace; the child is visible in the container from its
// first instant, so it is the launcher from the start, with memory of the host's user namespace, and joins the others itself, the user namespace last.
import { ENOTDIR } from '../../proto/abi/errno.gen.ts';
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import { DEVPTS_SUPER_MAGIC } from '../../proto/abi/magic.gen.ts';
import { CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { SYS_fstatfs, SYS_setns } from '../../proto/abi/unistd.gen.ts';
import type { CheckedExec } from '../decode/checked.ts';
import { close, directoryFlags, openInRoot } from './calls.ts';
import { lowerExecute } from './execute.ts';
import type { ExecHost } from './host.ts';
import { becomeUser, lowerHardening, raiseLimits, settleLimits } from './identity.ts';
import { checkProgram } from './check.ts';
import { Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import { keptOf, type Lowered } from './launch.ts';
import { becomeRoot, cloneProcess, enterCgroups, leaveKeyring, lowerUndumpable } from './namespaces.ts';
import { ADD, createProgram, newLabel, type Program, type Result } from './program.ts';
import { controlTerminal, lowerStdio } from './stdio.ts';

const BEFORE_CLONE = CLONE_NEWPID | CLONE_NEWTIME;
const STATFS_BYTES = 120;

/** Makes the program of an exec. */
export function lowerExec(plan: CheckedExec, host: ExecHost): Lowered {
  const program = createProgram(host.status);
  const { process: user, stdio, hardening } = plan;
  const container = program.use(host.container);
  lowerUndumpable(program);
  leaveKeyring(program);
  raiseLimits(program, user);
  enterCgroups(program, host.cgroups);
  join(program, container, host.namespaces & BEFORE_CLONE);
  const groups = host.cgroups.kind === 'v1' ? host.cgroups.groups.map(({ directory }) => directory) : [];
  cloneProcess(program, { flags: 0, close: groups });
  join(program, container, host.namespaces & ~BEFORE_CLONE & ~CLONE_NEWUSER);
  join(program, container, host.namespaces & CLONE_NEWUSER);
  if ((host.namespaces & CLONE_NEWUSER) !== 0) becomeRoot(program, host.machine.rootless);
  close(program, container);
  const devpts = stdio.tty ? openDevpts(program, host) : undefined;
  const terminal = lowerStdio(program, { stdio, host: host.stdio, devpts });
  if (terminal !== undefined) controlTerminal(program);
  settleLimits(program, user);
  becomeUser(program, user, host.machine);
  lowerHardening(program, user, { seccomp: hardening.seccomp, machine: host.machine });
  lowerExecute(program, user);
  checkProgram(program, {
    kind: 'exec',
    mounts: container,
    users: (host.namespaces & CLONE_NEWUSER) === 0 ? undefined : container,
    filtered: hardening.seccomp === Seccomp.SECCOMP_DEFAULT,
    made: 0,
    kept: keptOf(host),
  });
  return host.cgroups.kind === 'v2' ? { program, start: { cgroup: host.cgroups.directory } } : { program, start: {} };
}

function join(program: Program, container: number, namespaces: number): void {
  if (namespaces !== 0) program.call(SYS_setns, [container, namespaces >>> 0], { step: 'join the container' });
}

/** The container's /dev/pts, if it is a devpts: any instance its root could put there is its own, and nobody can make files in one. */
function openDevpts(program: Program, host: ExecHost): Result {
  const step = 'find the terminals of the container in /dev/pts';
  const right = newLabel();
  const flags = directoryFlags(host.machine.arch);
  const directory = openInRoot(program, { at: AT_FDCWD, path: '/dev/pts', flags, step });
  const statfs = program.data(new Uint8Array(STATFS_BYTES));
  program.call(SYS_fstatfs, [directory, statfs], { step });
  program.call(ADD, [{ kind: 'word', data: statfs }, 0], { on: [DEVPTS_SUPER_MAGIC, right] });
  program.fail(ENOTDIR, `${step}: it is not a devpts`);
  program.here(right);
  return directory;
}
