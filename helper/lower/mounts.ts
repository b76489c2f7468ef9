// The container's root and what is mounted in it. All that comes from the host (root, binds, generated files, /dev, cgroups, file systems of the host's namespaces) is made
// by the first process as a detached mount, then attached at a place of its copy of the seed: the kernel locks a mount's flags as a copy of it goes to
// another user namespace, and only so can a container's root that may mount never take `ro` or `nodev` off again. The second process, which has no
// rights outside the container, clones the locked ones, makes what is the container's own, and attaches each by descriptor to a target found with
// RESOLVE_IN_ROOT. What of /proc and /sys is not to be seen or written is covered last, resolved in our own procfs and sysfs descriptors, by the seed's own
// empty node and directory: nothing of the container's root takes part (CVE-2025-31133, CVE-2025-52881). A container's root that may mount can take such
// covers off its own file systems (as in Docker); behind them it is nobody.
import { EEXIST, ENOENT } from '../../proto/abi/errno.gen.ts';
import { O_PATH } from '../../proto/abi/fcntl.gen.ts';
import * as mnt from '../../proto/abi/mount.gen.ts';
import * as sched from '../../proto/abi/sched.gen.ts';
import { S_IFBLK, S_IFCHR, S_IFREG } from '../../proto/abi/stat.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import * as plans from '../../proto/gen/berth/helper/v1/plan.ts';
import { MASKABLE, MOUNTS_MAX } from '../../proto/policy/lists.ts';
import type { CheckedMount } from '../decode/checked.ts';
import * as calls from './calls.ts';
import { type Cgroups, type Context, isHosts, type RootSource, step } from './host.ts';
import { type Argument, newLabel, type Program, Refused, type Result } from './program.ts';

const { KERNEL_FILESYSTEM_CGROUP: CGROUP, KERNEL_FILESYSTEM_DEV: DEV, ...OTHERS } = plans.KernelFilesystem;
const { KERNEL_FILESYSTEM_PROC: PROC, KERNEL_FILESYSTEM_SYSFS: SYSFS } = OTHERS;
/** Names in the container's `files`. */
const PROPAGATION: Readonly<Record<number, number>> = {
  [plans.Propagation.PROPAGATION_SLAVE]: mnt.MS_SLAVE,
  [plans.Propagation.PROPAGATION_SHARED]: mnt.MS_SHARED,
};

/** A file system of the kernel's: whose it is, and where a helper without root has the host's. Whoever has rights over a namespace may mount it. */
type KernelType = { readonly type: string; readonly namespace: number; readonly hosts?: string };
const KERNEL: Readonly<Record<number, KernelType>> = {
  [PROC]: { type: 'proc', namespace: sched.CLONE_NEWPID, hosts: '/proc' },
  [SYSFS]: { type: 'sysfs', namespace: sched.CLONE_NEWNET, hosts: '/sys' },
  [OTHERS.KERNEL_FILESYSTEM_MQUEUE]: { type: 'mqueue', namespace: sched.CLONE_NEWIPC },
  [OTHERS.KERNEL_FILESYSTEM_DEVPTS]: { type: 'devpts', namespace: sched.CLONE_NEWNS },
  [CGROUP]: { type: 'cgroup2', namespace: sched.CLONE_NEWCGROUP },
};

const numbered = (letter: string) => Array.from({ length: MOUNTS_MAX }, (_, i) => `${letter}${i}`);
/** Names in the seed's root, one for each mount that a plan may have: its directories are attached at the first, its files at the second. */
export const PLACES = { directories: numbered('d'), files: numbered('f') };

type OwnCgroups = Exclude<Cgroups, { kind: 'none' }>;
/** A mount made with the host's rights; `inner` are attached in it, by name, once it is attached itself. */
export type Prepared = { readonly tree: Result; readonly inner?: readonly (readonly [name: string, tree: Result])[] };
/** Where the second process finds what the first has made: a path of the seed. In the host's user namespace, where nothing is locked, perhaps the mount itself. */
export type Placed = string | Result | undefined;
/** The container's file systems of the kernel, which masks and the terminal are resolved in. */
export type Own = ReadonlyMap<plans.KernelFilesystem, Result>;

