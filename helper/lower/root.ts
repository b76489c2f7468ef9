// The root file system, made by the first process with the host's rights and before anything of the container runs. It is attached in a copy of the seed
// that is still the host's: the kernel locks a mount's flags as a copy of it goes to another user namespace, and only so can the container's root never
// take `nodev` off again. Layers and the writable layer are found by descriptor or by our own names beneath it, never by a path of the request; layers are shown with the container's
// owners through an idmap, the writable layer belongs to them and is not idmapped (overlayfs would silently become read-only).
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import * as mnt from '../../proto/abi/mount.gen.ts';
import { CLONE_NEWNS } from '../../proto/abi/sched.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { attachAt, cloneMount, close, setAttributes } from './calls.ts';
import type { Context } from './context.ts';
import type { RootSource } from './host.ts';
import type { Result } from './program.ts';

const STEP = 'make the root file system';

/** Makes the root at /root of a mount namespace that is a copy of the seed's, and enters that. Must be the last that needs the host's. */
export function lowerRoot(context: Context): void {
  const { program, host } = context;
  const { root } = host;
  if (root.kind === 'directory') {
    const tree = cloneMount(program, { at: program.use(root.directory), step: STEP });
    const idmap = root.idmap === undefined ? {} : { userNamespace: program.use(root.idmap) };
    const set = mnt.MOUNT_ATTR_NODEV | (root.idmap === undefined ? 0 : mnt.MOUNT_ATTR_IDMAP);
    setAttributes(program, tree, { set, propagation: mnt.MS_PRIVATE, ...idmap, step: STEP });
    enterSeed(context);
    attachAt(program, tree, { path: '/root', step: STEP });
    close(program, tree);
    return;
  }
  const home = cloneMount(program, { at: program.use(host.home), step: STEP });
  const layers = root.kind === 'image' ? cloneImage(context, root.name) : cloneUnpacked(context, root.directory);
  if (host.userNamespace !== undefined && !host.machine.rootless) {
    const userNamespace = program.use(host.userNamespace);
    setAttributes(program, layers, { set: mnt.MOUNT_ATTR_IDMAP, userNamespace, step: 'map the owners of the image' });
  }
  enterSeed(context);
  overlay(context, { home, layers, root });
}

function enterSeed({ program, host }: Context): void {
  program.call(nr.SYS_setns, [program.use(host.machine.seedNamespace), CLONE_NEWNS], {
    step: "leave the host's mounts",
  });
  program.call(nr.SYS_unshare, [CLONE_NEWNS], { step: STEP });
}

function cloneImage({ program, host }: Context, name: string): Result {
  const store = program.use(host.machine.storeNamespace);
  program.call(nr.SYS_setns, [store, CLONE_NEWNS], { step: 'enter the store' });
  return cloneMount(program, { at: AT_FDCWD, path: `/${name}`, step: 'find the image' });
}

function cloneUnpacked({ program }: Context, directory: number): Result {
  return cloneMount(program, { at: program.use(directory), step: 'find the layers' });
}

type Parts = {
  readonly home: Result;
  readonly layers: Result;
  readonly root: Exclude<RootSource, { kind: 'directory' }>;
};

/**
 * Overlayfs takes layers that are attached: detached ones only from Linux 6.15 on, and descriptors from 6.13 on. So they are attached in a copy of the
 * seed, by mount(2), which every kernel has; that takes as long (no difference over 200 interleaved launches).
 */
function overlay({ program }: Context, { home, layers, root }: Parts): void {
  attachAt(program, layers, { path: '/lower', step: STEP });
  attachAt(program, home, { path: '/home', step: STEP });
  const lowers = root.kind === 'image' ? '/lower' : root.names.map((name) => `/lower/${name}`).join(':');
  const options = `userxattr,lowerdir=${lowers},upperdir=/home/upper,workdir=/home/work`;
  program.call(nr.SYS_mount, ['berth', '/root', 'overlay', mnt.MS_NODEV, options], { step: STEP });
  for (const path of ['/home', '/lower']) program.call(nr.SYS_umount2, [path, mnt.MNT_DETACH], { step: STEP });
  close(program, layers);
  close(program, home);
}
