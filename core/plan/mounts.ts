// All mounts of a container, in the order in which they are attached: kernel file systems, the user's, generated files.
import { GeneratedName, KernelFilesystem, type Mount, Propagation } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { ContainerCreateBody } from '../spec/docker-api.ts';
import type { BindFact, Facts } from './facts.ts';
import type { GeneratedFiles } from './files.ts';
import { depth } from './paths.ts';
import { type Noted, noted, type Reason, refuse } from './reason.ts';
import { bindSourceMissing, readVolumes, type UserBind, type UserMount } from './volumes.ts';

export type MountsAsked = {
  readonly body: ContainerCreateBody;
  readonly facts: Facts;
  readonly files: GeneratedFiles;
};

type Planned = { readonly mount: Mount; readonly why: string };

/** Docker's: daemon/config/config.go DefaultShmSize. */
const SHM_BYTES = 64 * 1024 * 1024;

/**
 * The mounts, parents before what lies beneath them; of equal depth the kernel's come first, then the user's in his order. A user's mount
 * takes the place of one of ours at the same path. Throws what readVolumes throws, and bad_parameter for a source that is not there.
 * Source: moby, daemon/pkg/oci/defaults.go and daemon/oci_linux.go withMounts.
 */
export function planMounts(asked: MountsAsked): Noted<Mount[]> {
  const { body, facts, files } = asked;
  const users = readVolumes(body).map((mount) => userMount(mount, asked));
  const taken = new Set(users.map(({ mount }) => mount.target));
  const own = [...kernelMounts(body), ...shmMount(body), ...fileMounts(files, body.HostConfig.ReadonlyRootfs)];
  const kept = own.filter(({ mount }) => !taken.has(mount.target));
  const all = [...kept, ...users].sort((a, b) => depth(a.mount.target) - depth(b.mount.target));
  const reasons: Reason[] = all.map(({ mount, why }) => ({ about: `mount ${mount.target}`, text: why }));
  return noted(
    all.map(({ mount }) => mount),
    [...reasons, ...imageVolumes(facts)],
    warnings(body),
  );
}

function kernelMounts(body: ContainerCreateBody): Planned[] {
  const { Privileged: privileged } = body.HostConfig;
  const readOnlyWhy = privileged ? 'writable: --privileged' : 'read-only, as in Docker';
  const quiet = { noSuid: true, noDev: true, noExec: true };
  const kernel = (filesystem: KernelFilesystem, target: string): Mount => ({
    source: { $case: 'kernel', value: { filesystem } },
    target,
    readOnly: false,
    ...quiet,
  });
  return [
    { mount: kernel(KernelFilesystem.KERNEL_FILESYSTEM_PROC, '/proc'), why: 'of the pid namespace' },
    {
      mount: { ...kernel(KernelFilesystem.KERNEL_FILESYSTEM_SYSFS, '/sys'), readOnly: !privileged },
      why: `of the network namespace; ${readOnlyWhy}`,
    },
    {
      mount: { ...kernel(KernelFilesystem.KERNEL_FILESYSTEM_DEV, '/dev'), noDev: false, noExec: false },
      why: 'a tmpfs that the helper fills: mknod is refused in a user namespace',
    },
    {
      mount: { ...kernel(KernelFilesystem.KERNEL_FILESYSTEM_DEVPTS, '/dev/pts'), noDev: false },
      why: 'terminals of its own',
    },
    { mount: kernel(KernelFilesystem.KERNEL_FILESYSTEM_MQUEUE, '/dev/mqueue'), why: 'of the ipc namespace' },
    {
      mount: { ...kernel(KernelFilesystem.KERNEL_FILESYSTEM_CGROUP, '/sys/fs/cgroup'), readOnly: !privileged },
      why: `of the cgroup namespace; ${readOnlyWhy}`,
    },
  ];
}

function shmMount(body: ContainerCreateBody): Planned[] {
  const { ShmSize: asked, IpcMode: mode } = body.HostConfig;
  if (asked < 0) refuse('SHM size can not be less than 0');
  if (mode === 'none') return [];
  const sizeBytes = BigInt(asked === 0 ? SHM_BYTES : asked);
  const why = asked === 0 ? 'shared memory, 64 MiB by default' : '--shm-size';
  const value = { sizeBytes, mode: 0o1777, uid: 0, gid: 0 };
  const flags = { readOnly: false, noSuid: true, noDev: true, noExec: true };
  return [{ mount: { source: { $case: 'tmpfs', value }, target: '/dev/shm', ...flags }, why }];
}

