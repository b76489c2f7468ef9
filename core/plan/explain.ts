// A plan as text: one line for each thing the helper does, with its reason. What cannot be seen here must not change what it does; a test
// changes every field of a plan and sees the text change.
import {
  type Launch,
  type Limits,
  type Mount,
  type Process,
  Propagation,
  Seccomp,
  type Root,
} from '../../proto/gen/berth/helper/v1/plan.ts';
import { capabilityNames } from './capabilities.ts';
import type { CgroupHost } from './facts.ts';
import { type CgroupFile, cgroupFiles } from './cgroup-files.ts';
import { NS_FLAGS, type NsKind } from './namespaces.ts';
import type { Reason } from './reason.ts';
import { rlimitName, UNLIMITED } from './rlimits.ts';

export type Explained = {
  readonly launch: Launch;
  readonly reasons: readonly Reason[];
  readonly warnings: readonly string[];
};

/** A line: what is done, and why. */
type Line = { readonly text: string; readonly why?: string | undefined };
type Why = (about: string) => string | undefined;

const WHY_COLUMN = 70;

/** The plan in the order in which it is carried out: namespaces, root, volumes, pivot, limits, hardening, process, exec. */
export function explainPlan(plan: Explained, cgroup: Pick<CgroupHost, 'version'>): string {
  const { launch } = plan;
  const why: Why = (about) => {
    const found = plan.reasons.filter((reason) => reason.about === about).map((reason) => reason.text);
    return found.length === 0 ? undefined : found.join('; ');
  };
  const sections: readonly (readonly [string, readonly Line[]])[] = [
    [`container ${launch.id}`, []],
    ['namespaces', namespaceLines(launch, why)],
    ['root', launch.root === undefined ? [] : rootLines(launch.root, why)],
    ['mounts, attached in this order', launch.mounts.flatMap((mount) => mountLines(mount, why))],
    ['nodes of /dev', deviceLines(launch, why)],
    ['volumes of the image', volumeLines(plan)],
    ['hidden and read-only paths', maskLines(launch, why)],
    [
      'pivot_root',
      [{ text: 'the root becomes /, the old one is detached', why: 'no mount of the host can be reached any more' }],
    ],
    ['names', nameLines(launch, why)],
    [`cgroup (${cgroup.version})`, limitLines(launch.limits, cgroup, why)],
    ['hardening', hardeningLines(launch, why)],
    ['process', launch.process === undefined ? [] : processLines(launch.process, why)],
    ['standard streams', stdioLines(launch)],
    ['exec', execLines(launch, why)],
    ['warnings', plan.warnings.map((text) => ({ text }))],
  ];
  return `${sections
    .filter(([title, lines]) => lines.length > 0 || title.startsWith('container '))
    .flatMap(([title, lines]) => [title, ...lines.map(printLine)])
    .join('\n')}\n`;
}

function printLine({ text, why }: Line): string {
  return why === undefined ? `  ${text}` : `  ${text.padEnd(WHY_COLUMN)}  # ${why}`;
}

const BIT_NAMES: Readonly<Record<NsKind, string>> = {
  user: 'CLONE_NEWUSER',
  mnt: 'CLONE_NEWNS',
  pid: 'CLONE_NEWPID',
  net: 'CLONE_NEWNET',
  ipc: 'CLONE_NEWIPC',
  uts: 'CLONE_NEWUTS',
  cgroup: 'CLONE_NEWCGROUP',
  time: 'CLONE_NEWTIME',
};

function namespaceLines(launch: Launch, why: Why): Line[] {
  const { unshare = 0n, join = [], uidCount = 0n } = launch.namespaces ?? {};
  const kinds = Object.keys(NS_FLAGS) as NsKind[];
  const lines = kinds.map((ns) => {
    const bit = BigInt(NS_FLAGS[ns]);
    const joined = join.filter((one) => one.namespace === bit).map((one) => `joined: ${one.container}`);
    const how = [...((unshare & bit) === 0n ? [] : ['new']), ...joined].join(', ') || "the host's";
    const flag = `${BIT_NAMES[ns]} 0x${NS_FLAGS[ns].toString(16).padStart(8, '0')}`;
    return { text: `${ns.padEnd(7)} ${flag.padEnd(27)} ${how}`, why: why(`namespace ${ns}`) };
  });
  const known = kinds.reduce((bits, ns) => bits | BigInt(NS_FLAGS[ns]), 0n);
  const odd = join.filter((one) => !kinds.some((ns) => BigInt(NS_FLAGS[ns]) === one.namespace));
  const strange = [
    ...((unshare & ~known) === 0n ? [] : [{ text: `unknown bits 0x${(unshare & ~known).toString(16)}` }]),
    ...odd.map((one) => ({ text: `unknown namespace 0x${one.namespace.toString(16)} of ${one.container}` })),
  ];
  return [
    ...lines,
    ...strange,
    {
      text: `ids     ${uidCount === 0n ? 'those of the user namespace it lives in' : `${uidCount} mapped from 0`}`,
      why: why('ids'),
    },
  ];
}

