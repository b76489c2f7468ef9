// Which files and directories of the host a container may get. Judged on the descriptor that came, never on a path that somebody wrote.
import * as magic from '../abi/magic.gen.ts';
import { within } from './profile.ts';
import { type Ask, may, refuse } from './rules.ts';
import type { SeenFile } from './seen.ts';

const KERNEL_FILESYSTEMS: readonly number[] = Object.values(magic);

/** Judges one passed descriptor that becomes a mount or a root: where it lies, on what, and whose it is. */
export function judgeFile(ask: Ask, index: number, write: boolean): void {
  const { profile, seen } = ask;
  const file = seen.files[index];
  if (file === undefined || !file.path.startsWith('/')) {
    const asked = `number ${index}, ${file?.path ?? 'which did not come'}`;
    refuse(ask, 'descriptor', [asked, 'a file or directory with a path']);
    return;
  }
  const asked = `${file.path} ${write ? 'read-write' : 'read-only'}`;
  const denied = [...seen.own, ...profile.bindDenied].find((tree) => touches(file, tree));
  if (denied !== undefined) refuse(ask, 'bindDenied', [asked, `nothing that is, holds or lies beneath ${denied}`]);
  const owned = file.uid === seen.uid ? undefined : profile.bindOwned.find((tree) => touches(file, tree));
  const own = `beneath ${owned} only what is uid ${seen.uid}'s`;
  if (owned !== undefined) refuse(ask, 'bindOwned', [`${asked}, of uid ${file.uid}`, own]);
  const kernel = KERNEL_FILESYSTEMS.includes(file.fsType);
  may(ask, 'bindKernelFilesystems', [kernel, `${file.path}, of a file system of the kernel`]);
  const trees = write ? profile.bindWrite : [...profile.bindRead, ...profile.bindWrite];
  if (trees.some((tree) => within(file.path, tree))) return;
  refuse(ask, write ? 'bindWrite' : 'bindRead', [asked, trees.length > 0 ? `beneath ${trees.join(' ')}` : 'none']);
}

/** Whether the file lies in the tree, or is a directory that holds it. */
function touches(file: SeenFile, tree: string): boolean {
  return within(file.path, tree) || (file.isDirectory && within(tree.replace(/\*$/, ''), file.path));
}
