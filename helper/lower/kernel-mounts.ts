// The kernel's own file systems in a container: procfs, sysfs, mqueue, devpts, cgroups. Whoever has rights over a namespace may mount its file system,
// nobody else: so what belongs to the container's namespaces is made by the second process, and what belongs to the host's (only where the plan
// leaves a namespace to the host) by the first; a rootless helper can do neither, and shows the host's as it is.
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import * as mnt from '../../proto/abi/mount.gen.ts';
import { CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID } from '../../proto/abi/sched.gen.ts';
import { SYS_mkdirat, SYS_symlinkat } from '../../proto/abi/unistd.gen.ts';
import { KernelFilesystem } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedMount } from '../decode/checked.ts';
import { attach, cloneMount, newFilesystem, openWithin, type Setting, setAttributes } from './calls.ts';
import { type Context, isHosts } from './context.ts';
import { Refused, type Result } from './program.ts';

type KernelType = {
  readonly type: string;
  readonly settings: readonly Setting[];
  /** Whose it is; undefined: always the container's. */
  readonly namespace: number | undefined;
  /** Where the seed has the host's. */
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

/** One of them, to be mounted at a target with these attributes. */
export type KernelMount = {
  readonly filesystem: KernelFilesystem;
  readonly target: string;
  readonly attributes: number;
};
/** Clones of the container's own cgroup directories, by the names of their mounts. */
export type CgroupClones = ReadonlyMap<string, Result>;

/** First process: what belongs to a namespace of the host; undefined for what the second makes. */
export function makeOfHost(context: Context, { filesystem, target, attributes }: KernelMount): Result | undefined {
  const kernel = KERNEL[filesystem];
  const { program, host } = context;
  if (kernel === undefined || !ofHost(context, kernel) || host.machine.rootless || isCgroups1(context, filesystem))
    return undefined;
  return newFilesystem(program, { ...kernel, attributes, step: `mount ${target} of the host` });
}

/** First process: the container's groups of cgroup v1, if its plan mounts them. */
export function cloneCgroups({ program, plan, host }: Context): CgroupClones {
  const mounts: readonly CheckedMount[] = plan.mounts;
  const mounted = mounts.some(({ source }) => source.$case === 'kernel' && source.value.filesystem === CGROUP);
  if (!mounted || host.cgroups.kind !== 'v1') return new Map();
  const clone = (name: string, directory: number) =>
    cloneMount(program, { at: program.use(directory), step: `bind cgroup ${name}` });
  return new Map(host.cgroups.groups.map(({ name, directory }) => [name, clone(name, directory)]));
}

const CGROUP = KernelFilesystem.KERNEL_FILESYSTEM_CGROUP;

function isCgroups1({ host }: Context, filesystem: KernelFilesystem): boolean {
  return filesystem === CGROUP && host.cgroups.kind === 'v1';
}

/** Second process: what belongs to the container. */
export function makeOfContainer(context: Context, { filesystem, target, attributes }: KernelMount): Result {
  const { program, host } = context;
  const step = `mount ${target}`;
  if (isCgroups1(context, filesystem)) {
    const writable = attributes & ~mnt.MOUNT_ATTR_RDONLY; // until the groups have their places
    return newFilesystem(program, { type: 'tmpfs', settings: [['mode', '755']], attributes: writable, step });
  }
  const kernel = KERNEL[filesystem];
  if (kernel === undefined) throw new Refused(target, 'cannot be mounted here');
  if (ofHost(context, kernel)) {
    if (kernel.seed === undefined) throw new Refused(target, 'without root it needs a namespace of its own');
    const tree = cloneMount(program, { at: AT_FDCWD, path: kernel.seed, recursive: true, step });
    setAttributes(program, tree, { set: attributes, recursive: true, step });
    return tree;
  }
  const settings = kernel.settings === DEVPTS && !host.machine.rootless ? [...DEVPTS, TTY_GROUP] : kernel.settings;
  return newFilesystem(program, { ...kernel, settings, attributes, step });
}

/** Second process, v1: each hierarchy's own group, read-only, under its name; co-mounted controllers have links. */
export function attachCgroups(
  context: Context,
  mount: KernelMount & { readonly made: Result; readonly clones: CgroupClones },
): void {
  const { program } = context;
  if (!isCgroups1(context, mount.filesystem)) return;
  const { made, clones, target, attributes } = mount;
  for (const [name, tree] of clones) {
    const step = `mount ${target}/${name}`;
    program.call(SYS_mkdirat, [made, name, 0o755], { step });
    setAttributes(program, tree, { set: mnt.MOUNT_ATTR_RDONLY | attributes, propagation: mnt.MS_PRIVATE, step });
    attach(program, tree, { target: openWithin(program, { at: made, path: name, step }), step });
    for (const one of name.split(',')) if (one !== name) program.call(SYS_symlinkat, [name, made, one], { step });
  }
  setAttributes(program, made, { set: attributes, step: `mount ${target}` });
}
