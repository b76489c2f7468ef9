// The layer worker's sandbox, as a program of the launcher. The worker reads what anybody may have written, so it gets its descriptors and nothing
// else: a user namespace over uids that belong to no one, a root of read-only system libraries and its own code, no network, the filter and limits
// below, no capability but those that unpacking needs in that user namespace.
import { F_DUPFD_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import { MNT_DETACH, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY } from '../../proto/abi/mount.gen.ts';
import * as sched from '../../proto/abi/sched.gen.ts';
import { S_IFREG } from '../../proto/abi/stat.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedProcess } from '../decode/checked.ts';
import { attach, attachAt, cloneMount, newFilesystem, openWithin, setAttributes } from '../lower/calls.ts';
import { lowerExecute } from '../lower/execute.ts';
import type { Machine } from '../lower/host.ts';
import { becomeUser, lowerHardening, settleLimits } from '../lower/identity.ts';
import { becomeRoot, cloneProcess, leaveKeyring, lowerUndumpable } from '../lower/namespaces.ts';
import { createProgram, type Program } from '../lower/program.ts';

const FLAGS =
  sched.CLONE_NEWNS |
  sched.CLONE_NEWPID |
  sched.CLONE_NEWNET |
  sched.CLONE_NEWIPC |
  sched.CLONE_NEWUTS |
  sched.CLONE_NEWCGROUP;
const READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
/** Descriptors are moved here first, so that none is overwritten on the way to its place. */
const ABOVE = 4096;

/** Something of the host that the worker sees: a directory or file at the path (two components at most), or a symbolic link. */
export type Shown = { readonly path: string } & (
  | { readonly kind: 'directory' | 'file'; readonly descriptor: number }
  | { readonly kind: 'link'; readonly to: string }
);
export type Sandbox = {
  readonly machine: Machine;
  /** Undefined where the helper itself is in one (rootless). */
  readonly userNamespace: number | undefined;
  readonly shown: readonly Shown[];
  readonly process: CheckedProcess;
  /** From descriptor 0 on. */
  readonly descriptors: readonly number[];
};

/** The program that becomes the worker; `status` must be above the descriptors' places. */
export function lowerSandbox(sandbox: Sandbox, status: number): Program {
  const { machine, userNamespace, shown } = sandbox;
  const program = createProgram(status);
  lowerUndumpable(program);
  leaveKeyring(program);
  const step = 'make the root of the layer worker';
  const root = newFilesystem(program, {
    type: 'tmpfs',
    settings: [
      ['mode', '755'],
      ['size', '64k'],
    ],
    attributes: READ_ONLY & ~MOUNT_ATTR_RDONLY,
    step,
  });
  const clones = shown.map((one) => {
    for (const parent of parents(one.path)) program.call(nr.SYS_mkdirat, [root, parent, 0o755], { step, ignore: true });
    if (one.kind === 'link') {
      program.call(nr.SYS_symlinkat, [one.to, root, one.path], { step });
      return undefined;
    }
    if (one.kind === 'directory') program.call(nr.SYS_mkdirat, [root, one.path, 0o755], { step, ignore: true });
    else program.call(nr.SYS_mknodat, [root, one.path, S_IFREG | 0o444, 0], { step });
    const clone = cloneMount(program, { at: program.use(one.descriptor), step });
    setAttributes(program, clone, { set: READ_ONLY, step });
    return clone;
  });
  program.call(nr.SYS_setns, [program.use(machine.seedNamespace), sched.CLONE_NEWNS], { step });
  if (userNamespace !== undefined) {
    program.call(nr.SYS_setns, [program.use(userNamespace), sched.CLONE_NEWUSER], { step });
    becomeRoot(program, false);
  }
  for (const fd of sandbox.descriptors) program.use(fd);
  cloneProcess(program, { flags: FLAGS, close: [] });
  attachAt(program, root, { path: '/root', step });
  for (const [i, clone] of clones.entries()) {
    const path = shown[i]?.path;
    if (clone === undefined || path === undefined) continue;
    attach(program, clone, { target: openWithin(program, { at: root, path, step }), step });
  }
  program.call(nr.SYS_fchdir, [root], { step });
  program.call(nr.SYS_pivot_root, ['.', '.'], { step });
  program.call(nr.SYS_umount2, ['.', MNT_DETACH], { step });
  settleLimits(program, sandbox.process);
  placeDescriptors(program, sandbox.descriptors);
  becomeUser(program, sandbox.process, machine);
  lowerHardening(program, sandbox.process, { seccomp: Seccomp.SECCOMP_DEFAULT, machine });
  lowerExecute(program, sandbox.process);
  return program;
}

/** Directories above a path. */
function parents(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}

/** After settleLimits every descriptor closes on execution but those put in place here. */
function placeDescriptors(program: Program, descriptors: readonly number[]): void {
  const step = 'pass the descriptors on';
  const above = descriptors.map((fd) =>
    program.call(nr.SYS_fcntl, [program.use(fd), F_DUPFD_CLOEXEC, ABOVE], { step }),
  );
  for (const [i, fd] of above.entries()) program.call(nr.SYS_dup3, [fd, i, 0], { step });
}
