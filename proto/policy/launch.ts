// A launch: root, mounts, namespaces, devices; what must hold of its fields alone and of one beside the other. Whatever is not granted is refused.
import * as sched from '../abi/sched.gen.ts';
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { judgeFile } from './bind.ts';
import {
  any,
  below,
  BYTES_MAX,
  digest,
  each,
  type Form,
  id,
  matching,
  must,
  named,
  path,
  range,
  text,
} from './form.ts';
import { DEVICE, limits } from './limits.ts';
import { SYSCTLS } from './lists.ts';
import { capabilityNames, hardening, PROCESS, STDIO } from './process.ts';
import * as rules from './rules.ts';

const { among, atMost, BESIDE, both, choice, INSIDE, list, may, message, OWNED, upTo, wordOf } = rules;
const { CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNS } = sched;
const { KernelFilesystem, GeneratedName } = plan;
const NAMESPACE_BITS = Object.entries(sched).filter(([name]) => name.startsWith('CLONE_NEW'));
const OF_ONE_USER = BigInt(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWUTS);
const JOINABLE = OF_ONE_USER | BigInt(CLONE_NEWUSER | sched.CLONE_NEWCGROUP);
const ALL = JOINABLE | BigInt(CLONE_NEWNS | sched.CLONE_NEWTIME);
const UID_COUNT_MAX = 1n << 20n;

/** Of an image, topmost first. The same layer may come twice: images with several empty layers do that. */
export const layers = each(digest, { least: 1, most: 256 });
export const IMAGE = message<plan.ImageRoot>({
  layers: [layers, (all, ask) => atMost(ask, 'layersMax', all.length)],
});
const descriptor = range(0, 199);
const ROOT = message<plan.Root>({
  source: choice<NonNullable<plan.Root['source']>>({
    image: IMAGE,
    directory: message<plan.DirectoryRoot>({ descriptor: [descriptor, BESIDE] }),
  }),
  readOnly: [any, BESIDE],
});
const judgeRoot: rules.Ceiling<plan.Root | undefined> = (root, ask) => {
  if (root?.source?.$case !== 'directory') return;
  may(ask, 'rootDirectories', [true, 'a directory as root']);
  judgeFile(below(ask, 'directory', 'descriptor'), root.source.value.descriptor, !root.readOnly);
};

// A kernel file system has one place, a generated file too: the engine cannot put proc where a program looks for its own files.
const KERNEL_TARGET: Readonly<Record<number, string>> = {
  [KernelFilesystem.KERNEL_FILESYSTEM_PROC]: '/proc',
  [KernelFilesystem.KERNEL_FILESYSTEM_SYSFS]: '/sys',
  [KernelFilesystem.KERNEL_FILESYSTEM_DEV]: '/dev',
  [KernelFilesystem.KERNEL_FILESYSTEM_DEVPTS]: '/dev/pts',
  [KernelFilesystem.KERNEL_FILESYSTEM_MQUEUE]: '/dev/mqueue',
  [KernelFilesystem.KERNEL_FILESYSTEM_CGROUP]: '/sys/fs/cgroup',
};
const FILE_TARGET: Readonly<Record<number, string>> = {
  [GeneratedName.GENERATED_NAME_HOSTNAME]: '/etc/hostname',
  [GeneratedName.GENERATED_NAME_HOSTS]: '/etc/hosts',
  [GeneratedName.GENERATED_NAME_RESOLV_CONF]: '/etc/resolv.conf',
};
const target: Form<string, plan.Mount> = (value, at, { source }) => {
  if (source?.$case === 'kernel' || source?.$case === 'file') {
    const own = source.$case === 'kernel' ? KERNEL_TARGET[source.value.filesystem] : FILE_TARGET[source.value.name];
    return must(value === own, at, `must be ${own}`);
  }
  // Beneath /proc and /sys lie the masks; the device directory itself is the helper's tmpfs.
  const helpers = /^\/((proc|sys)(\/.*)?|dev)?$/.test(value);
  return must(!helpers, at, 'must not be the root or /dev, nor in /proc or /sys');
};

