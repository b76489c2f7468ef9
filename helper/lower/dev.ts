// The container's /dev: a tmpfs of the host's, filled with real nodes while nobody else can see it (a node made inside a user namespace is EPERM, and
// one in the container's root would not open: that is mounted without devices). Which nodes: the plan's, by numbers that policy has allowed.
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import { S_IFBLK, S_IFCHR, S_IFREG } from '../../proto/abi/stat.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import type { DeviceNode } from '../../proto/gen/berth/helper/v1/plan.ts';
import { attach, cloneMount, newFilesystem, openWithin } from './calls.ts';
import type { Context } from './context.ts';
import type { Result } from './program.ts';

const LINKS = [
  ['/proc/self/fd', 'fd'],
  ['/proc/self/fd/0', 'stdin'],
  ['/proc/self/fd/1', 'stdout'],
  ['/proc/self/fd/2', 'stderr'],
  ['/proc/kcore', 'core'],
  ['pts/ptmx', 'ptmx'],
] as const;

export type Dev = {
  readonly mount: Result;
  /** The host's own nodes, to be bound over empty files where none can be made. */
  readonly binds: readonly { path: string; node: Result }[];
};

/** Makes the file system and its nodes in the first process. */
export function lowerDev({ program, plan, host }: Context, attributes: number): Dev {
  const owner = String(host.firstId);
  const settings = [
    ['mode', '755'],
    ['size', '65536k'],
    ['uid', owner],
    ['gid', owner],
  ] as const;
  const mount = newFilesystem(program, { type: 'tmpfs', settings, attributes, step: 'make /dev' });
  const binds: { path: string; node: Result }[] = [];
  for (const directory of directoriesOf(plan.devices)) {
    program.call(nr.SYS_mkdirat, [mount, directory, 0o755], { step: `make /dev/${directory}` });
    program.call(nr.SYS_fchownat, [mount, directory, host.firstId, host.firstId, 0], {
      step: `make /dev/${directory}`,
    });
  }
  for (const device of plan.devices) {
    const step = `make /dev/${device.path}`;
    if (host.machine.rootless) {
      program.call(nr.SYS_mknodat, [mount, device.path, S_IFREG | 0o600, 0], { step });
      binds.push({ path: device.path, node: cloneMount(program, { at: AT_FDCWD, path: `/dev/${device.path}`, step }) });
      continue;
    }
    const type = device.block ? S_IFBLK : S_IFCHR;
    program.call(nr.SYS_mknodat, [mount, device.path, type | device.mode, deviceNumber(device)], { step });
    const [uid, gid] = [host.firstId + device.uid, host.firstId + device.gid];
    if (uid !== 0 || gid !== 0) program.call(nr.SYS_fchownat, [mount, device.path, uid, gid, 0], { step });
  }
  for (const [to, name] of LINKS) program.call(nr.SYS_symlinkat, [to, mount, name], { step: `make /dev/${name}` });
  if (plan.stdio.tty) {
    program.call(nr.SYS_mknodat, [mount, 'console', S_IFREG | 0o600, 0], { step: 'make /dev/console' });
    program.call(nr.SYS_fchownat, [mount, 'console', host.firstId, host.firstId, 0], { step: 'make /dev/console' });
  }
  return { mount, binds };
}

/** Binds the host's nodes, once the file system is attached. */
export function bindNodes({ program }: Context, { mount, binds }: Dev): void {
  for (const { path, node } of binds) {
    const step = `bind /dev/${path}`;
    attach(program, node, { target: openWithin(program, { at: mount, path, step }), step });
  }
}

function directoriesOf(devices: readonly DeviceNode[]): Set<string> {
  const parents = devices.flatMap(({ path }) => {
    const parts = path.split('/').slice(0, -1);
    return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
  });
  return new Set(parents);
}

/** The kernel's 32-bit form that mknod(2) takes. Source: include/linux/kdev_t.h, new_encode_dev. */
function deviceNumber({ major, minor }: DeviceNode): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}
