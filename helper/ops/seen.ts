// What the kernel says of a descriptor that a user passed. Nothing is looked up by a path of the user's: the facts are the descriptor's own, and
// the mount that is made later is a clone of this very descriptor. A FUSE file system is answered by a program of some user's, who could keep
// the helper waiting: its files are refused before they are asked anything. So is all of another mount namespace, where a user can put FUSE beneath anything.
import { closeSync, fstatSync, readFileSync, readlinkSync, statfsSync } from 'node:fs';
import type { SeenFile } from '../../proto/policy/seen.ts';
import { O_PATH } from '../../proto/abi/fcntl.gen.ts';
import { openPath } from '../sys/files.ts';
import { Failed } from './failed.ts';

/** Facts of a passed descriptor. Throws Failed for what lies on FUSE or in another mount namespace (rootless, all does, and all is the user's own). */
export function seeFile(fd: number, rootless: boolean): SeenFile {
  const { id, type } = mountOf(fd);
  if (id === undefined) throw new Failed('look at descriptor', 'the kernel names no mount for it');
  if (type === undefined && !rootless)
    throw new Failed('look at descriptor', "it lies in a mount namespace that is not the host's");
  if (type?.startsWith('fuse'))
    throw new Failed('look at descriptor', `it lies on a ${type} file system, which Berth cannot bind`);
  const stat = fstatSync(fd, { bigint: true });
  return {
    device: stat.dev,
    inode: stat.ino,
    mountId: BigInt(id),
    path: readlinkSync(`/proc/self/fd/${fd}`),
    fsType: statfsSync(`/proc/self/fd/${fd}`).type,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mode: Number(stat.mode),
    isDirectory: stat.isDirectory(),
  };
}

/** The mount that a descriptor is of, and the type of its file system: undefined for a mount of another namespace. */
function mountOf(fd: number): { readonly id: string | undefined; readonly type: string | undefined } {
  const id = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const line = mounts.find((one) => one.startsWith(`${id} `));
  return { id, type: line?.split(' - ')[1]?.split(' ')[0] };
}

/** The same file in our own mount namespace, which in a user namespace is a copy of the one it was opened in. Rootless: it is the user's own path. */
export function openHere(fd: number): number {
  const path = readlinkSync(`/proc/self/fd/${fd}`);
  const here = openPath(path, O_PATH);
  const [there, own] = [fstatSync(fd, { bigint: true }), fstatSync(here, { bigint: true })];
  if (there.dev === own.dev && there.ino === own.ino) return here;
  closeSync(here);
  throw new Failed('open a bind source', `${path} is another file by now`);
}