const content: Form<Uint8Array> = (bytes, at) => must(bytes.length <= 32_768, at, 'must be at most 32768 bytes');
const MOUNT = message<plan.Mount>({
  source: choice<NonNullable<plan.Mount['source']>>({
    bind: message<plan.BindMount>({
      descriptor: [descriptor, BESIDE],
      recursive: [any, BESIDE], // the descriptor is judged with all beneath it
      file: [any, BESIDE],
      propagation: [named(plan.Propagation), (value, ask) => upTo(ask, 'propagation', wordOf(plan.Propagation, value))],
    }),
    tmpfs: message<plan.TmpfsMount>({
      sizeBytes: [range(0n, BYTES_MAX), (size, ask) => atMost(ask, 'tmpfsBytesMax', size === 0n ? undefined : size)],
      mode: [range(0, 0o7777), INSIDE],
      uid: [any, INSIDE],
      gid: [any, INSIDE],
    }),
    kernel: message<plan.KernelMount>({
      filesystem: [
        named(KernelFilesystem),
        (value, ask) => among(ask, 'kernelFilesystems', [wordOf(KernelFilesystem, value)]),
      ],
    }),
    file: message<plan.GeneratedFile>({ name: [named(GeneratedName), INSIDE], content: [content, INSIDE] }),
  }),
  target: [both(path, target), INSIDE],
  readOnly: [any, BESIDE],
  // User namespace and device rules bound what a file can give.
  ...{ noSuid: [any, INSIDE], noDev: [any, INSIDE], noExec: [any, INSIDE] },
});
const judgeMount: rules.Ceiling<plan.Mount> = ({ source, readOnly }, ask) =>
  source?.$case === 'bind' && judgeFile(below(ask, 'bind', 'descriptor'), source.value.descriptor, !readOnly);
const MOUNTS = list<plan.Mount>([MOUNT[0], both(judgeMount, MOUNT[1])], { most: 256, once: (mount) => mount.target });
const parentsFirst: Form<readonly plan.Mount[]> = (all, at) => {
  for (const [i, later] of all.entries()) {
    const covers = all.slice(0, i).some((earlier) => earlier.target.startsWith(`${later.target}/`));
    must(!covers, below(at, i, 'target'), 'must come before what lies beneath it');
  }
};

/** The kinds of namespace by their flags' names: `net`, `user`; the mount namespace is `ns`. */
function namespaceNames(chosen: bigint): string[] {
  const names = NAMESPACE_BITS.filter(([, bit]) => (chosen & BigInt(bit)) !== 0n);
  return names.map(([name]) => name.slice('CLONE_NEW'.length).toLowerCase());
}

/** Namespaces of the host that the container would live in. */
function hostNamespaces({ seen }: rules.Ask, { unshare, join }: plan.Namespaces): string[] {
  const own = join.reduce((sum, one) => sum | one.namespace, unshare);
  return [...new Set([...namespaceNames(~own), ...seen.hostNamespaces])];
}

/** Who may trace in the host's user namespace reaches the helper's own processes: that takes a word of its own. */
export function judgeTrace(ask: rules.Ask, host: readonly string[], process: plan.Process | undefined): void {
  const trace = capabilityNames(process?.capabilities?.bounding ?? 0n).includes('SYS_PTRACE');
  may(ask, 'hostUserTrace', [trace && host.includes('user'), "SYS_PTRACE in the host's user namespace"]);
}

const isNew = (namespaces: plan.Namespaces | undefined, bit: number): boolean =>
  ((namespaces?.unshare ?? 0n) & BigInt(bit)) !== 0n;
