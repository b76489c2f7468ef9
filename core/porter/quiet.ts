// Which descriptors wait for nobody. Only they are passed on to the helper: whatever it does with them, no user's program is asked.
import { readSync } from 'node:fs';
import { S_IFDIR, S_IFIFO, S_IFREG } from '../../proto/abi/stat.gen.ts';
import { isPlace, kindOf } from '../sys/fd.ts';

/** Tells whether a descriptor can be closed, used and left to a child without waiting for anybody. */
export type IsQuiet = (fd: number) => boolean;

/**
 * A place (O_PATH), a pipe, a file or directory of a mount of the host that is not FUSE's. Asks no file system. Sockets, devices, what comes from another
 * mount namespace: their sender may be the one who answers. `mounts` is the host's mountinfo, opened by the helper.
 */
export function quietOn(mounts: number): IsQuiet {
  return (fd) => {
    try {
      if (isPlace(fd)) return true;
      const { type, mount } = kindOf(fd);
      if (type === S_IFIFO) return true;
      return (type === S_IFREG || type === S_IFDIR) && isTrusted(mountType(textOf(mounts), mount));
    } catch {
      return false; // a file system that does not even tell us this
    }
  };
}

function isTrusted(type: string | undefined): boolean {
  return type !== undefined && !type.startsWith('fuse');
}

/** The file system type of a mount of the host's namespace; undefined for one of another namespace. Source: man 5 proc_pid_mountinfo. */
function mountType(mountinfo: string, mount: bigint): string | undefined {
  const line = mountinfo.split('\n').find((one) => one.startsWith(`${mount} `));
  return line?.split(' - ')[1]?.split(' ')[0];
}

function textOf(fd: number): string {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const chunk = Buffer.alloc(65_536);
    const count = readSync(fd, chunk, 0, chunk.length, at);
    if (count === 0) return Buffer.concat(chunks).toString('utf8');
    chunks.push(chunk.subarray(0, count));
    at += count;
  }
}
