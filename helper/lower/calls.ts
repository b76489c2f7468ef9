// Shapes of calls that several files need. Paths are opened with openat2 and a rule that keeps them where they belong: openWithin for our own file
// systems (no links, no other mount), openInRoot for the container's (links may lead anywhere, but not out of the root, and not through /proc's).
import * as fcntl from '../../proto/abi/fcntl.gen.ts';
import * as mnt from '../../proto/abi/mount.gen.ts';
import * as how from '../../proto/abi/openat2.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import type { Arch } from './encode.ts';
import { type Argument, type Label, type Program, type Result, u64 } from './program.ts';

const encoder = new TextEncoder();

type Open = {
  readonly at: Argument;
  readonly path: string;
  readonly flags?: number;
  readonly step: string;
  readonly on?: readonly [number, Label];
};

function openat2(program: Program, { at, path, flags = fcntl.O_PATH, step, on }: Open, resolve: number): Result {
  const open = program.data(u64(flags | fcntl.O_CLOEXEC, 0, resolve));
  return program.call(nr.SYS_openat2, [at, path, open, how.OPEN_HOW_BYTES], on === undefined ? { step } : { step, on });
}

/** Opens beneath a directory of our own: no symbolic link, no way up, no mount on the way. */
export function openWithin(program: Program, open: Open): Result {
  return openat2(program, open, how.RESOLVE_BENEATH | how.RESOLVE_NO_SYMLINKS | how.RESOLVE_NO_XDEV);
}

/** Opens in the container's root: what points out of it points back into it, magic links of /proc are refused. */
export function openInRoot(program: Program, open: Open): Result {
  return openat2(program, open, how.RESOLVE_IN_ROOT | how.RESOLVE_NO_MAGICLINKS);
}

/** Opens an absolute path of ours: in the seed, or the process's own files in the host's /proc before anything is joined. */
export function openOurs(program: Program, open: Omit<Open, 'at'>): Result {
  return openat2(program, { ...open, at: fcntl.AT_FDCWD }, how.RESOLVE_NO_MAGICLINKS);
}

/** Flags for a directory that is only walked through. */
export function directoryFlags(arch: Arch): number {
  return fcntl.O_PATH | fcntl.O_DIRECTORY_OF[arch];
}

export type Setting = readonly [key: string, value: string | Argument | true];
export type Filesystem = {
  readonly type: string;
  readonly settings: readonly Setting[];
  readonly attributes: number;
  readonly step: string;
};

/** Makes a file system as a detached mount. Settings are strings, descriptors or flags, one at a time: nothing in them can be taken for another. */
export function newFilesystem(program: Program, { type, settings, attributes, step }: Filesystem): Result {
  const context = program.call(nr.SYS_fsopen, [type, mnt.FSOPEN_CLOEXEC], { step });
  for (const [key, value] of settings) {
    const what = { step: `${step}: ${key}` };
    if (value === true) program.call(nr.SYS_fsconfig, [context, mnt.FSCONFIG_SET_FLAG, key, 0, 0], what);
    else if (typeof value === 'string')
      program.call(nr.SYS_fsconfig, [context, mnt.FSCONFIG_SET_STRING, key, value, 0], what);
    else program.call(nr.SYS_fsconfig, [context, mnt.FSCONFIG_SET_FD, key, 0, value], what);
  }
  program.call(nr.SYS_fsconfig, [context, mnt.FSCONFIG_CMD_CREATE, 0, 0, 0], { step });
  const mount = program.call(nr.SYS_fsmount, [context, mnt.FSMOUNT_CLOEXEC, attributes], { step });
  close(program, context);
  return mount;
}

type Clone = { readonly at: Argument; readonly path?: string; readonly recursive?: boolean; readonly step: string };

/** A detached copy of the mount at a place (or of the directory or file there). */
export function cloneMount(program: Program, { at, path = '', recursive = false, step }: Clone): Result {
  const flags =
    mnt.OPEN_TREE_CLONE |
    mnt.OPEN_TREE_CLOEXEC |
    (recursive ? fcntl.AT_RECURSIVE : 0) |
    (path === '' ? fcntl.AT_EMPTY_PATH : 0);
  return program.call(nr.SYS_open_tree, [at, path, flags], { step });
}

type Attributes = {
  readonly set: number;
  readonly propagation?: number;
  readonly userNamespace?: number;
  readonly recursive?: boolean;
};

/** Sets attributes of a mount. */
export function setAttributes(program: Program, mount: Argument, more: Attributes & { step: string }): void {
  const attributes = program.data(u64(more.set, 0, more.propagation ?? 0, more.userNamespace ?? 0));
  const flags = fcntl.AT_EMPTY_PATH | (more.recursive ? fcntl.AT_RECURSIVE : 0);
  program.call(nr.SYS_mount_setattr, [mount, '', flags, attributes, mnt.MOUNT_ATTR_SIZE_VER0], { step: more.step });
}

/** Attaches a detached mount onto what a descriptor refers to. */
export function attach(program: Program, mount: Argument, { target, step }: { target: Argument; step: string }): void {
  program.call(nr.SYS_move_mount, [mount, '', target, '', mnt.MOVE_MOUNT_F_EMPTY_PATH | mnt.MOVE_MOUNT_T_EMPTY_PATH], {
    step,
  });
}

/** Attaches a detached mount at a path of the seed (or of the store's namespace), which nobody but the helper writes to. */
export function attachAt(program: Program, mount: Argument, { path, step }: { path: string; step: string }): void {
  program.call(nr.SYS_move_mount, [mount, '', fcntl.AT_FDCWD, path, mnt.MOVE_MOUNT_F_EMPTY_PATH], { step });
}

/** Writes a short text into a file of the kernel's beneath a descriptor, and closes it. */
export function writeWithin(program: Program, { at, path, step }: Open, text: string): void {
  writeText(program, openWithin(program, { at, path, flags: fcntl.O_WRONLY, step }), { text, step });
}

/** Writes a short text and closes the file. */
export function writeText(program: Program, file: Result, { text, step }: { text: string; step: string }): void {
  program.call(nr.SYS_write, [file, text, encoder.encode(text).length], { step });
  close(program, file);
}

export function close(program: Program, descriptor: Argument): void {
  program.call(nr.SYS_close, [descriptor], { step: 'close' });
}

export function closeAll(program: Program, descriptors: Iterable<Argument>): void {
  for (const descriptor of descriptors) close(program, descriptor);
}