const isJoinable: Form<bigint> = (bit, at) => {
  const single = (bit & (bit - 1n)) === 0n && (bit & JOINABLE) !== 0n;
  must(single, at, 'must be the one bit of a namespace that can be joined');
};
const JOIN = message<plan.Join>({
  namespace: [
    isJoinable,
    (bits, ask) => {
      const names = namespaceNames(bits);
      among(ask, 'joinNamespaces', names.length > 0 ? names : [`number ${bits}`]);
    },
  ],
  container: [id, OWNED],
});
const NAMESPACES = message<plan.Namespaces>(
  {
    unshare: [any, (_bits, ask, namespaces) => among(ask, 'hostNamespaces', hostNamespaces(ask, namespaces))],
    join: list(JOIN, { most: 8, once: ({ namespace }) => namespace }),
    uidCount: [any, (count, ask) => atMost(ask, 'uidCountMax', count)],
  },
  (namespaces, at) => {
    const { unshare, join, uidCount } = namespaces;
    must((unshare & ~ALL) === 0n, below(at, 'unshare'), 'must hold CLONE_NEW* bits only');
    must(isNew(namespaces, CLONE_NEWNS), below(at, 'unshare'), 'must hold the mount namespace');
    for (const [i, { namespace }] of join.entries())
      must((unshare & namespace) === 0n, below(at, 'join', i, 'namespace'), 'must not be made and joined');
    // A namespace obeys the user namespace that made it; that the joined ones are all of one is checked against the records.
    const ownUser = isNew(namespaces, CLONE_NEWUSER);
    const right = !ownUser || join.every(({ namespace }) => (namespace & OF_ONE_USER) === 0n);
    must(right, below(at, 'join'), 'net, ipc, pid and uts cannot be joined from a user namespace of its own');
    range(ownUser ? 1n : 0n, ownUser ? UID_COUNT_MAX : 0n)(uidCount, below(at, 'uidCount'), namespaces);
  },
);

const nodePath: Form<string> = (value, at) => {
  text(255)(value, at, value);
  path(`/${value}`, at, value);
  must(/^[A-Za-z0-9]/.test(value) && value.split('/').length <= 4, at, 'must be a name beneath /dev');
  const ours = /^(pts|mqueue|fd|shm)(\/|$)|^(stdin|stdout|stderr|ptmx|core|console)$/;
  must(!ours.test(value), at, 'must not be one that the helper makes');
};
const NODE = message<plan.DeviceNode>({
  path: [nodePath, INSIDE],
  ...DEVICE,
  mode: [range(0, 0o777), INSIDE],
  // Within the least that a container has: beyond lie other containers' ids.
  uid: [range(0, 65_535), INSIDE],
  gid: [range(0, 65_535), INSIDE],
});

const HOST_NAME = matching(/^[A-Za-z0-9._-]{0,64}$/, 'at most 64 letters, digits, dots, dashes or underscores');
const hostName: Form<string, plan.Launch> = (name, at, { namespaces }) =>
  must(name === '' || isNew(namespaces, CLONE_NEWUTS), at, 'needs a UTS namespace of its own');
const HARDENING = hardening(true);

export const LAUNCH = message<plan.Launch>({
  id: [id, (_id, ask) => atMost(ask, 'containersMax', ask.seen.containers + 1)],
  root: [ROOT[0], both(judgeRoot, ROOT[1])],
  mounts: [both(MOUNTS[0], parentsFirst), MOUNTS[1]],
  process: PROCESS,
  namespaces: [
    both(NAMESPACES[0], (namespaces, at, launch) => {
      const other = namespaces?.join.every(({ container }) => container !== launch.id) ?? false;
      must(other, below(at, 'join'), 'must name another container');
    }),
    both(NAMESPACES[1], (namespaces, ask, { process }) => {
      if (namespaces !== undefined) judgeTrace(ask, hostNamespaces(ask, namespaces), process);
    }),
  ],
  hostname: [both(HOST_NAME, hostName), INSIDE],
  domainname: [both(HOST_NAME, hostName), INSIDE],
  limits: limits(true),
  hardening: [
    both(HARDENING[0], (hardening, at, { namespaces }) => {
      for (const [i, { name }] of hardening?.sysctls.entries() ?? [])
        must(isNew(namespaces, SYSCTLS.get(name) ?? 0), below(at, 'sysctls', i), 'needs a namespace of its own for it');
    }),
    HARDENING[1],
  ],
  devices: list(NODE, { most: 128, once: (node) => node.path }),
  init: [any, INSIDE],
  stdio: STDIO,
});
