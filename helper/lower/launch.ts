// A launch: from the checked plan and what the ops have prepared to the program of two processes. The order is the safety argument (SECURITY, rules 7
// and 8); checkProgram proves it once more over the finished table.
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import { MNT_DETACH, MOUNT_ATTR_RDONLY } from '../../proto/abi/mount.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import type { CheckedLaunch } from '../decode/checked.ts';
import { checkProgram } from './check.ts';
import { Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import { attach, attachAt, cloneMount, close, openWithin, setAttributes } from './calls.ts';
import type { Context } from './context.ts';
import { lowerExecute, lowerInit } from './execute.ts';
import type { LaunchHost, StdioHost } from './host.ts';
import { becomeUser, lowerHardening, raiseLimits, settleLimits } from './identity.ts';
import { lowerMasks, lowerSysctls } from './masks.ts';
import { attachMounts, makeTarget, type Prepared, prepareMounts } from './mounts.ts';
import {
  cloneFlags,
  cloneProcess,
  enterCgroups,
  enterNamespaces,
  lowerNames,
  leaveKeyring,
  lowerUndumpable,
} from './namespaces.ts';
import { createProgram, type Program, type Result } from './program.ts';
import { lowerRoot } from './root.ts';
import { controlTerminal, lowerStdio } from './stdio.ts';

/** A program, and how its process is to be started. */
export type Lowered = { readonly program: Program; readonly start: { readonly cgroup?: number } };

/** Makes the program of a launch. Throws Refused for a plan that cannot be done with what the host has prepared. */
export function lowerLaunch(plan: CheckedLaunch, host: LaunchHost): Lowered {
  const program = createProgram(host.status);
  const context = { program, plan, host };
  lowerUndumpable(program);
  leaveKeyring(program);
  raiseLimits(program, plan.process);
  enterCgroups(program, host.cgroups);
  program.call(nr.SYS_umask, [0], { step: 'set umask' });
  const prepared = prepareMounts(context);
  lowerRoot(context);
  enterNamespaces(context);
  const kept = keptOf(host);
  const unneeded = [...program.descriptors].filter((descriptor) => !kept.has(descriptor));
  cloneProcess(program, { flags: cloneFlags(context), close: unneeded });
  lowerInside(context, prepared);
  checkProgram(program, {
    kind: 'launch',
    mounts: host.machine.seedNamespace,
    users: host.userNamespace,
    filtered: plan.hardening.seccomp === Seccomp.SECCOMP_DEFAULT,
    made: Number(plan.namespaces.unshare),
    kept,
  });
  return host.cgroups.kind === 'v2' ? { program, start: { cgroup: host.cgroups.directory } } : { program, start: {} };
}

/** The helper's descriptors that the second process has. */
export function keptOf({ status, stdio }: { status: number; stdio: StdioHost }): Set<number> {
  return new Set([status, ...(stdio.kind === 'tty' ? [stdio.socket] : stdio.descriptors)]);
}

/** The second process. */
function lowerInside(context: Context, prepared: Prepared): void {
  const { program, plan, host } = context;
  const { process: user, hardening } = plan;
  // A clone of the locked mount is as locked, but can be the root.
  const root = cloneMount(program, { at: AT_FDCWD, path: '/root', step: 'find the root file system' });
  attachAt(program, root, { path: '/root', step: 'attach the root file system' });
  const own = attachMounts(context, root, prepared);
  lowerSysctls(context);
  lowerMasks(context, own);
  lowerNames(context);
  if (user.cwd !== '/') {
    const step = `make the working directory ${user.cwd}`;
    close(program, makeTarget(context, root, { path: user.cwd, file: false, step }));
  }
  const terminal = lowerStdio(program, { stdio: plan.stdio, host: host.stdio, devpts: own.devpts });
  if (terminal !== undefined && prepared.dev !== undefined) attachConsole(context, terminal, prepared.dev.mount);
  if (terminal !== undefined && !plan.init) controlTerminal(program);
  enterRoot(context, root);
  settleLimits(program, user);
  becomeUser(program, user, host.machine);
  lowerHardening(program, user, { seccomp: hardening.seccomp, machine: host.machine });
  if (plan.init) lowerInit(program, user, plan.stdio.tty);
  lowerExecute(program, user);
}

function attachConsole({ program }: Context, terminal: Result, dev: Result): void {
  const step = 'mount /dev/console';
  const clone = cloneMount(program, { at: terminal, step });
  attach(program, clone, { target: openWithin(program, { at: dev, path: 'console', step }), step });
}

/** From here on nothing but the container's root can be reached: the seed is detached, and the working directory is in the root. */
function enterRoot({ program, plan }: Context, root: Result): void {
  const step = 'enter the root file system';
  if (plan.root.readOnly) setAttributes(program, root, { set: MOUNT_ATTR_RDONLY, step: 'make the root read-only' });
  program.call(nr.SYS_fchdir, [root], { step });
  program.call(nr.SYS_pivot_root, ['.', '.'], { step });
  program.call(nr.SYS_umount2, ['.', MNT_DETACH], { step });
}