function rootLines(root: Root, why: Why): Line[] {
  const access = root.readOnly ? 'read-only' : 'writable';
  if (root.source?.$case === 'directory') {
    return [{ text: `directory, descriptor ${root.source.value.descriptor}, ${access}`, why: why('root') }];
  }
  const layers = root.source?.value.layers ?? [];
  return [
    { text: `image of ${layers.length} layers, topmost first, ${access}`, why: why('root') },
    ...layers.map((layer, i) => ({ text: `  ${String(i + 1).padStart(3)} ${layer}` })),
  ];
}

const FILESYSTEMS = ['unspecified', 'proc', 'sysfs', 'dev', 'devpts', 'mqueue', 'cgroup'];
const FILES = ['unspecified', 'hostname', 'hosts', 'resolv.conf'];
const PROPAGATIONS: Readonly<Record<number, string>> = {
  [Propagation.PROPAGATION_PRIVATE]: 'private',
  [Propagation.PROPAGATION_SLAVE]: 'slave',
  [Propagation.PROPAGATION_SHARED]: 'shared',
};

function mountLines(mount: Mount, why: Why): Line[] {
  const flags = [
    mount.readOnly ? 'ro' : 'rw',
    mount.noSuid ? 'nosuid' : 'suid',
    mount.noDev ? 'nodev' : 'dev',
    mount.noExec ? 'noexec' : 'exec',
  ];
  const head = { text: `${mount.target.padEnd(18)} ${flags.join(',').padEnd(22)} ${sourceText(mount)}` };
  const content = mount.source?.$case === 'file' ? contentLines(mount.source.value.content) : [];
  return [{ ...head, why: why(`mount ${mount.target}`) }, ...content];
}

function sourceText({ source }: Mount): string {
  switch (source?.$case) {
    case 'kernel':
      return FILESYSTEMS[source.value.filesystem] ?? `kernel ${source.value.filesystem}`;
    case 'file':
      return `file ${FILES[source.value.name] ?? source.value.name}`;
    case 'tmpfs': {
      const { sizeBytes, mode, uid, gid } = source.value;
      const size = sizeBytes === 0n ? 'half of memory' : `${sizeBytes} bytes`;
      return `tmpfs of ${size}, mode ${mode.toString(8).padStart(4, '0')}, owner ${uid}:${gid}`;
    }
    case 'bind': {
      const { descriptor, recursive, file, propagation } = source.value;
      const kind = `${recursive ? 'recursive ' : ''}bind of ${file ? 'file' : 'directory'}`;
      return `${kind}, descriptor ${descriptor}, ${PROPAGATIONS[propagation] ?? propagation}`;
    }
    default:
      return 'nothing';
  }
}

/** The text line by line, and that its last line has no end where it has none; bytes that are no text in hexadecimal. */
function contentLines(content: Uint8Array): Line[] {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return [{ text: `    | ${[...content].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}` }];
  }
  const lines = text.split('\n').map((line) => JSON.stringify(line).slice(1, -1).replaceAll('\\t', '\t'));
  if (lines.at(-1) === '') lines.pop();
  else lines.push('(no newline at the end)');
  return lines.map((line) => ({ text: `    | ${line}` }));
}

function deviceLines(launch: Launch, why: Why): Line[] {
  return launch.devices.map(({ path, block, major, minor, mode, uid, gid }) => ({
    text: `${path.padEnd(12)} ${block ? 'block' : 'char'} ${major}:${minor} mode ${mode.toString(8).padStart(4, '0')} owner ${uid}:${gid}`,
    why: why(`device ${path}`),
  }));
}

function volumeLines(plan: Explained): Line[] {
  return plan.reasons
    .filter((reason) => reason.about.startsWith('volume '))
    .map((reason) => ({ text: reason.about.slice(7), why: reason.text }));
}

