// The root file system, made by the first process with the host's rights and before anything of the container runs. It is attached in a copy of the seed
// that is still the host's, to be locked as mounts are (mounts.ts). Layers and the writable layer are found by descriptor or by our own names beneath it,
// never by a path of the request; layers are shown with the container's owners through an idmap, the writable layer belongs to them and is not idmapped
// (overlayfs would silently become read-only).
import * as mnt from '../../proto/abi/mount.gen.ts';
import { CLONE_NEWNS } from '../../proto/abi/sched.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { attachAt, cloneMount, close, setAttributes } from './calls.ts';
import { type Context, type RootSource, step } from './host.ts';
import { makeMountPoint, makeTarget } from './mounts.ts';
import type { Result } from './program.ts';

/** Makes the root at /root of a mount namespace that is a copy of the seed's, and enters that. Must be the last that needs the host's. */
export function lowerRoot(context: Context): void {
  const { program, plan, host } = step(context, 'make the root file system');
  const { root } = host;
  if (root.kind === 'directory') {
    const tree = cloneMount(program, { at: program.use(root.directory) });
    const set = mnt.MOUNT_ATTR_NODEV | (plan.root.readOnly ? mnt.MOUNT_ATTR_RDONLY : 0);
    const userNamespace = root.idmap === undefined ? undefined : program.use(root.idmap);
    setAttributes(program, tree, { set, propagation: mnt.MS_PRIVATE, userNamespace });
    enterSeed(context);
    attachAt(program, tree, '/root');
    close(program, tree);
    return;
  }
  const home = cloneMount(program, { at: program.use(host.home) });
  const layers = cloneLayers(context, root);
  if (host.userNamespace !== undefined && !host.machine.rootless) {
    const userNamespace = program.use(host.userNamespace);
    setAttributes(program.during('map the owners of the image'), layers, { userNamespace });
  }
  enterSeed(context);
  overlay(step(context, program.step), { home, layers, root });
}

function enterSeed({ program, host }: Context): void {
  const leaving = program.during("leave the host's mounts");
  leaving.call(nr.SYS_setns, [program.use(host.machine.seedNamespace), CLONE_NEWNS]);
  leaving.call(nr.SYS_unshare, [CLONE_NEWNS]);
}

type Layered = Exclude<RootSource, { kind: 'directory' }>;

function cloneLayers({ program, host }: Context, root: Layered): Result {
  const finding = program.during('find the image');
  if (root.kind === 'unpacked') return cloneMount(finding, { at: program.use(root.directory) });
  finding.call(nr.SYS_setns, [program.use(host.machine.storeNamespace), CLONE_NEWNS]);
  return cloneMount(finding, { path: `/${root.name}` });
}

/**
 * Overlayfs takes layers that are attached: detached ones only from Linux 6.15 on, and descriptors from 6.13 on. So they are attached in a copy of the
 * seed, by mount(2), which every kernel has; that takes as long (no difference over 200 interleaved launches).
 */
function overlay(
  context: Context,
  parts: { readonly home: Result; readonly layers: Result; readonly root: Layered },
): void {
  const { program, plan } = context;
  const { home, layers, root } = parts;
  attachAt(program, layers, '/lower');
  attachAt(program, home, '/home');
  const lowers = root.kind === 'image' ? '/lower' : root.names.map((name) => `/lower/${name}`).join(':');
  const options = `userxattr,lowerdir=${lowers},upperdir=/home/upper,workdir=/home/work`;
  program.call(nr.SYS_mount, ['berth', '/root', 'overlay', mnt.MS_NODEV, options]);
  for (const path of ['/home', '/lower']) program.call(nr.SYS_umount2, [path, mnt.MNT_DETACH]);
  close(program, layers, home);
  if (!plan.root.readOnly) return;
  const readOnly = cloneMount(program, { path: '/root' });
  setAttributes(program, readOnly, { set: mnt.MOUNT_ATTR_RDONLY });
  attachAt(program, readOnly, '/lower');
}

/**
 * Second process: attaches a copy of the root that can become the root: it is locked as the first is, but for its place. Mount points of a read-only
 * image are made through the writable mount, before; a directory of the user's that is read-only is never written to.
 */
export function openRoot(context: Context): Result {
  const { plan, host, program } = step(context, 'find the root file system');
  const take = (path: string): Result => {
    const tree = cloneMount(program, { path });
    attachAt(program, tree, '/root');
    return tree;
  };
  const root = take('/root');
  if (!plan.root.readOnly || host.root.kind === 'directory') return root;
  const isInner = (path: string) => plan.mounts.some(({ target }) => path.startsWith(`${target}/`));
  for (const mount of plan.mounts.filter(({ target }) => !isInner(target)))
    close(program, makeMountPoint(context, root, mount));
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
  close(context.program, makeTarget(making, root, { path: cwd, file: false }));
}
