// What the kernel says of a descriptor that a user passed. Nothing is looked up by a path of the user's: the facts are the descriptor's own, and
// the mount that is made later is a clone of this very descriptor. A FUSE file system is answered by a program of some user's, who could keep
// the helper waiting: its files are refused before they are asked anything. So is all of another mount namespace, where a user can put FUSE beneath anything.
import { closeSync, fstatSync, readFileSync, readlinkSync, statfsSync } from 'node:fs';
import type { SeenFile } from '../../proto/policy/seen.ts';
import { F_GETFL, O_PATH } from '../../proto/abi/fcntl.gen.ts';
import { fcntl } from '../sys/descriptors.ts';
import { openPath } from '../sys/files.ts';
import { Failed } from './failed.ts';

/** Facts of a passed descriptor. Throws Failed for what lies on FUSE or in another mount namespace (rootless, all does, and all is the user's own). */
export function seeFile(fd: number, rootless: boolean): SeenFile {
  const mountId = mountIdOf(fd);
  if (mountId === undefined) throw new Failed('look at descriptor', 'the kernel names no mount for it');
  const type = mountType(mountId);
  if (type === undefined && !rootless)
    throw new Failed('look at descriptor', "it lies in a mount namespace that is not the host's");
  if (type?.startsWith('fuse'))
    throw new Failed('look at descriptor', `it lies on a ${type} file system, which Berth cannot bind`);
  const stat = fstatSync(fd, { bigint: true });
  return {
    device: stat.dev,
    inode: stat.ino,
    mountId: BigInt(mountId),
    path: readlinkSync(`/proc/self/fd/${fd}`),
    fsType: statfsSync(`/proc/self/fd/${fd}`).type,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mode: Number(stat.mode),
    isDirectory: stat.isDirectory(),
  };
}

/**
 * Whether it can be closed and left to a child without waiting for anybody: a place (O_PATH), a pipe, a file or directory of a mount of ours that is not
 * FUSE's. Asks no other file system. Sockets, devices, what comes from another mount namespace: their sender may be the one who answers.
 */
export function isQuiet(fd: number): boolean {
  if ((fcntl(fd, F_GETFL) & O_PATH) !== 0 || readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:')) return true;
  const type = mountType(mountIdOf(fd) ?? '');
  if (type === undefined || type.startsWith('fuse')) return false;
  const stat = fstatSync(fd);
  return stat.isFile() || stat.isDirectory();
}

function mountIdOf(fd: number): string | undefined {
  return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
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

/** The file system type of a mount of our namespace; undefined for one of another namespace. */
function mountType(id: string): string | undefined {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.startsWith(`${id} `));
  return line?.split(' - ')[1]?.split(' ')[0];
}