function maskLines({ hardening }: Launch, why: Why): Line[] {
  const { maskedPaths = [], readOnlyPaths = [] } = hardening ?? {};
  const lines = [
    ...maskedPaths.map((path) => ({ text: `hidden     ${path}` })),
    ...readOnlyPaths.map((path) => ({ text: `read-only  ${path}` })),
  ];
  return lines.length === 0
    ? [{ text: 'none', why: why('masks') }]
    : lines.map((line, i) => (i === 0 ? { ...line, why: why('masks') } : line));
}

function nameLines(launch: Launch, why: Why): Line[] {
  const { hostname, domainname } = launch;
  return [
    { text: `hostname    ${hostname === '' ? '(untouched)' : hostname}`, why: why('hostname') },
    { text: `domainname  ${domainname === '' ? '(untouched)' : domainname}` },
  ];
}

function limitLines(limits: Limits | undefined, cgroup: Pick<CgroupHost, 'version'>, why: Why): Line[] {
  const files: CgroupFile[] = limits === undefined ? [] : cgroupFiles(limits, cgroup.version);
  if (files.length === 0) return [{ text: "no limit: the files keep the kernel's defaults" }];
  return files.map(({ file, value, about }) => ({
    text: `${file.padEnd(32)} ${value}`,
    why: about.map(why).filter(Boolean).join('; ') || undefined,
  }));
}

function hardeningLines({ hardening, process: who }: Launch, why: Why): Line[] {
  const seccomp =
    hardening?.seccomp === Seccomp.SECCOMP_DEFAULT
      ? 'default'
      : hardening?.seccomp === Seccomp.SECCOMP_UNCONFINED
        ? 'unconfined'
        : `${hardening?.seccomp}`;
  const nnp = who?.noNewPrivileges === true ? 'on' : 'off';
  return [
    { text: `seccomp       ${seccomp}`, why: why('seccomp') },
    { text: `no_new_privs  ${nnp}`, why: why('no_new_privs') },
    ...(hardening?.sysctls ?? []).map(({ name, value }) => ({
      text: `sysctl ${name} = ${value}`,
      why: why(`sysctl ${name}`),
    })),
  ];
}

function processLines(who: Process, why: Why): Line[] {
  const number = (value: bigint): string => (value === UNLIMITED ? 'unlimited' : `${value}`);
  return [
    { text: `uid ${who.uid}, gid ${who.gid}, groups ${who.groups.join(' ') || 'none'}`, why: why('user') },
    { text: `cwd ${JSON.stringify(who.cwd)}`, why: why('cwd') },
    { text: `umask ${who.umask.toString(8).padStart(4, '0')}` },
    { text: `oom_score_adj ${who.oomScoreAdj}` },
    ...capabilityLines(who, why),
    ...who.rlimits.map(({ resource, soft, hard }) => ({
      text: `rlimit ${rlimitName(resource).padEnd(10)} soft ${number(soft)}, hard ${number(hard)}`,
      why: why(`rlimit ${rlimitName(resource)}`),
    })),
    ...who.env.map((text, i) => ({ text: `env ${JSON.stringify(text)}`, why: i === 0 ? why('env') : undefined })),
  ];
}

function capabilityLines({ capabilities }: Process, why: Why): Line[] {
  const names = (set: bigint | undefined): string => {
    const known = capabilityNames(set ?? 0n).map((name) => name.slice(4).toLowerCase());
    return known.length === 0 ? 'none' : known.join(' ');
  };
  const sets = ['bounding', 'permitted', 'effective', 'inheritable', 'ambient'] as const;
  return sets.map((set, i) => ({
    text: `capabilities ${set}: ${names(capabilities?.[set])} (0x${(capabilities?.[set] ?? 0n).toString(16)})`,
    why: i === 0 ? why('capabilities') : undefined,
  }));
}

function stdioLines({ stdio }: Launch): Line[] {
  const { tty = false, stdin = false, columns = 0, rows = 0 } = stdio ?? {};
  const input = stdin ? 'open' : '/dev/null';
  const size = columns === 0 && rows === 0 ? '' : `, ${columns} columns, ${rows} rows`;
  return [{ text: tty ? `a terminal${size}; input ${input}` : `pipes${size}; input ${input}` }];
}

function execLines({ init, process: who }: Launch, why: Why): Line[] {
  const files = (who?.executables ?? []).map((file, i) => ({
    text: `${i === 0 ? 'execve' : 'else  '} ${JSON.stringify(file)}`,
  }));
  return [
    { text: init ? 'PID 1 is the reaper' : 'PID 1 is the program', why: why('init') },
    { text: `argv ${JSON.stringify(who?.argv ?? [])}`, why: why('argv') },
    ...files,
  ];
}
