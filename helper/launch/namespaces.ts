// Namespaces without a process, kept by descriptor: user namespaces with their maps, the seed of all containers' mounts, the store where merged images
// are mounted. Each is made by a small program that then only waits to be killed, and would end by itself should the helper not come to that.
import { closeSync, readSync, writeFileSync } from 'node:fs';
import { AT_FDCWD, AT_REMOVEDIR, O_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import * as mnt from '../../proto/abi/mount.gen.ts';
import { CLONE_NEWNS, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { SIGKILL, SIGSET_BYTES } from '../../proto/abi/signal.gen.ts';
import { S_IFCHR, S_IFREG } from '../../proto/abi/stat.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import * as calls from '../lower/calls.ts';
import { PLACES } from '../lower/mounts.ts';
import { createProgram, type Program, type Result, u64 } from '../lower/program.ts';
import { pipe2 } from '../sys/descriptors.ts';
import { openPath } from '../sys/files.ts';
import { pidfdSendSignal } from '../sys/processes.ts';
import { startChild } from './child.ts';
import { decodeStatus, reaped, runToEnd, type StepFailure } from './run.ts';

/** `count` ids from `outside` in the helper's user namespace are `inside` in the new one. */
export type IdRange = { readonly inside: number; readonly outside: number; readonly count: number };
export type IdMaps = { readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] };

/** A user namespace with these maps, as a descriptor to join or to map owners by. About half a millisecond. */
export function newUserNamespace({ uids, gids }: IdMaps): number {
  const print = (ranges: readonly IdRange[]) =>
    ranges.map((one) => `${one.inside} ${one.outside} ${one.count}`).join('\n');
  const prepare = (pid: number) => {
    writeFileSync(`/proc/${pid}/uid_map`, print(uids));
    writeFileSync(`/proc/${pid}/gid_map`, print(gids));
  };
  return holdNamespace('user', { flags: CLONE_NEWUSER, prepare });
}

type Making = {
  /** What the process does to make it, or the flags that it is cloned with. */
  readonly make?: (program: Program) => void;
  readonly flags?: number;
  /** What is done to it from outside. */
  readonly prepare?: (pid: number) => void;
};

/** Makes the namespace and opens it while its process waits, then ends the process. Throws Error with the step that failed. */
function holdNamespace(kind: 'user' | 'mnt', { make, flags = 0, prepare }: Making): number {
  const [read, write] = pipe2();
  const program = createProgram(write);
  make?.(program.during('make a mount namespace'));
  program.call(nr.SYS_close, [write]);
  const nothing = program.data(u64(0));
  program.call(nr.SYS_rt_sigtimedwait, [nothing, 0, program.data(u64(10, 0)), SIGSET_BYTES], { ignore: true });
  program.call(nr.SYS_exit_group, [0]);
  try {
    const child = startChild(program, { flags });
    closeSync(write);
    try {
      const report = Buffer.alloc(64);
      const { failure } = decodeStatus(report.subarray(0, readSync(read, report)), program);
      if (failure !== undefined) throw new Error(`cannot make a namespace: ${failure.detail}`);
      prepare?.(child.pid);
      return openPath(`/proc/${child.pid}/ns/${kind}`, O_CLOEXEC);
    } finally {
      pidfdSendSignal(child.pidfd, SIGKILL);
      void reaped(child.pidfd);
    }
  } finally {
    closeSync(read);
  }
}

const QUIET = mnt.MOUNT_ATTR_NOSUID | mnt.MOUNT_ATTR_NODEV | mnt.MOUNT_ATTR_NOEXEC;

/** Leaves the process in a mount namespace of its own that holds a small tmpfs and nothing else; `fill` may add to it before the host's are gone. */
function newRoot(program: Program, fill: (root: Result) => void): void {
  program.call(nr.SYS_unshare, [CLONE_NEWNS]);
  program.call(nr.SYS_mount, [0, '/', 0, mnt.MS_REC | mnt.MS_PRIVATE, 0]);
  program.call(nr.SYS_umask, [0]);
  const settings = Object.entries({ size: '1m', mode: '755', source: 'berth' });
  const attributes = mnt.MOUNT_ATTR_NOSUID | mnt.MOUNT_ATTR_NOEXEC;
  const root = calls.newFilesystem(program, { type: 'tmpfs', settings, attributes });
  fill(root);
  calls.enterRoot(program, root);
}

/**
 * The mount namespace that every container's is a copy of: /root, /lower and /home to attach to and places for the mounts of a plan, /null and /empty to
 * mask with, and proc and sysfs in full, since the kernel lets a user namespace mount its own only where it sees those. Nothing of the host's files is in it.
 */
export function newSeedNamespace(rootless: boolean): number {
  const make = (program: Program) => {
    const of = (type: string, path: string) =>
      rootless
        ? calls.cloneMount(program, { path, recursive: true })
        : calls.newFilesystem(program, { type, settings: [], attributes: QUIET });
    const [proc, sysfs] = [of('proc', '/proc'), of('sysfs', '/sys')];
    const node = rootless ? calls.cloneMount(program, { path: '/dev/null' }) : undefined;
    newRoot(program, (root) => {
      for (const name of ['root', 'lower', 'home', 'proc', 'sys', 'empty', ...PLACES.directories])
        program.call(nr.SYS_mkdirat, [root, name, name === 'empty' ? 0o555 : 0o755]);
      for (const name of PLACES.files) program.call(nr.SYS_mknodat, [root, name, S_IFREG | 0o644, 0]);
      const [mode, device] = rootless ? [S_IFREG | 0o666, 0] : [S_IFCHR | 0o666, NULL_DEVICE];
      program.call(nr.SYS_mknodat, [root, 'null', mode, device]);
      calls.attachAt(program, root, '/proc');
      const parts = [['proc', proc], ['sys', sysfs], ...(node === undefined ? [] : [['null', node] as const])] as const;
      for (const [path, mount] of parts) calls.attach(program, mount, calls.openWithin(program, { at: root, path }));
    });
  };
  return holdNamespace('mnt', { make });
}

/** Character device 1:3. Source: Documentation/admin-guide/devices.txt. */
const NULL_DEVICE = (1 << 8) | 3;

/** The mount namespace in which merged images are attached, for launches to clone from. */
export function newStoreNamespace(): number {
  const make = (program: Program) => newRoot(program, (root) => calls.attachAt(program, root, '/proc'));
  return holdNamespace('mnt', { make });
}

export type Image = {
  readonly storeNamespace: number;
  /** A plain file name, by which launches find it. */
  readonly name: string;
  /** The merged index, then its layers' tars: paths of the helper's own files or loop devices. */
  readonly source: string;
  readonly devices: readonly string[];
};

/** Mounts a merged EROFS image in the store's namespace; gives the step that failed. */
export function attachImage({ storeNamespace, name, source, devices }: Image): Promise<StepFailure | undefined> {
  const layers = devices.map((device): calls.Setting => ['device', device]);
  const settings: calls.Setting[] = [['source', source], ...layers, ['ro', true]];
  const attributes = mnt.MOUNT_ATTR_RDONLY | mnt.MOUNT_ATTR_NODEV;
  return runToEnd('mount the image', (program) => {
    const image = calls.newFilesystem(program, { type: 'erofs', settings, attributes });
    program.call(nr.SYS_setns, [program.use(storeNamespace), CLONE_NEWNS]);
    program.call(nr.SYS_mkdirat, [AT_FDCWD, `/${name}`, 0o755]);
    calls.attachAt(program, image, `/${name}`);
  });
}

/** Takes an image out of the store's namespace; containers that use it keep their own view of it. Gives the step that failed. */
export function detachImage(storeNamespace: number, name: string): Promise<StepFailure | undefined> {
  return runToEnd('unmount the image', (program) => {
    program.call(nr.SYS_setns, [program.use(storeNamespace), CLONE_NEWNS]);
    program.call(nr.SYS_umount2, [`/${name}`, mnt.MNT_DETACH]);
    program.call(nr.SYS_unlinkat, [AT_FDCWD, `/${name}`, AT_REMOVEDIR]);
  });
}
