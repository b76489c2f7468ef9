// What is mounted in the container. Sources are descriptors that the asker opened, or file systems made here; each becomes a detached mount first and
// is attached by descriptor to a target found with RESOLVE_IN_ROOT. Sources are cloned by the first process while it is in the mount namespace they
// came from; the container's own file systems are made, and everything is attached, by the second, which has no rights outside the container.
import { EEXIST } from '../../proto/abi/errno.gen.ts';
import { O_PATH } from '../../proto/abi/fcntl.gen.ts';
import * as mnt from '../../proto/abi/mount.gen.ts';
import { S_IFREG } from '../../proto/abi/stat.gen.ts';
import { SYS_mkdirat, SYS_mknodat } from '../../proto/abi/unistd.gen.ts';
import {
  type BindMount,
  GeneratedName,
  KernelFilesystem,
  Propagation,
  type TmpfsMount,
} from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedMount } from '../decode/checked.ts';
import * as calls from './calls.ts';
import type { Context } from './context.ts';
import { bindNodes, type Dev, lowerDev } from './dev.ts';
import {
  attachCgroups,
  type CgroupClones,
  cloneCgroups,
  type KernelMount,
  makeOfContainer,
  makeOfHost,
} from './kernel-mounts.ts';
import { newLabel, Refused, type Result } from './program.ts';

/** Detached mounts the first process has made, by the plan's mount. */
export type Prepared = {
  readonly mounts: ReadonlyMap<CheckedMount, Result>;
  readonly cgroups: CgroupClones;
  readonly dev: Dev | undefined;
};
/** Our own file systems, which masks and the terminal are resolved in. */
export type Own = { proc: Result | undefined; sysfs: Result | undefined; devpts: Result | undefined };

const FILE_NAME: Readonly<Record<number, string>> = {
  [GeneratedName.GENERATED_NAME_HOSTNAME]: 'hostname',
  [GeneratedName.GENERATED_NAME_HOSTS]: 'hosts',
  [GeneratedName.GENERATED_NAME_RESOLV_CONF]: 'resolv.conf',
};
function attributesOf(mount: CheckedMount): number {
  return (
    (mount.readOnly ? mnt.MOUNT_ATTR_RDONLY : 0) |
    (mount.noSuid ? mnt.MOUNT_ATTR_NOSUID : 0) |
    (mount.noDev ? mnt.MOUNT_ATTR_NODEV : 0) |
    (mount.noExec ? mnt.MOUNT_ATTR_NOEXEC : 0)
  );
}

/** First process, host's mount namespace: clones sources, and makes /dev and what belongs to namespaces of the host. */
export function prepareMounts(context: Context): Prepared {
  const mounts = new Map<CheckedMount, Result>();
  let dev: Dev | undefined;
  for (const mount of context.plan.mounts) {
    const { source } = mount;
    let made: Result | undefined;
    if (source.$case === 'bind') made = cloneBind(context, mount, source.value);
    else if (source.$case === 'file') made = cloneFile(context, mount, source.value.name);
    else if (source.$case === 'kernel' && source.value.filesystem === KernelFilesystem.KERNEL_FILESYSTEM_DEV) {
      dev = lowerDev(context, attributesOf(mount));
      made = dev.mount;
    } else if (source.$case === 'kernel') made = makeOfHost(context, kernelMount(mount, source.value.filesystem));
    if (made !== undefined) mounts.set(mount, made);
  }
  return { mounts, cgroups: cloneCgroups(context), dev };
}

function kernelMount(mount: CheckedMount, filesystem: KernelFilesystem): KernelMount {
  return { filesystem, target: mount.target, attributes: attributesOf(mount) };
}

function cloneBind({ program, host }: Context, mount: CheckedMount, bind: BindMount): Result {
  const step = `bind ${mount.target}`;
  const source = host.binds.get(bind.descriptor);
  if (source === undefined) throw new Refused(mount.target, `no descriptor ${bind.descriptor} came with the request`);
  const { recursive } = bind;
  const tree = calls.cloneMount(program, { at: program.use(source.descriptor), recursive, step });
  const propagation = PROPAGATION[bind.propagation] ?? mnt.MS_PRIVATE;
  const attributes = { set: attributesOf(mount), propagation, recursive, step };
  if (source.idmap === undefined) calls.setAttributes(program, tree, attributes);
  else
    calls.setAttributes(program, tree, {
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
  const file = calls.openWithin(program, { at: program.use(host.home), path: `files/${FILE_NAME[name]}`, step });
  const tree = calls.cloneMount(program, { at: file, step });
  calls.setAttributes(program, tree, { set: attributesOf(mount), propagation: mnt.MS_PRIVATE, step });
  calls.close(program, file);
  return tree;
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
    calls.attach(program, made, { target: place, step });
    if (source.$case !== 'kernel') continue;
    const { filesystem } = source.value;
    if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_PROC) own.proc = made;
    if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_SYSFS) own.sysfs = made;
    if (filesystem === KernelFilesystem.KERNEL_FILESYSTEM_DEVPTS) own.devpts = made;
    if (made === prepared.dev?.mount) bindNodes(context, prepared.dev);
    attachCgroups(context, { ...kernelMount(mount, filesystem), made, clones: prepared.cgroups });
  }
  return own;
}

function makeOwn(context: Context, mount: CheckedMount): Result {
  const { source, target } = mount;
  if (source.$case === 'kernel') return makeOfContainer(context, kernelMount(mount, source.value.filesystem));
  if (source.$case !== 'tmpfs') throw new Refused(target, 'has no source');
  const settings = tmpfsSettings(source.value);
  const attributes = attributesOf(mount);
  return calls.newFilesystem(context.program, { type: 'tmpfs', settings, attributes, step: `mount ${target}` });
}

function tmpfsSettings({ mode, sizeBytes, uid, gid }: TmpfsMount): calls.Setting[] {
  const settings: calls.Setting[] = [
    ['mode', mode.toString(8)],
    ['uid', String(uid)],
    ['gid', String(gid)],
  ];
  if (sizeBytes > 0n) settings.push(['size', String(sizeBytes)]);
  return settings;
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
    const flags = file && last ? O_PATH : calls.directoryFlags(host.machine.arch);
    const next = calls.openInRoot(program, { at: root, path: names.slice(0, i + 1).join('/'), flags, step });
    if (parent !== root) calls.close(program, parent);
    parent = next;
  }
  return parent;
}
