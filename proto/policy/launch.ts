// A launch: root, mounts, namespaces, devices; what must hold of its fields alone and of one beside the other. Whatever is not granted is refused.
import * as sched from '../abi/sched.gen.ts';
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { judgeFile } from './bind.ts';
import * as forms from './form.ts';
import { any, below, both, type Form, must, path, range } from './form.ts';
import { DEVICE, LIMITS } from './limits.ts';
import { MOUNTS_MAX, SYSCTLS } from './lists.ts';
import { capabilityNames, HARDENING, PROCESS, STDIO } from './process.ts';
import * as rules from './rules.ts';

const { among, atMost, BESIDE, choice, INSIDE, list, may, message, OWNED, upTo, wordOf } = rules;
const { CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNS } = sched;
const { KernelFilesystem, GeneratedName } = plan;
const NAMESPACE_BITS = Object.entries(sched).filter(([name]) => name.startsWith('CLONE_NEW'));
const OF_ONE_USER = BigInt(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWUTS);
const JOINABLE = OF_ONE_USER | BigInt(CLONE_NEWUSER | sched.CLONE_NEWCGROUP);
const ALL = JOINABLE | BigInt(CLONE_NEWNS | sched.CLONE_NEWTIME);
const UID_COUNT_MAX = 1n << 20n;

/** Of an image, topmost first. The same layer may come twice: images with several empty layers do that. */
export const layers = forms.each(forms.digest, { least: 1, most: 256 });
export const IMAGE = message<plan.ImageRoot>({ layers: [layers, (all, ask) => atMost(ask, 'layersMax', all.length)] });
const descriptor: rules.Rule<number> = [range(0, 199), BESIDE];
const ROOT = message<plan.Root>({
  source: choice({ image: IMAGE, directory: message<plan.DirectoryRoot>({ descriptor }) }),
  readOnly: [any, BESIDE],
});
const judgeRoot: rules.Ceiling<plan.Root | undefined> = (root, ask) => {
  if (root?.source?.$case !== 'directory') return;
  may(ask, 'rootDirectories', [true, 'a directory as root']);
  judgeFile(below(ask, 'directory', 'descriptor'), root.source.value.descriptor, !root.readOnly);
};

// A kernel file system has one place, a generated file too: the engine cannot put proc where a program looks for its own files.
const PLACES: Readonly<Record<string, string>> = {
  ...{ proc: '/proc', sysfs: '/sys', dev: '/dev', devpts: '/dev/pts', mqueue: '/dev/mqueue', cgroup: '/sys/fs/cgroup' },
  ...{ hostname: '/etc/hostname', hosts: '/etc/hosts', resolv_conf: '/etc/resolv.conf' },
};
const inPlace: Form<string, plan.Mount> = (target, at, { source }) => {
  if (source?.$case === 'kernel' || source?.$case === 'file') {
    const { $case, value } = source;
    const own =
      PLACES[$case === 'kernel' ? wordOf(KernelFilesystem, value.filesystem) : wordOf(GeneratedName, value.name)];
    return must(target === own, at, `must be ${own}`);
  }
  // Beneath /proc and /sys lie the masks; the device directory itself is the helper's tmpfs.
  const helpers = /^\/((proc|sys)(\/.*)?|dev)?$/.test(target);
  return must(!helpers, at, 'must not be the root or /dev, nor in /proc or /sys');
};

const content: Form<Uint8Array> = (bytes, at) => must(bytes.length <= 32_768, at, 'must be at most 32768 bytes');
const propagation: rules.Rule<number> = [
  forms.named(plan.Propagation),
  (value, ask) => upTo(ask, 'propagation', wordOf(plan.Propagation, value)),
];
const filesystem: rules.Rule<number> = [
  forms.named(KernelFilesystem),
  (value, ask) => among(ask, 'kernelFilesystems', [wordOf(KernelFilesystem, value)]),
];
const sizeBytes: rules.Rule<bigint> = [
  range(0n, forms.BYTES_MAX),
  (size, ask) => atMost(ask, 'tmpfsBytesMax', size === 0n ? undefined : size),
];
const SOURCE = choice<NonNullable<plan.Mount['source']>>({
  // The descriptor is judged with all beneath it.
  bind: message<plan.BindMount>({ descriptor, recursive: [any, BESIDE], file: [any, BESIDE], propagation }),
  tmpfs: message<plan.TmpfsMount>({
    sizeBytes,
    ...{ mode: [range(0, 0o7777), INSIDE], uid: [any, INSIDE], gid: [any, INSIDE] },
  }),
  kernel: message<plan.KernelMount>({ filesystem }),
  file: message<plan.GeneratedFile>({ name: [forms.named(GeneratedName), INSIDE], content: [content, INSIDE] }),
});
const MOUNT = message<plan.Mount>({
  source: SOURCE,
  target: [both(path, inPlace), INSIDE],
  readOnly: [any, BESIDE],
  // User namespace and device rules bound what a file can give.
  ...{ noSuid: [any, INSIDE], noDev: [any, INSIDE], noExec: [any, INSIDE] },
});
const judgeMount: rules.Ceiling<plan.Mount> = ({ source, readOnly }, ask) =>
  source?.$case === 'bind' && judgeFile(below(ask, 'bind', 'descriptor'), source.value.descriptor, !readOnly);