function fileMounts(files: GeneratedFiles, readOnly: boolean): Planned[] {
  const file = (name: GeneratedName, target: string, text: string): Mount => ({
    source: { $case: 'file', value: { name, content: Buffer.from(text) } },
    target,
    readOnly,
    noSuid: true,
    noDev: true,
    noExec: false, // as a plain file of the image would be
  });
  const { GENERATED_NAME_HOSTNAME, GENERATED_NAME_HOSTS, GENERATED_NAME_RESOLV_CONF } = GeneratedName;
  return [
    { mount: file(GENERATED_NAME_RESOLV_CONF, '/etc/resolv.conf', files.resolvConf.text), why: files.resolvConf.why },
    { mount: file(GENERATED_NAME_HOSTNAME, '/etc/hostname', files.hostname.text), why: files.hostname.why },
    { mount: file(GENERATED_NAME_HOSTS, '/etc/hosts', files.hosts.text), why: files.hosts.why },
  ];
}

function userMount(mount: UserMount, asked: MountsAsked): Planned {
  if (mount.kind === 'bind') return bindMount(mount, asked);
  const { percent, tmpfs } = mount;
  const sizeBytes = percent === undefined ? tmpfs.sizeBytes : (asked.facts.host.memoryBytes * percent) / 100n;
  const source = { $case: 'tmpfs' as const, value: { ...tmpfs, sizeBytes } };
  return { mount: { source, target: mount.target, ...mount.flags }, why: mount.why };
}

function bindMount(bind: UserBind, { body, facts }: MountsAsked): Planned {
  const fact = facts.binds.find((one) => one.source === bind.source);
  if (fact === undefined) throw bindSourceMissing(bind.source);
  checkKind(bind, fact, facts);
  const { descriptor, kind } = fact;
  const recursive = bind.recursive && kind === 'directory';
  const value = { descriptor, recursive, file: kind === 'file', propagation: bind.propagation };
  // A device node that lies in a bound directory opens only where --privileged says so.
  const noDev = !body.HostConfig.Privileged;
  return {
    mount: {
      source: { $case: 'bind', value },
      target: bind.target,
      readOnly: bind.readOnly,
      noSuid: false,
      noDev,
      noExec: false,
    },
    why: bind.why,
  };
}

/** A file goes over a file, a directory over a directory. Source: runc 1.1, rootfs_linux.go, for the text. */
function checkKind(bind: UserBind, fact: BindFact, facts: Facts): void {
  const there = Object.hasOwn(facts.lookups, bind.target) ? facts.lookups[bind.target] : undefined;
  const isDirectory = there?.kind === 'directory';
  const isFile = there?.kind === 'file' || there?.kind === 'other';
  if ((fact.kind === 'file' && !isDirectory) || (fact.kind === 'directory' && !isFile)) return;
  refuse(
    `error mounting "${bind.source}" to rootfs at "${bind.target}": not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type`,
  );
}

function imageVolumes(facts: Facts): Reason[] {
  const volumes = facts.root.kind === 'image' ? facts.root.config.volumes : [];
  return volumes.map((path) => ({
    about: `volume ${path}`,
    text: "VOLUME of the image: kept in the container's writable layer, since volumes are not there yet",
  }));
}

function warnings(body: ContainerCreateBody): string[] {
  const { IpcMode: mode, Binds } = body.HostConfig;
  const found: string[] = [];
  if (mode === 'host' || mode.startsWith('container:')) {
    found.push(`--ipc=${mode}: System V and message queues are shared; /dev/shm is the container's own`);
  }
  const labels = (Binds ?? []).some((bind) => /:(.*,)?[zZ](,.*)?$/.test(bind));
  const isShared = (mount: UserMount) => mount.kind === 'bind' && mount.propagation === Propagation.PROPAGATION_SHARED;
  const shared = readVolumes(body).some(isShared) && body.HostConfig.UsernsMode !== 'host';
  if (shared) found.push('a shared bind shows what the host mounts there; what the container mounts stays with it');
  if (labels) found.push('SELinux labels (z, Z) of binds have no effect here');
  return found;
}
