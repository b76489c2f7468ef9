// What is mounted in the container. Sources are descriptors that the asker opened, or file systems made here; each becomes a detached mount first and
// is attached by descriptor to a target found with RESOLVE_IN_ROOT. Sources are cloned by the first process while it is in the mount namespace they
// came from; the container's own file systems are made, and everything is attached, by the second, which has no rights outside the container.
import { EEXIST } from '../../proto/abi/errno.ts';
import { AT_FDCWD, O_PATH } from '../../proto/abi/fcntl.ts';
import * as mnt from '../../proto/abi/mount.ts';
import { CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID } from '../../proto/abi/sched.ts';
import { S_IFREG } from '../../proto/abi/stat.ts';
import { SYS_mkdirat, SYS_mknodat, SYS_symlinkat } from '../../proto/abi/unistd.ts';
import {
  type BindMount,
  GeneratedName,
  KernelFilesystem,
  Propagation,
  type TmpfsMount,
} from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedMount } from '../decode/checked.ts';
import {
  attach,
  cloneMount,
  close,
  directoryFlags,
  newFilesystem,
  openInRoot,
  openWithin,
  type Setting,
  setAttributes,
} from './calls.ts';
import { type Context, isHosts } from './context.ts';
import { bindNodes, type Dev, lowerDev } from './dev.ts';
import { newLabel, Refused, type Result } from './program.ts';

/** Detached mounts the first process has made, by the plan's mount. */
export type Prepared = {
  readonly mounts: Map<CheckedMount, Result>;
  /** Clones of the container's own cgroup directories, by name. */
  readonly cgroups: Map<string, Result>;
  dev: Dev | undefined;
};
/** Our own file systems, which masks and the terminal are resolved in. */
export type Own = { proc: Result | undefined; sysfs: Result | undefined; devpts: Result | undefined };

const FILE_NAME: Readonly<Record<number, string>> = {
  [GeneratedName.GENERATED_NAME_HOSTNAME]: 'hostname',
  [GeneratedName.GENERATED_NAME_HOSTS]: 'hosts',
  [GeneratedName.GENERATED_NAME_RESOLV_CONF]: 'resolv.conf',
};
type KernelType = {
  readonly type: string;
  readonly settings: readonly Setting[] /** Whose it is; undefined: always the container's. */;
  readonly namespace: number | undefined /** Where the seed has the host's. */;
  readonly seed?: string;
};
const DEVPTS: readonly Setting[] = [
  ['ptmxmode', '0666'],
  ['mode', '0620'],
];
const KERNEL: Readonly<Record<number, KernelType>> = {
  [KernelFilesystem.KERNEL_FILESYSTEM_PROC]: { type: 'proc', settings: [], namespace: CLONE_NEWPID, seed: '/proc' },
  [KernelFilesystem.KERNEL_FILESYSTEM_SYSFS]: { type: 'sysfs', settings: [], namespace: CLONE_NEWNET, seed: '/sys' },
  [KernelFilesystem.KERNEL_FILESYSTEM_MQUEUE]: { type: 'mqueue', settings: [], namespace: CLONE_NEWIPC },
  [KernelFilesystem.KERNEL_FILESYSTEM_CGROUP]: { type: 'cgroup2', settings: [], namespace: CLONE_NEWCGROUP },
  [KernelFilesystem.KERNEL_FILESYSTEM_DEVPTS]: { type: 'devpts', settings: DEVPTS, namespace: undefined },
};
/** The group tty, by convention of every distribution; not mapped where there is one id only. */
const TTY_GROUP: Setting = ['gid', '5'];

function ofHost(context: Context, kernel: KernelType): boolean {
  return kernel.namespace !== undefined && isHosts(context, kernel.namespace);
}

function attributesOf(mount: CheckedMount): number {
  return (
    (mount.readOnly ? mnt.MOUNT_ATTR_RDONLY : 0) |
    (mount.noSuid ? mnt.MOUNT_ATTR_NOSUID : 0) |
    (mount.noDev ? mnt.MOUNT_ATTR_NODEV : 0) |
    (mount.noExec ? mnt.MOUNT_ATTR_NOEXEC : 0)
  );
}

