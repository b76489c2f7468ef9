// An exec: a process in a running container. The first process only prepares its child's pid namespace; the child is visible in the container from its
// first instant, so it is the launcher from the start, with memory of the host's user namespace, and joins the others itself, the user namespace last.
import { ENOTDIR } from '../../proto/abi/errno.gen.ts';
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import { DEVPTS_SUPER_MAGIC } from '../../proto/abi/magic.gen.ts';
import { CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { SYS_fstatfs, SYS_setns } from '../../proto/abi/unistd.gen.ts';
import { Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedExec } from '../decode/checked.ts';
import { close, directoryFlags, openInRoot } from './calls.ts';
import { checkProgram } from './check.ts';
import { lowerExecute } from './execute.ts';
import type { ExecHost } from './host.ts';
import { becomeUser, lowerHardening, settleLimits } from './identity.ts';
import { keptOf, type Lowered, startOf } from './launch.ts';
import { becomeRoot, cloneProcess, lowerBeginning } from './namespaces.ts';
import { ADD, createProgram, newLabel, type Program, type Result } from './program.ts';
import { controlTerminal, lowerStdio } from './stdio.ts';

const BEFORE_CLONE = CLONE_NEWPID | CLONE_NEWTIME;
const STATFS_BYTES = 120;

/** Makes the program of an exec. */
export function lowerExec(plan: CheckedExec, host: ExecHost): Lowered {
  const program = createProgram(host.status);
  const { process: user, stdio, hardening } = plan;
  const container = program.use(host.container);
  const join = (bits: number) => {
    const of = (host.namespaces & bits) >>> 0;
    if (of !== 0) program.call(SYS_setns, [container, of], { step: 'join the container' });
  };
  const ownUsers = (host.namespaces & CLONE_NEWUSER) !== 0;
  lowerBeginning(program, user, host.cgroups);
  join(BEFORE_CLONE);
  const groups = host.cgroups.kind === 'v1' ? host.cgroups.groups.map(({ directory }) => directory) : [];
  cloneProcess(program, { flags: 0, close: groups });
  join(~BEFORE_CLONE & ~CLONE_NEWUSER);
  join(CLONE_NEWUSER);
  if (ownUsers) becomeRoot(program, host.machine.rootless);
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
    users: ownUsers ? container : undefined,
    filtered: hardening.seccomp === Seccomp.SECCOMP_DEFAULT,
    made: 0,
    kept: keptOf(host),
  });
  return { program, start: startOf(host.cgroups) };
}

/** The container's /dev/pts, if it is a devpts: any instance its root could put there is its own, and nobody can make files in one. */
function openDevpts(program: Program, host: ExecHost): Result {
  const finding = program.during('find the terminals of the container in /dev/pts');
  const right = newLabel();
  const directory = openInRoot(finding, { at: AT_FDCWD, path: '/dev/pts', flags: directoryFlags(host.machine.arch) });
  const statfs = program.data(new Uint8Array(STATFS_BYTES));
  finding.call(SYS_fstatfs, [directory, statfs]);
  finding.call(ADD, [{ kind: 'word', data: statfs }, 0], { on: [DEVPTS_SUPER_MAGIC, right] });
  program.fail(ENOTDIR, `${finding.step}: it is not a devpts`);
  program.here(right);
  return directory;
}