function attributesOf({ readOnly, noSuid, noDev, noExec }: CheckedMount): number {
  const { MOUNT_ATTR_RDONLY: RO, MOUNT_ATTR_NOSUID: NOSUID, MOUNT_ATTR_NODEV: NODEV, MOUNT_ATTR_NOEXEC: NOEXEC } = mnt;
  return (readOnly ? RO : 0) | (noSuid ? NOSUID : 0) | (noDev ? NODEV : 0) | (noExec ? NOEXEC : 0);
}

function propagationOf({ source }: CheckedMount): number {
  return (source.$case === 'bind' ? PROPAGATION[source.value.propagation] : undefined) ?? mnt.MS_PRIVATE;
}

function isFile({ source }: CheckedMount): boolean {
  return source.$case === 'file' || (source.$case === 'bind' && source.value.file);
}

/** First process, in the mount namespace that binds come from: makes what takes the host's rights. By the plan's mounts. */
export function prepareMounts(context: Context): (Prepared | undefined)[] {
  return context.plan.mounts.map((mount) => {
    const during = step(context, `mount ${mount.target}`);
    if (mount.source.$case === 'bind') return prepareBind(during, mount, mount.source.value);
    if (mount.source.$case === 'file') return prepareFile(during, mount);
    return mount.source.$case === 'kernel' ? prepareKernel(during, mount, mount.source.value.filesystem) : undefined;
  });
}

function prepareBind({ program, host }: Context, mount: CheckedMount, bind: plans.BindMount): Prepared {
  const source = host.binds.get(bind.descriptor);
  if (source === undefined) throw new Refused(mount.target, `no descriptor ${bind.descriptor} came with the request`);
  const from = { at: program.use(source.descriptor), recursive: bind.recursive };
  const userNamespace = source.idmap === undefined ? undefined : program.use(source.idmap);
  const attributes = { set: attributesOf(mount), propagation: propagationOf(mount), userNamespace };
  return { tree: calls.cloneMount(program, from, attributes) };
}

/** Where the helper keeps a generated file, beneath the container's directory: by the name of its target, which is one of three. */
export function generatedPath({ target }: { readonly target: string }): string {
  return `files/${target.split('/').at(-1)}`;
}

function prepareFile({ program, host }: Context, mount: CheckedMount): Prepared {
  const at = calls.openWithin(program, { at: program.use(host.home), path: generatedPath(mount) });
  const tree = calls.cloneMount(program, { at }, { set: attributesOf(mount), propagation: mnt.MS_PRIVATE });
  calls.close(program, at);
  return { tree };
}

/** /dev, the container's own cgroups, and what belongs to a namespace of the host; without root that is shown as the host has it. */
function prepareKernel(context: Context, mount: CheckedMount, which: plans.KernelFilesystem): Prepared | undefined {
  const { program, host } = context;
  const attributes = attributesOf(mount);
  if (which === DEV) return makeDev(context, attributes);
  const kernel = KERNEL[which];
  const hosts = kernel !== undefined && isHosts(context, kernel.namespace);
  if (which === CGROUP && host.cgroups.kind !== 'none' && !(host.cgroups.kind === 'v2' && hosts))
    return prepareCgroups(context, host.cgroups, attributes);
  if (!hosts) return undefined;
  if (!host.machine.rootless) return { tree: calls.newFilesystem(program, { ...kernel, settings: [], attributes }) };
  if (kernel.hosts === undefined) throw new Refused(mount.target, 'without root it needs a namespace of its own');
  return { tree: calls.cloneMount(program, { path: kernel.hosts, recursive: true }, { set: attributes }) };
}