const MOUNTS = list<plan.Mount>([MOUNT[0], both(judgeMount, MOUNT[1])], {
  most: MOUNTS_MAX,
  once: (mount) => mount.target,
});
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

const joinable: Form<bigint> = (bit, at) => {
  const single = (bit & (bit - 1n)) === 0n && (bit & JOINABLE) !== 0n;
  must(single, at, 'must be the one bit of a namespace that can be joined');
};
const judgeJoin: rules.Ceiling<bigint> = (bits, ask) => {
  const names = namespaceNames(bits);
  among(ask, 'joinNamespaces', names.length > 0 ? names : [`number ${bits}`]);
};
const JOIN = message<plan.Join>({ namespace: [joinable, judgeJoin], container: [forms.id, OWNED] });
const isNew = (namespaces: plan.Namespaces | undefined, bit: number): boolean =>
  ((namespaces?.unshare ?? 0n) & BigInt(bit)) !== 0n;
const obeying: Form<plan.Namespaces> = (namespaces, at) => {
  const { unshare, join, uidCount } = namespaces;
  must((unshare & ~ALL) === 0n, below(at, 'unshare'), 'must hold CLONE_NEW* bits only');
  must(isNew(namespaces, CLONE_NEWNS), below(at, 'unshare'), 'must hold the mount namespace');
  for (const [i, { namespace }] of join.entries())
    must((unshare & namespace) === 0n, below(at, 'join', i, 'namespace'), 'must not be made and joined');
  // A namespace obeys the user namespace that made it; that the joined ones are all of one is checked against the records.
  const ownUser = isNew(namespaces, CLONE_NEWUSER);
  const right = !ownUser || join.every(({ namespace }) => (namespace & OF_ONE_USER) === 0n);
  must(right, below(at, 'join'), 'net, ipc, pid and uts cannot be joined from a user namespace of its own');
  range(ownUser ? 1n : 0n, ownUser ? UID_COUNT_MAX : 0n)(uidCount, below(at, 'uid_count'), namespaces);
};
const NAMESPACES = message<plan.Namespaces>(
  {
    unshare: [any, (_bits, ask, namespaces) => among(ask, 'hostNamespaces', hostNamespaces(ask, namespaces))],
    join: list(JOIN, { most: 8, once: ({ namespace }) => namespace }),
    uidCount: [any, (count, ask) => atMost(ask, 'uidCountMax', count)],
  },
  obeying,
);
type Spaces = plan.Namespaces | undefined;
const ofOthers: Form<Spaces, plan.Launch> = (namespaces, at, { id }) => {
  const others = namespaces?.join.every(({ container }) => container !== id) ?? false;
  must(others, below(at, 'join'), 'must name another container');
};
const judgeTracing: rules.Ceiling<Spaces, plan.Launch> = (namespaces, ask, { process }) =>
  namespaces && judgeTrace(ask, hostNamespaces(ask, namespaces), process);

const beneathDev: Form<string> = (value, at) => {
  path(`/${value}`, at, value);
  must(/^[A-Za-z0-9]/.test(value) && value.split('/').length <= 4, at, 'must be a name beneath /dev');
  const ours = /^(pts|mqueue|fd|shm)(\/|$)|^(stdin|stdout|stderr|ptmx|core|console)$/;
  must(!ours.test(value), at, 'must not be one that the helper makes');
};
const nodeId = range(0, 65_535); // within the least that a container has: beyond lie other containers' ids
const NODE = message<plan.DeviceNode>({
  path: [both(forms.text(255), beneathDev), INSIDE],
  ...DEVICE,
  ...{ mode: [range(0, 0o777), INSIDE], uid: [nodeId, INSIDE], gid: [nodeId, INSIDE] },
});

const HOST_NAME = forms.matching(/^[\w.-]{0,64}$/, 'at most 64 letters, digits, dots, dashes or underscores');
const ownUts: Form<string, plan.Launch> = (name, at, { namespaces }) =>
  must(name === '' || isNew(namespaces, CLONE_NEWUTS), at, 'needs a UTS namespace of its own');
const ownSysctls: Form<plan.Hardening | undefined, plan.Launch> = (hardening, at, { namespaces }) => {
  for (const [i, { name }] of hardening?.sysctls.entries() ?? [])
    must(isNew(namespaces, SYSCTLS.get(name) ?? 0), below(at, 'sysctls', i), 'needs a namespace of its own for it');
};

export const LAUNCH = message<plan.Launch>({
  id: [forms.id, (_id, ask) => atMost(ask, 'containersMax', ask.seen.containers + 1)],
  root: [ROOT[0], both(judgeRoot, ROOT[1])],
  mounts: [both(MOUNTS[0], parentsFirst), MOUNTS[1]],
  process: PROCESS,
  namespaces: [both(NAMESPACES[0], ofOthers), both(NAMESPACES[1], judgeTracing)],
  ...{ hostname: [both(HOST_NAME, ownUts), INSIDE], domainname: [both(HOST_NAME, ownUts), INSIDE] },
  limits: LIMITS,
  hardening: [both(HARDENING[0], ownSysctls), HARDENING[1]],
  devices: list(NODE, { most: 128, once: (node) => node.path }),
  init: [any, INSIDE],
  stdio: STDIO,
});
