// A launch: from the checked plan and what the ops have prepared to the program of two processes. The order is the safety argument (SECURITY, rules 7
// and 8); checkProgram proves it once more over the finished table.
import { SYS_umask } from '../../proto/abi/unistd.gen.ts';
import { KernelFilesystem, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedLaunch } from '../decode/checked.ts';
import * as calls from './calls.ts';
import { checkProgram } from './check.ts';
import { lowerExecute, lowerInit } from './execute.ts';
import type { Cgroups, Context, LaunchHost, StdioHost } from './host.ts';
import { becomeUser, lowerHardening, settleLimits } from './identity.ts';
import { lowerMasks, lowerSysctls } from './masks.ts';
import { attachMounts, type Placed, placeMounts, prepareMounts } from './mounts.ts';
import * as namespaces from './namespaces.ts';
import { createProgram, type Program } from './program.ts';
import { lowerRoot, makeDirectory, openRoot } from './root.ts';
import { controlTerminal, lowerStdio } from './stdio.ts';

/** A program, and how its process is to be started. */
export type Lowered = { readonly program: Program; readonly start: { readonly cgroup?: number } };

/** Makes the program of a launch. Throws Refused for a plan that cannot be done with what the host has prepared. */
export function lowerLaunch(plan: CheckedLaunch, host: LaunchHost): Lowered {
  const program = createProgram(host.status);
  const context = { program, plan, host };
  namespaces.lowerBeginning(program, plan.process, host.cgroups);
  program.call(SYS_umask, [0], { step: 'set umask' });
  const prepared = prepareMounts(context);
  lowerRoot(context);
  const placed = placeMounts(context, prepared);
  namespaces.enterNamespaces(context);
  const kept = keptOf(host);
  const unneeded = [...program.descriptors].filter((descriptor) => !kept.has(descriptor));
  namespaces.cloneProcess(program, { flags: namespaces.cloneFlags(context), close: unneeded });
  lowerInside(context, placed);
  checkProgram(program, {
    kind: 'launch',
    mounts: host.machine.seedNamespace,
    users: host.userNamespace,
    filtered: plan.hardening.seccomp === Seccomp.SECCOMP_DEFAULT,
    made: Number(plan.namespaces.unshare),
    kept,
  });
  return { program, start: startOf(host.cgroups) };
}

/** The helper's descriptors that the second process has. */
export function keptOf({ status, stdio }: { status: number; stdio: StdioHost }): Set<number> {
  return new Set([status, ...(stdio.kind === 'tty' ? [stdio.socket] : stdio.descriptors)]);
}

/** v2: the process is started in its group. */
export function startOf(cgroups: Cgroups): Lowered['start'] {
  return cgroups.kind === 'v2' ? { cgroup: cgroups.directory } : {};
}

/** The second process. */
function lowerInside(context: Context, placed: readonly Placed[]): void {
  const { program, plan, host } = context;
  const { process: user, hardening, stdio } = plan;
  const root = openRoot(context);
  const own = attachMounts(context, root, placed);
  lowerSysctls(context);
  lowerMasks(context, own);
  namespaces.lowerNames(context);
  makeDirectory(context, root);
  const devpts = own.get(KernelFilesystem.KERNEL_FILESYSTEM_DEVPTS);
  const terminal = lowerStdio(program, { stdio, host: host.stdio, devpts });
  const dev = own.get(KernelFilesystem.KERNEL_FILESYSTEM_DEV);
  if (terminal !== undefined && dev !== undefined) {
    const mounting = program.during('mount /dev/console');
    const clone = calls.cloneMount(mounting, { at: terminal });
    calls.attach(mounting, clone, calls.openWithin(mounting, { at: dev, path: 'console' }));
  }
  if (terminal !== undefined && !plan.init) controlTerminal(program);
  // From here on nothing but the container's root can be reached.
  calls.enterRoot(program.during('enter the root file system'), root);
  settleLimits(program, user);
  becomeUser(program, user, host.machine);
  lowerHardening(program, user, { seccomp: hardening.seccomp, machine: host.machine });
  if (plan.init) lowerInit(program, user, stdio.tty);
  lowerExecute(program, user);
}