/** v1: each hierarchy's own group, read-only, under its name; co-mounted controllers have links. v2: the group. */
function prepareCgroups({ program, host }: Context, cgroups: OwnCgroups, attributes: number): Prepared {
  const clone = (at: Argument, set: number) => calls.cloneMount(program, { at }, { set, propagation: mnt.MS_PRIVATE });
  if (cgroups.kind === 'v2') return { tree: clone(program.use(cgroups.directory), attributes) };
  const writable = attributes & ~mnt.MOUNT_ATTR_RDONLY; // until the groups have their places
  const tree = calls.newFilesystem(program, { type: 'tmpfs', settings: tmpfs(host, '64k'), attributes: writable });
  const inner = cgroups.groups.map(({ name, parent, path }) => {
    program.call(nr.SYS_mkdirat, [tree, name, 0o755]);
    for (const one of name.split(',')) if (one !== name) program.call(nr.SYS_symlinkat, [name, tree, one]);
    const group = calls.openWithin(program, { at: program.use(parent), path });
    const mount = clone(group, attributes | mnt.MOUNT_ATTR_RDONLY);
    calls.close(program, group);
    return [name, mount] as const;
  });
  calls.setAttributes(program, tree, { set: attributes });
  return { tree, inner };
}

/** Settings of a tmpfs that the container's root owns. */
function tmpfs({ firstId }: Context['host'], size: string): calls.Setting[] {
  return Object.entries({ mode: '755', size, uid: String(firstId), gid: String(firstId) });
}

/** Symbolic links of /dev. */
const LINKS =
  'fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2 core:/proc/kcore ptmx:pts/ptmx';

/**
 * The container's /dev: a tmpfs of the host's, filled with real nodes while nobody else can see it (a node made inside a user namespace is EPERM, and
 * one in the container's root would not open: that is mounted without devices). Which nodes: the plan's, by numbers that policy has allowed. Without
 * root none can be made, so the host's own are bound over empty files.
 */
function makeDev({ program, plan, host }: Context, attributes: number): Prepared {
  const making = (name: string) => program.during(`make /dev/${name}`);
  const settings = tmpfs(host, '65536k');
  const tree = calls.newFilesystem(program, { type: 'tmpfs', settings, attributes });
  const own = (name: string, { uid, gid }: { uid: number; gid: number } = { uid: 0, gid: 0 }) =>
    making(name).call(nr.SYS_fchownat, [tree, name, host.firstId + uid, host.firstId + gid, 0]);
  const parents = plan.devices.flatMap(({ path }) =>
    [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index)),
  );
  for (const directory of new Set(parents)) {
    making(directory).call(nr.SYS_mkdirat, [tree, directory, 0o755]);
    own(directory);
  }
  const files = host.machine.rootless ? plan.devices.map(({ path }) => path) : [];
  const inner = files.map((path) => [path, calls.cloneMount(making(path), { path: `/dev/${path}` })] as const);
  for (const name of [...files, ...(plan.stdio.tty ? ['console'] : [])]) {
    making(name).call(nr.SYS_mknodat, [tree, name, S_IFREG | 0o600, 0]);
    own(name);
  }
  for (const node of host.machine.rootless ? [] : plan.devices) {
    const mode = (node.block ? S_IFBLK : S_IFCHR) | node.mode;
    making(node.path).call(nr.SYS_mknodat, [tree, node.path, mode, deviceNumber(node)]);
    own(node.path, node);
  }
  for (const [name = '', to = ''] of LINKS.split(' ').map((link) => link.split(':')))
    making(name).call(nr.SYS_symlinkat, [to, tree, name]);
  return { tree, inner };
}

/** The kernel's 32-bit form that mknod(2) takes. Source: include/linux/kdev_t.h, new_encode_dev. */
function deviceNumber({ major, minor }: plans.DeviceNode): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/**
 * First process: enters a mount namespace that is a copy of the seed's, and has the root there at /root. Must be the last that needs the host's. Layers and
 * the writable layer are found by descriptor or by our own names beneath it, never by a path of the request; layers are shown with the container's owners
 * through an idmap, the writable layer belongs to them and is not idmapped (overlayfs would silently become read-only).
 */
