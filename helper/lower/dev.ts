// The container's /dev: a tmpfs of the host's, filled with real nodes while nobody else can see it (a node made inside a user namespace is EPERM, and
// one in the container's root would not open: that is mounted without devices). Which nodes: the plan's, by numbers that policy has allowed.
import { S_IFBLK, S_IFCHR, S_IFREG } from '../../proto/abi/stat.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import type { DeviceNode } from '../../proto/gen/berth/helper/v1/plan.ts';
import { cloneMount, newFilesystem } from './calls.ts';
import type { Context } from './host.ts';
import type { Prepared } from './mounts.ts';
import type { Result } from './program.ts';

const LINKS = {
  fd: '/proc/self/fd',
  stdin: '/proc/self/fd/0',
  stdout: '/proc/self/fd/1',
  stderr: '/proc/self/fd/2',
  core: '/proc/kcore',
  ptmx: 'pts/ptmx',
};

/** Makes the file system and its nodes in the first process. Where none can be made the host's own are bound over empty files. */
export function makeDev({ program, plan, host }: Context, attributes: number): Prepared {
  const making = (name: string) => program.during(`make /dev/${name}`);
  const owner = String(host.firstId);
  const settings = Object.entries({ mode: '755', size: '65536k', uid: owner, gid: owner });
  const tree = newFilesystem(program.during('make /dev'), { type: 'tmpfs', settings, attributes });
  const inner: (readonly [name: string, tree: Result])[] = [];
  const make = (name: string, mode: number, { device = 0, uid = 0, gid = 0 }) => {
    making(name).call(nr.SYS_mknodat, [tree, name, mode, device]);
    own(name, uid, gid);
  };
  const own = (name: string, uid: number, gid: number) => {
    const [hostUid, hostGid] = [host.firstId + uid, host.firstId + gid];
    if (hostUid !== 0 || hostGid !== 0) making(name).call(nr.SYS_fchownat, [tree, name, hostUid, hostGid, 0]);
  };
  for (const directory of directoriesOf(plan.devices)) {
    making(directory).call(nr.SYS_mkdirat, [tree, directory, 0o755]);
    own(directory, 0, 0);
  }
  for (const node of plan.devices) {
    const { path, uid, gid } = node;
    if (!host.machine.rootless)
      make(path, (node.block ? S_IFBLK : S_IFCHR) | node.mode, { device: numberOf(node), uid, gid });
    else {
      make(path, S_IFREG | 0o600, {});
      inner.push([path, cloneMount(making(path), { path: `/dev/${path}` })]);
    }
  }
  for (const [name, to] of Object.entries(LINKS)) making(name).call(nr.SYS_symlinkat, [to, tree, name]);
  if (plan.stdio.tty) make('console', S_IFREG | 0o600, {});
  return { tree, inner };
}

function directoriesOf(devices: readonly DeviceNode[]): Set<string> {
  const parents = devices.flatMap(({ path }) => {
    const parts = path.split('/').slice(0, -1);
    return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
  });
  return new Set(parents);
}

/** The kernel's 32-bit form that mknod(2) takes. Source: include/linux/kdev_t.h, new_encode_dev. */
function numberOf({ major, minor }: DeviceNode): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}
