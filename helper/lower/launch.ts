// A launch and an exec: from the checked plan and what the ops have prepared to the program of two processes. The order is the safety argument (SECURITY,
// rules 7 and 8); checkProgram proves it once more over the finished table. A launch's first process does all that takes the host's rights. An exec's
// only prepares its child's pid namespace; the child is visible in the container from its first instant, so it is the launcher from the start, with
// memory of the host's user namespace, and joins the others itself, the user namespace last.
import { ENOTDIR } from '../../proto/abi/errno.gen.ts';
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import { DEVPTS_SUPER_MAGIC } from '../../proto/abi/magic.gen.ts';
import { CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { SYS_fstatfs, SYS_setns, SYS_umask } from '../../proto/abi/unistd.gen.ts';
import { KernelFilesystem, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedExec, CheckedLaunch } from '../decode/checked.ts';
import * as calls from './calls.ts';
import { checkProgram, CLONED, type Shape } from './check.ts';
import type { Context, ExecHost, LaunchHost, StdioHost } from './host.ts';
import * as mounts from './mounts.ts';
import * as namespaces from './namespaces.ts';
import { ADD, createProgram, newLabel, type Program, type Result } from './program.ts';
import * as end from './user.ts';

const BEFORE_CLONE = CLONE_NEWPID | CLONE_NEWTIME;
const STATFS_BYTES = 120;

/** A program, and how its process is to be started. */
export type Lowered = { readonly program: Program; readonly start: { readonly cgroup?: number } };

/** Makes the program of a launch. Throws Refused for a plan that cannot be done with what the host has prepared. */
export function lowerLaunch(plan: CheckedLaunch, host: LaunchHost): Lowered {
  const program = createProgram(host.status);
  const context = { program, plan, host };
  namespaces.lowerBeginning(program, plan.process, host.cgroups);
  program.call(SYS_umask, [0], { step: 'set umask' });
  const prepared = mounts.prepareMounts(context);
  mounts.lowerRoot(context);
  const placed = mounts.placeMounts(context, prepared);
  namespaces.enterNamespaces(context);
  const made = Number(plan.namespaces.unshare);
  namespaces.cloneProcess(program, made & CLONED, keptOf(host));
  lowerInside(context, placed);
  const { seedNamespace } = host.machine;
  return lowerEnd(context, { kind: 'launch', mounts: seedNamespace, users: host.userNamespace, made });
}

/** The helper's descriptors that the second process has. */
export function keptOf({ status, stdio }: { status: number; stdio: StdioHost }): Set<number> {
  return new Set([status, ...(stdio.kind === 'tty' ? [stdio.socket] : stdio.descriptors)]);
}

/** The second process of a launch. */
function lowerInside(context: Context, placed: readonly mounts.Placed[]): void {
  const { program, plan, host } = context;
  const root = mounts.openRoot(context);
  const kernels = mounts.attachMounts(context, root, placed);
  namespaces.lowerSysctls(context);
  mounts.lowerMasks(context, kernels);
  namespaces.lowerNames(context);
  mounts.makeDirectory(context, root);
  const devpts = kernels.get(KernelFilesystem.KERNEL_FILESYSTEM_DEVPTS);
  const terminal = end.lowerStdio(program, { stdio: plan.stdio, host: host.stdio, devpts });
  const dev = kernels.get(KernelFilesystem.KERNEL_FILESYSTEM_DEV);
  if (terminal !== undefined && dev !== undefined) {
    const mounting = program.during('mount /dev/console');
    const clone = calls.cloneMount(mounting, { at: terminal });
    calls.attach(mounting, clone, calls.openWithin(mounting, { at: dev, path: 'console' }));
  }
  if (terminal !== undefined && !plan.init) end.controlTerminal(program);
  // From here on nothing but the container's root can be reached.
  calls.enterRoot(program.during('enter the root file system'), root);
}

/** Makes the program of an exec. */
export function lowerExec(plan: CheckedExec, host: ExecHost): Lowered {
  const program = createProgram(host.status);
  const container = program.use(host.container);
  const join = (bits: number) => {
    const of = (host.namespaces & bits) >>> 0;
    if (of !== 0) program.call(SYS_setns, [container, of], { step: 'join the container' });
  };
  const ownUsers = (host.namespaces & CLONE_NEWUSER) !== 0;
  namespaces.lowerBeginning(program, plan.process, host.cgroups);
  join(BEFORE_CLONE);
  namespaces.cloneProcess(program, 0, new Set([container, ...keptOf(host)]));
  join(~BEFORE_CLONE & ~CLONE_NEWUSER);
  join(CLONE_NEWUSER);
  if (ownUsers) namespaces.becomeRoot(program, host.machine.rootless);
  calls.close(program, container);
  const devpts = plan.stdio.tty ? openDevpts(program, host) : undefined;
  const terminal = end.lowerStdio(program, { stdio: plan.stdio, host: host.stdio, devpts });
  if (terminal !== undefined) end.controlTerminal(program);
  const users = ownUsers ? container : undefined;
  return lowerEnd({ program, plan, host }, { kind: 'exec', mounts: container, users, made: 0 });
}

/** The container's /dev/pts, if it is a devpts: any instance its root could put there is its own, and nobody can make files in one. */
function openDevpts(program: Program, host: ExecHost): Result {
  const finding = program.during('find the terminals of the container in /dev/pts');
  const right = newLabel();
  const flags = calls.directoryFlags(host.machine.arch);
  const directory = calls.openInRoot(finding, { at: AT_FDCWD, path: '/dev/pts', flags });
  const statfs = program.data(new Uint8Array(STATFS_BYTES));
  finding.call(SYS_fstatfs, [directory, statfs]);
  finding.call(ADD, [{ kind: 'word', data: statfs }, 0], { on: [DEVPTS_SUPER_MAGIC, right] });
  program.fail(ENOTDIR, `${finding.step}: it is not a devpts`);
  program.here(right);
  return directory;
}

type Ended = Pick<CheckedLaunch, 'process' | 'hardening' | 'stdio'> & { readonly init?: boolean };
type Ending = { readonly program: Program; readonly plan: Ended; readonly host: LaunchHost | ExecHost };

/** What both end with, in the container's root: the user's rights and program, and the proof. */
function lowerEnd({ program, plan, host }: Ending, shape: Omit<Shape, 'filtered' | 'kept'>): Lowered {
  const { process: user, hardening, stdio, init } = plan;
  end.settleLimits(program, user);
  end.becomeUser(program, user, host.machine);
  end.lowerHardening(program, user, { seccomp: hardening.seccomp, machine: host.machine });
  if (init) end.lowerInit(program, user, stdio.tty);
  end.lowerExecute(program, user);
  const filtered = hardening.seccomp === Seccomp.SECCOMP_DEFAULT;
  checkProgram(program, { ...shape, filtered, kept: keptOf(host) });
  return { program, start: host.cgroups.kind === 'v2' ? { cgroup: host.cgroups.directory } : {} };
}