/** First process, host's mount namespace: clones sources, and makes what belongs to namespaces of the host. */
export function prepareMounts(context: Context): Prepared {
  const prepared: Prepared = { mounts: new Map(), cgroups: new Map(), dev: undefined };
  for (const mount of context.plan.mounts) {
    const { source } = mount;
    if (source.$case === 'bind') prepared.mounts.set(mount, cloneBind(context, mount, source.value));
    else if (source.$case === 'file') prepared.mounts.set(mount, cloneFile(context, mount, source.value.name));
    else if (source.$case === 'kernel')
      prepareKernel(context, { mount, filesystem: source.value.filesystem }, prepared);
  }
  return prepared;
}

function cloneBind({ program, host }: Context, mount: CheckedMount, bind: BindMount): Result {
  const step = `bind ${mount.target}`;
  const source = host.binds.get(bind.descriptor);
  if (source === undefined) throw new Refused(mount.target, `no descriptor ${bind.descriptor} came with the request`);
  const { recursive } = bind;
  const tree = cloneMount(program, { at: program.use(source.descriptor), recursive, step });
  const propagation = PROPAGATION[bind.propagation] ?? mnt.MS_PRIVATE;
  const attributes = { set: attributesOf(mount), propagation, recursive, step };
  if (source.idmap === undefined) setAttributes(program, tree, attributes);
  else
    setAttributes(program, tree, {
      ...attributes,
      set: attributes.set | mnt.MOUNT_ATTR_IDMAP,
      userNamespace: program.use(source.idmap),
      step: `${step}: map the owners`,
    });
  return tree;
}

const PROPAGATION: Readonly<Record<number, number>> = {
  [Propagation.PROPAGATION_SLAVE]: mnt.MS_SLAVE,
  [Propagation.PROPAGATION_SHARED]: mnt.MS_SHARED,
};

function cloneFile({ program, host }: Context, mount: CheckedMount, name: GeneratedName): Result {
  const step = `bind ${mount.target}`;
  const file = openWithin(program, { at: program.use(host.home), path: `files/${FILE_NAME[name]}`, step });
  const tree = cloneMount(program, { at: file, step });
  setAttributes(program, tree, { set: attributesOf(mount), propagation: mnt.MS_PRIVATE, step });
  close(program, file);
  return tree;
}

type Kernel = { readonly mount: CheckedMount; readonly filesystem: KernelFilesystem };

function prepareKernel(context: Context, { mount, filesystem }: Kernel, prepared: Prepared): void {
  const { program, host } = context;
  if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_DEV) {
    prepared.dev = lowerDev(context, attributesOf(mount));
    prepared.mounts.set(mount, prepared.dev.mount);
  } else if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_CGROUP && host.cgroups.kind === 'v1') {
    for (const { name, directory } of host.cgroups.groups)
      prepared.cgroups.set(name, cloneMount(program, { at: program.use(directory), step: `bind cgroup ${name}` }));
  } else {
    const kernel = KERNEL[filesystem];
    if (kernel === undefined || !ofHost(context, kernel)) return;
    // Only who has rights over a namespace may mount its file system.
    const step = `mount ${mount.target} of the host`;
    if (!host.machine.rootless)
      prepared.mounts.set(mount, newFilesystem(program, { ...kernel, attributes: attributesOf(mount), step }));
  }
}

/** Second process: makes what is the container's own and attaches everything, in the plan's order. */
export function attachMounts(context: Context, root: Result, prepared: Prepared): Own {
  const { program } = context;
  const own: Own = { proc: undefined, sysfs: undefined, devpts: undefined };
  for (const mount of context.plan.mounts) {
    const { source, target } = mount;
    const step = `mount ${target}`;
    const file = source.$case === 'file' || (source.$case === 'bind' && source.value.file);
    const place = makeTarget(context, root, { path: target, file, step: `${step}: make the mount point` });
    const made = prepared.mounts.get(mount) ?? makeOwn(context, mount);
    attach(program, made, { target: place, step });
    if (source.$case !== 'kernel') continue;
    const { filesystem } = source.value;
    if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_PROC) own.proc = made;
    if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_SYSFS) own.sysfs = made;
    if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_DEVPTS) own.devpts = made;
    if (made === prepared.dev?.mount) bindNodes(context, prepared.dev);
    if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_CGROUP) attachCgroups(context, { mount, made }, prepared);
  }
  return own;
}

