// Shapes of calls that several files need. Paths are opened with openat2 and a rule that keeps them where they belong: openWithin for our own file
// systems (no links, no other mount), openInRoot for the container's (links may lead anywhere, but not out of the root, and not through /proc's).
import * as fcntl from '../../proto/abi/fcntl.gen.ts';
import * as mnt from '../../proto/abi/mount.gen.ts';
import * as how from '../../proto/abi/openat2.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import type { Arch } from './encode.ts';
import { type Argument, type Program, type Record, type Result, u64 } from './program.ts';

const encoder = new TextEncoder();

type Open = { readonly at: Argument; readonly path: string; readonly flags?: number; readonly on?: Record['on'] };

function openat2(program: Program, { at, path, flags = fcntl.O_PATH, on }: Open, resolve: number): Result {
  const open = program.data(u64(flags | fcntl.O_CLOEXEC, 0, resolve));
  return program.call(nr.SYS_openat2, [at, path, open, how.OPEN_HOW_BYTES], { on });
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
export function openOurs(program: Program, path: string, flags: number): Result {
  return openat2(program, { at: fcntl.AT_FDCWD, path, flags }, how.RESOLVE_NO_MAGICLINKS);
}

/** Flags for a directory that is only walked through. */
export function directoryFlags(arch: Arch): number {
  return fcntl.O_PATH | fcntl.O_DIRECTORY_OF[arch];
}

export type Setting = readonly [key: string, value: string | true];
type Filesystem = { readonly type: string; readonly settings: readonly Setting[]; readonly attributes: number };

/** Makes a file system as a detached mount. Settings are strings or flags, one at a time: nothing in them can be taken for another. */
export function newFilesystem(program: Program, { type, settings, attributes }: Filesystem): Result {
  const context = program.call(nr.SYS_fsopen, [type, mnt.FSOPEN_CLOEXEC]);
  for (const [key, value] of settings) {
    const [kind, text] = value === true ? [mnt.FSCONFIG_SET_FLAG, 0] : [mnt.FSCONFIG_SET_STRING, value];
    program.call(nr.SYS_fsconfig, [context, kind, key, text, 0], { step: `${program.step}: ${key}` });
  }
  program.call(nr.SYS_fsconfig, [context, mnt.FSCONFIG_CMD_CREATE, 0, 0, 0]);
  const mount = program.call(nr.SYS_fsmount, [context, mnt.FSMOUNT_CLOEXEC, attributes]);
  close(program, context);
  return mount;
}

type Clone = { readonly at?: Argument; readonly path?: string; readonly recursive?: boolean };
type Attributes = { readonly set?: number; readonly propagation?: number; readonly userNamespace?: number | undefined };

/** A detached copy of the mount at a place (or of the directory or file there), a path of ours or a descriptor; with these attributes, if any. */
export function cloneMount(program: Program, clone: Clone, attributes?: Attributes): Result {
  const { at = fcntl.AT_FDCWD, path = '', recursive = false } = clone;
  const flags = (recursive ? fcntl.AT_RECURSIVE : 0) | (path === '' ? fcntl.AT_EMPTY_PATH : 0);
  const tree = program.call(nr.SYS_open_tree, [at, path, mnt.OPEN_TREE_CLONE | mnt.OPEN_TREE_CLOEXEC | flags]);
  if (attributes !== undefined) setAttributes(program, tree, { recursive, ...attributes });
  return tree;
}

/** Sets attributes of a mount; with a user namespace its owners are mapped as that says. */
export function setAttributes(program: Program, mount: Argument, more: Attributes & { recursive?: boolean }): void {
  const { set = 0, propagation = 0, userNamespace, recursive = false } = more;
  const maps = userNamespace !== undefined;
  const step = maps ? `${program.step}: map the owners` : program.step;
  const all = program.data(u64(maps ? set | mnt.MOUNT_ATTR_IDMAP : set, 0, propagation, userNamespace ?? 0));
  const flags = fcntl.AT_EMPTY_PATH | (recursive ? fcntl.AT_RECURSIVE : 0);
  program.call(nr.SYS_mount_setattr, [mount, '', flags, all, mnt.MOUNT_ATTR_SIZE_VER0], { step });
}

/** Attaches a detached mount onto what a descriptor refers to. */
export function attach(program: Program, mount: Argument, target: Argument): void {
  const flags = mnt.MOVE_MOUNT_F_EMPTY_PATH | mnt.MOVE_MOUNT_T_EMPTY_PATH;
  program.call(nr.SYS_move_mount, [mount, '', target, '', flags]);
}

/** Attaches a detached mount at a path of the seed (or of the store's namespace), which nobody but the helper writes to. */
export function attachAt(program: Program, mount: Argument, path: string): void {
  program.call(nr.SYS_move_mount, [mount, '', fcntl.AT_FDCWD, path, mnt.MOVE_MOUNT_F_EMPTY_PATH]);
}

/** Makes the mount the root: the one before, and all that is attached there, is detached, and the working directory is in the new one. */
export function enterRoot(program: Program, root: Argument): void {
  program.call(nr.SYS_fchdir, [root]);
  program.call(nr.SYS_pivot_root, ['.', '.']);
  program.call(nr.SYS_umount2, ['.', mnt.MNT_DETACH]);
}

/** Writes a short text into a file of the kernel's beneath a descriptor, and closes it. */
export function writeWithin(program: Program, open: Open, text: string): void {
  writeText(program, openWithin(program, { ...open, flags: fcntl.O_WRONLY }), text);
}

/** Writes a short text and closes the file. */
export function writeText(program: Program, file: Result, text: string): void {
  program.call(nr.SYS_write, [file, text, encoder.encode(text).length]);
  close(program, file);
}

export function close(program: Program, ...descriptors: readonly Argument[]): void {
  for (const descriptor of descriptors) program.call(nr.SYS_close, [descriptor], { step: 'close' });
}