export function lowerRoot(context: Context): void {
  const { program, plan, host } = step(context, 'make the root file system');
  const { root } = host;
  const own = root.kind === 'directory';
  const home = own ? undefined : calls.cloneMount(program, { at: program.use(host.home) });
  if (root.kind === 'image') program.call(nr.SYS_setns, [program.use(host.machine.storeNamespace), sched.CLONE_NEWNS]);
  const set = own ? mnt.MOUNT_ATTR_NODEV | (plan.root.readOnly ? mnt.MOUNT_ATTR_RDONLY : 0) : 0;
  const idmap = own ? root.idmap : host.machine.rootless ? undefined : host.userNamespace;
  const userNamespace = idmap === undefined ? undefined : program.use(idmap);
  const from = root.kind === 'image' ? { path: `/${root.name}` } : { at: program.use(root.directory) };
  const tree = calls.cloneMount(program, from, { set, propagation: mnt.MS_PRIVATE, userNamespace });
  program.call(nr.SYS_setns, [program.use(host.machine.seedNamespace), sched.CLONE_NEWNS], {
    step: "leave the host's mounts",
  });
  program.call(nr.SYS_unshare, [sched.CLONE_NEWNS]);
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
 * First process, in its copy of the seed: attaches what is prepared, to be locked. But a shared bind of a container in the host's user namespace is
 * not: detaching the seed would take what is mounted beneath it from the host too.
 */
export function placeMounts(context: Context, prepared: readonly (Prepared | undefined)[]): Placed[] {
  return context.plan.mounts.map((mount, i) => {
    const { tree, inner = [] } = prepared[i] ?? {};
    if (tree === undefined) return undefined;
    if (context.host.userNamespace === undefined && propagationOf(mount) === mnt.MS_SHARED) return tree;
    const { program } = step(context, `mount ${mount.target}`);
    const path = `/${(isFile(mount) ? PLACES.files : PLACES.directories)[i]}`;
    calls.attachAt(program, tree, path);
    for (const [name, one] of inner) calls.attach(program, one, calls.openWithin(program, { at: tree, path: name }));
    return path;
  });
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
  const { cwd } = plan.process;
  if (!isInner(cwd)) makeDirectory(context, root);
  return take('/lower');
}

/** Makes the working directory where it is missing. */
export function makeDirectory(context: Context, root: Result): void {
  const { cwd } = context.plan.process;
  if (cwd === '/') return;
  const making = step(context, `make the working directory ${cwd}`);
  calls.close(context.program, makeTarget(making, root, { path: cwd, file: false }));
}

/** Second process: clones what is prepared, makes what is the container's own, and attaches all in the plan's order. */
export function attachMounts(context: Context, root: Result, placed: readonly Placed[]): Own {
  const own = new Map<plans.KernelFilesystem, Result>();
  for (const [i, mount] of context.plan.mounts.entries()) {
    const during = step(context, `mount ${mount.target}`);
    const target = makeMountPoint(context, root, mount);
    const made = openMount(during, mount, placed[i]);
    calls.attach(during.program, made, target);
    if (mount.source.$case === 'kernel') own.set(mount.source.value.filesystem, made);
  }
  return own;
}

/** The kernel makes a shared mount a slave as it goes to another user namespace; beyond that it is shared again, within the container. */
function openMount(context: Context, mount: CheckedMount, placed: Placed): Result {
  const { program } = context;
  if (placed === undefined) return makeOwn(context, mount);
  if (typeof placed !== 'string') return placed;
  const tree = calls.cloneMount(program, { path: placed, recursive: true });
  const propagation = propagationOf(mount);
  if (propagation === mnt.MS_SHARED) calls.setAttributes(program, tree, { propagation, recursive: true });
  return tree;
}

function makeOwn({ program, host }: Context, mount: CheckedMount): Result {
  const { source } = mount;
  const attributes = attributesOf(mount);
  if (source.$case === 'tmpfs') {
    const { mode, uid, gid, sizeBytes } = source.value;
    const size = sizeBytes > 0n ? { size: String(sizeBytes) } : {};
    const settings = Object.entries({ mode: mode.toString(8), uid: String(uid), gid: String(gid), ...size });
    return calls.newFilesystem(program, { type: 'tmpfs', settings, attributes });
  }
  const kernel = source.$case === 'kernel' ? KERNEL[source.value.filesystem] : undefined;
  if (kernel === undefined) throw new Refused(mount.target, 'cannot be mounted here');
  // The group tty, by convention of every distribution; not mapped where there is one id only.
  const group = host.machine.rootless ? {} : { gid: '5' };
  const settings = kernel.type === 'devpts' ? Object.entries({ ptmxmode: '0666', mode: '0620', ...group }) : [];
  return calls.newFilesystem(program, { ...kernel, settings, attributes });
}

/** Opens the mount's target. */
export function makeMountPoint(context: Context, root: Result, mount: CheckedMount): Result {
  const making = step(context, `mount ${mount.target}: make the mount point`);
  return makeTarget(making, root, { path: mount.target, file: isFile(mount) });
}

type Target = { readonly path: string; readonly file: boolean };

/** Opens the target in the root; what is missing of it is made, one component at a time, each in a directory found with RESOLVE_IN_ROOT. */
export function makeTarget({ program, host }: Context, root: Result, { path, file }: Target): Result {
  const names = path.split('/').filter((name) => name !== '');
  let parent = root;
  for (const [i, name] of names.entries()) {
    const exists = newLabel();
    const last = i === names.length - 1;
    if (file && last) program.call(nr.SYS_mknodat, [parent, name, S_IFREG | 0o644, 0], { on: [-EEXIST, exists] });
    else program.call(nr.SYS_mkdirat, [parent, name, 0o755], { on: [-EEXIST, exists] });
    program.here(exists);
    const flags = file && last ? O_PATH : calls.directoryFlags(host.machine.arch);
    const next = calls.openInRoot(program, { at: root, path: names.slice(0, i + 1).join('/'), flags });
    if (parent !== root) calls.close(program, parent);
    parent = next;
  }
  return parent;
}

/** Where the seed keeps what covers masked files and directories. */
const MASK = { file: '/null', directory: '/empty' };
const COVER = mnt.MOUNT_ATTR_RDONLY | mnt.MOUNT_ATTR_NOSUID | mnt.MOUNT_ATTR_NOEXEC;

/**
 * Covers masked paths and makes read-only ones read-only. Passed over: paths whose file system the container does not have, or that this kernel does not
 * have; any other failure stops the launch.
 */
export function lowerMasks({ program, plan }: Context, own: Own): void {
  const cover = (step: string, path: string, make: (during: Program, at: Result) => Result): void => {
    const during = program.during(step);
    const filesystem = own.get(path.startsWith('/proc/') ? PROC : SYSFS);
    if (filesystem === undefined) return;
    const missing = newLabel();
    const name = path.split('/').slice(2).join('/');
    const entry = calls.openWithin(during, { at: filesystem, path: name, on: [-ENOENT, missing] });
    const made = make(during, entry);
    calls.attach(during, made, entry);
    calls.close(program, made, entry);
    program.here(missing);
  };
  for (const path of plan.hardening.maskedPaths) {
    const mask = { path: MASK[MASKABLE.get(path) ?? 'file'] };
    cover(`mask ${path}`, path, (during) => calls.cloneMount(during, mask, { set: COVER }));
  }
  const readOnly = { set: mnt.MOUNT_ATTR_RDONLY };
  for (const path of plan.hardening.readOnlyPaths)
    cover(`make ${path} read-only`, path, (during, at) => calls.cloneMount(during, { at, recursive: true }, readOnly));
}
