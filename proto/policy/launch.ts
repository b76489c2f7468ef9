// Rules of a launch: root, mounts, namespaces. Whatever is not granted is refused.
import * as sched from '../abi/sched.gen.ts';
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { type Ask, all, among, at, atMost, each, free, judge, may, type Rules, refuse, upTo, wordOf } from './ask.ts';
import { judgeFile } from './bind.ts';
import { DEVICE_NODE, limits } from './limits.ts';
import { capabilityNames, hardening, PROCESS, STDIO } from './process.ts';

const NAMESPACES = Object.entries(sched).filter(([name]) => name.startsWith('CLONE_NEW'));

/** The kinds of namespace by their flags' names: `net`, `user`; the mount namespace is `ns`. */
function namespaceNames(chosen: (bit: bigint) => boolean): string[] {
  const names = NAMESPACES.filter(([, bit]) => chosen(BigInt(bit)));
  return names.map(([name]) => name.slice('CLONE_NEW'.length).toLowerCase());
}

export const IMAGE: Rules<plan.ImageRoot> = {
  layers: (layers, ask) => atMost(ask, 'layersMax', layers.length),
};

const ROOT: Rules<plan.Root> = {
  source: (source, ask, { readOnly }) => {
    if (source?.$case === 'image') return judge(IMAGE, source.value, at(ask, 'image'));
    if (source?.$case !== 'directory') return refuse(ask, 'present', ['nothing', 'an image or a directory']);
    may(ask, 'rootDirectories', [true, 'a directory as root']);
    return judge(directory(!readOnly), source.value, at(ask, 'directory'));
  },
  ...free('judged with source', 'readOnly'),
};

function directory(write: boolean): Rules<plan.DirectoryRoot> {
  return { descriptor: (index, ask) => judgeFile(ask, index, write) };
}

function bind(write: boolean): Rules<plan.BindMount> {
  return {
    descriptor: (index, ask) => judgeFile(ask, index, write),
    propagation: (value, ask) => upTo(ask, 'propagation', wordOf(plan.Propagation, value)),
    ...free('the descriptor is judged with all beneath it', 'recursive', 'file'),
  };
}

const TMPFS: Rules<plan.TmpfsMount> = {
  sizeBytes: (size, ask) => atMost(ask, 'tmpfsBytesMax', size === 0n ? undefined : size),
  ...free('acts inside the container', 'mode', 'uid', 'gid'),
};
const KERNEL: Rules<plan.KernelMount> = {
  filesystem: (value, ask) => among(ask, 'kernelFilesystems', [wordOf(plan.KernelFilesystem, value)]),
};
const FILE: Rules<plan.GeneratedFile> = free('acts inside the container', 'name', 'content');

const MOUNT: Rules<plan.Mount> = {
  source: (source, ask, { readOnly }) => {
    switch (source?.$case) {
      case 'bind':
        return judge(bind(!readOnly), source.value, at(ask, 'bind'));
      case 'tmpfs':
        return judge(TMPFS, source.value, at(ask, 'tmpfs'));
      case 'kernel':
        return judge(KERNEL, source.value, at(ask, 'kernel'));
      case 'file':
        return judge(FILE, source.value, at(ask, 'file'));
      case undefined:
        return refuse(ask, 'present', ['nothing', 'a source']);
    }
  },
  ...free('judged with source', 'readOnly'),
  ...free('user namespace and device rules bound what a file can give', 'target', 'noSuid', 'noDev', 'noExec'),
};

const JOIN: Rules<plan.Join> = {
  namespace: (bits, ask) => {
    const names = namespaceNames((bit) => (bits & bit) !== 0n);
    among(ask, 'joinNamespaces', names.length > 0 ? names : [`number ${bits}`]);
  },
  ...free('looked up under the principal', 'container'),
};

const LAUNCH_NAMESPACES: Rules<plan.Namespaces> = {
  unshare: (_bits, ask, namespaces) => among(ask, 'hostNamespaces', hostNamespaces(ask, namespaces)),
  join: each(JOIN),
  uidCount: (count, ask) => atMost(ask, 'uidCountMax', count),
};

/** Namespaces of the host that the container would live in. */
function hostNamespaces({ seen }: Ask, { unshare, join }: plan.Namespaces): string[] {
  const own = join.reduce((sum, one) => sum | one.namespace, unshare);
  return [...new Set([...namespaceNames((bit) => (own & bit) === 0n), ...seen.hostNamespaces])];
}

/** Who may trace in the host's user namespace reaches the helper's own processes: that takes a word of its own. */
export function judgeTrace(ask: Ask, host: readonly string[], process: plan.Process | undefined): void {
  const trace = capabilityNames(process?.capabilities?.bounding ?? 0n).includes('SYS_PTRACE');
  may(ask, 'hostUserTrace', [trace && host.includes('user'), "SYS_PTRACE in the host's user namespace"]);
}

export const LAUNCH: Rules<plan.Launch> = {
  id: (_id, ask) => atMost(ask, 'containersMax', ask.seen.containers + 1),
  root: all(ROOT),
  mounts: each(MOUNT),
  process: all(PROCESS),
  namespaces: (namespaces, ask, { process }) => {
    judge(LAUNCH_NAMESPACES, namespaces, ask);
    if (namespaces !== undefined) judgeTrace(ask, hostNamespaces(ask, namespaces), process);
  },
  limits: all(limits(true)),
  hardening: all(hardening(true)),
  devices: each(DEVICE_NODE),
  stdio: all(STDIO),
  ...free('acts inside the container', 'hostname', 'domainname', 'init'),
};
