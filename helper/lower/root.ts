// The root file system, made by the first process with the host's rights and before anything of the container runs. It is attached in a copy of the seed
// that is still the host's, to be locked as mounts are (mounts.ts). Layers and the writable layer are found by descriptor or by our own names beneath it,
// never by a path of the request; layers are shown with the container's owners through an idmap, the writable layer belongs to them and is not idmapped
// (overlayfs would silently become read-only).
import * as mnt from '../../proto/abi/mount.gen.ts';
import { CLONE_NEWNS } from '../../proto/abi/sched.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import * as calls from './calls.ts';
import { type Context, type RootSource, step } from './host.ts';
import { makeMountPoint, makeTarget } from './mounts.ts';
import type { Program, Result } from './program.ts';

/** Makes the root at /root of a mount namespace that is a copy of the seed's, and enters that. Must be the last that needs the host's. */
export function lowerRoot(context: Context): void {
  const { program, plan, host } = step(context, 'make the root file system');
  const { root } = host;
  const own = root.kind === 'directory';
  const home = own ? undefined : calls.cloneMount(program, { at: program.use(host.home) });
  if (root.kind === 'image') program.call(nr.SYS_setns, [program.use(host.machine.storeNamespace), CLONE_NEWNS]);
  const set = own ? mnt.MOUNT_ATTR_NODEV | (plan.root.readOnly ? mnt.MOUNT_ATTR_RDONLY : 0) : 0;
  const idmap = own ? root.idmap : host.machine.rootless ? undefined : host.userNamespace;
  const userNamespace = idmap === undefined ? undefined : program.use(idmap);
  const from = root.kind === 'image' ? { path: `/${root.name}` } : { at: program.use(root.directory) };
  const tree = calls.cloneMount(program, from, { set, propagation: mnt.MS_PRIVATE, userNamespace });
  program.call(nr.SYS_setns, [program.use(host.machine.seedNamespace), CLONE_NEWNS], {
    step: "leave the host's mounts",
  });
  program.call(nr.SYS_unshare, [CLONE_NEWNS]);
  calls.attachAt(program, tree, own ? '/root' : '/lower');
  if (home === undefined) return;
  calls.attachAt(program, home, '/home');
  overlay(program, root);
  // The read-only copy is locked as what it is.
  if (plan.root.readOnly)
    calls.attachAt(program, calls.cloneMount(program, { path: '/root' }, { set: mnt.MOUNT_ATTR_RDONLY }), '/lower');
}

/**
 * Overlayfs takes layers that are attached: detached ones only from Linux 6.15 on, and descriptors from 6.13 on. So they are attached in a copy of the
 * seed, by mount(2), which every kernel has; that takes as long (no difference over 200 interleaved launches).
 */
function overlay(program: Program, root: RootSource): void {
  const lowers = root.kind === 'unpacked' ? root.names.map((name) => `/lower/${name}`).join(':') : '/lower';
  const options = `userxattr,lowerdir=${lowers},upperdir=/home/upper,workdir=/home/work`;
  program.call(nr.SYS_mount, ['berth', '/root', 'overlay', mnt.MS_NODEV, options]);
  for (const path of ['/home', '/lower']) program.call(nr.SYS_umount2, [path, mnt.MNT_DETACH]);
}

/**
 * Second process: attaches a copy of the root that can become the root: it is locked as the first is, but for its place. Mount points of a read-only
 * image are made through the writable mount, before; a directory of the user's that is read-only is never written to.
 */
export function openRoot(context: Context): Result {
  const { plan, host, program } = step(context, 'find the root file system');
  const take = (path: string): Result => {
    const tree = calls.cloneMount(program, { path });
    calls.attachAt(program, tree, '/root');
    return tree;
  };
  const root = take('/root');
  if (!plan.root.readOnly || host.root.kind === 'directory') return root;
  const isInner = (path: string) => plan.mounts.some(({ target }) => path.startsWith(`${target}/`));
  for (const mount of plan.mounts.filter(({ target }) => !isInner(target)))
    calls.close(program, makeMountPoint(context, root, mount));
  const { process: user } = plan;
  if (!isInner(user.cwd)) makeDirectory(context, root);
  return take('/lower');
}

/** Makes the working directory where it is missing. */
export function makeDirectory(context: Context, root: Result): void {
  const { process: user } = context.plan;
  const { cwd } = user;
  if (cwd === '/') return;
  const making = step(context, `make the working directory ${cwd}`);
  calls.close(context.program, makeTarget(making, root, { path: cwd, file: false }));
}