function makeOwn(context: Context, mount: CheckedMount): Result {
  const { program, host } = context;
  const { source } = mount;
  const step = `mount ${mount.target}`;
  const attributes = attributesOf(mount);
  if (source.$case === 'tmpfs') {
    const settings = tmpfsSettings(source.value);
    return newFilesystem(program, { type: 'tmpfs', settings, attributes, step });
  }
  const filesystem =
    source.$case === 'kernel' ? source.value.filesystem : KernelFilesystem.KERNEL_FILESYSTEM_UNSPECIFIED;
  if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_CGROUP && host.cgroups.kind === 'v1') {
    const settings = [
      ['mode', '755'],
      ['size', '64k'],
    ] as const;
    return newFilesystem(program, { type: 'tmpfs', settings, attributes: attributes & ~mnt.MOUNT_ATTR_RDONLY, step });
  }
  const kernel = KERNEL[filesystem];
  if (kernel === undefined) throw new Refused(mount.target, 'cannot be mounted here');
  if (ofHost(context, kernel)) {
    // Rootless: in a user namespace the host's can only be shown as it is.
    if (kernel.seed === undefined) throw new Refused(mount.target, 'without root it needs a namespace of its own');
    const tree = cloneMount(program, { at: AT_FDCWD, path: kernel.seed, recursive: true, step });
    setAttributes(program, tree, { set: attributes, recursive: true, step });
    return tree;
  }
  const settings = kernel.settings === DEVPTS && !host.machine.rootless ? [...DEVPTS, TTY_GROUP] : kernel.settings;
  return newFilesystem(program, { ...kernel, settings, attributes, step });
}

function tmpfsSettings({ mode, sizeBytes, uid, gid }: TmpfsMount): Setting[] {
  const settings: Setting[] = [
    ['mode', mode.toString(8)],
    ['uid', String(uid)],
    ['gid', String(gid)],
  ];
  if (sizeBytes > 0n) settings.push(['size', String(sizeBytes)]);
  return settings;
}

/** v1: each hierarchy's own group, read-only, under its name; co-mounted controllers have links. */
function attachCgroups(
  { program }: Context,
  { mount, made }: { mount: CheckedMount; made: Result },
  prepared: Prepared,
): void {
  const attributes = mnt.MOUNT_ATTR_RDONLY | attributesOf(mount);
  for (const [name, tree] of prepared.cgroups) {
    const step = `mount ${mount.target}/${name}`;
    program.call(SYS_mkdirat, [made, name, 0o755], { step });
    setAttributes(program, tree, { set: attributes, propagation: mnt.MS_PRIVATE, step });
    const target = openWithin(program, { at: made, path: name, step });
    attach(program, tree, { target, step });
    if (name.includes(',')) for (const one of name.split(',')) program.call(SYS_symlinkat, [name, made, one], { step });
  }
  if (mount.readOnly && prepared.cgroups.size > 0)
    setAttributes(program, made, { set: attributes, step: `mount ${mount.target}` });
}

type Target = { readonly path: string; readonly file: boolean; readonly step: string };

/** Opens the target in the root; what is missing of it is made, one component at a time, each in a directory found with RESOLVE_IN_ROOT. */
export function makeTarget({ program, host }: Context, root: Result, { path, file, step }: Target): Result {
  const names = path.split('/').filter((name) => name !== '');
  let parent = root;
  for (const [i, name] of names.entries()) {
    const exists = newLabel();
    const last = i === names.length - 1;
    if (file && last) program.call(SYS_mknodat, [parent, name, S_IFREG | 0o644, 0], { step, on: [-EEXIST, exists] });
    else program.call(SYS_mkdirat, [parent, name, 0o755], { step, on: [-EEXIST, exists] });
    program.here(exists);
    const flags = file && last ? O_PATH : directoryFlags(host.machine.arch);
    const next = openInRoot(program, { at: root, path: names.slice(0, i + 1).join('/'), flags, step });
    if (parent !== root) close(program, parent);
    parent = next;
  }
  return parent;
}
