// Files by directory descriptor. Paths are resolved with openat2's rules, never walked twice.
import { FALLOC_FL_KEEP_SIZE } from '../../proto/abi/falloc.gen.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, O_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import { OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '../../proto/abi/mount.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { checked, raw, words } from './libc.ts';

export type OpenHow = { readonly flags: number; readonly mode?: number; readonly resolve?: number };

/** man 2 openat2; the descriptor is always close-on-exec. `directory`: AT_FDCWD or a descriptor. */
export function openat2(directory: number, path: string, how: OpenHow): number {
  const bytes = words(how.flags | O_CLOEXEC, how.mode ?? 0, how.resolve ?? 0);
  return checked('openat2', path, raw.openat2(nr.SYS_openat2, directory, path, bytes, bytes.length));
}

/** man 2 flock. Throws with EWOULDBLOCK where LOCK_NB is given and another holds it. */
export const flock = (fd: number, operation: number) => checked('flock', fd, raw.flock(fd, operation));

/** Takes disk blocks for the file's first bytes without making it longer: what is appended there is written although the disk is full. Not every file system can. man 2 fallocate. */
export function reserve(fd: number, bytes: number): void {
  raw.fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes);
}

/** A detached copy of the mount beneath the descriptor. man 2 open_tree. */
export function cloneMount(fd: number, recursive: boolean): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  return checked('open_tree', fd, raw.openTree(nr.SYS_open_tree, fd, '', flags));
}

/** Sets attributes (and the owners' map of the user namespace) on a detached mount. man 2 mount_setattr. */
export function mountSetattr(mount: number, set: number, userNamespace = 0): void {
  const attributes = words(set, 0, 0, userNamespace);
  const result = raw.mountSetattr(nr.SYS_mount_setattr, mount, '', AT_EMPTY_PATH, attributes, attributes.length);
  checked('mount_setattr', mount, result);
}

/** Opens a path of the helper's own (a /proc file, a configured path) as openat2 without any rule. */
export function openPath(path: string, flags: number): number {
  return openat2(AT_FDCWD, path, { flags });
}
