// A launch: what must hold of its fields alone and of one beside the other. What the caller may have is not asked here but by proto/policy.
import * as sched from '../../proto/abi/sched.gen.ts';
import * as plan from '../../proto/gen/berth/helper/v1/plan.ts';
import * as fields from './fields.ts';
import { DEVICE, LIMITS } from './limits.ts';
import { MASKABLE, READ_ONLY_ABLE, SYSCTLS } from './lists.ts';
import { must } from './malformed.ts';
import { PROCESS, STDIO } from './process.ts';

const { among, any, choice, id, layers, list, matching, message, named, path, range, text } = fields;
const { CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNS } = sched;
const OF_ONE_USER = [CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUTS];
const JOINABLE = [...OF_ONE_USER, CLONE_NEWUSER, sched.CLONE_NEWCGROUP];
const ALL = BigInt(JOINABLE.reduce((bits, bit) => bits | bit, CLONE_NEWNS | sched.CLONE_NEWTIME) >>> 0);
const UID_COUNT_MAX = 1n << 20n;
const BYTES_MAX = 2n ** 53n - 1n;

// A kernel file system has one place, a generated file too: the engine cannot put proc where a program looks for its own files.
const { KernelFilesystem, GeneratedName } = plan;
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

const descriptor = range(0, 199);
const ROOT = message<plan.Root>({
  source: choice({
    image: message<plan.ImageRoot>({ layers }),
    directory: message<plan.DirectoryRoot>({ descriptor }),
  }),
  readOnly: any,
});

const content: fields.Rule<Uint8Array> = (bytes, field) =>
  must(bytes.length <= 32_768, field, 'must be at most 32768 bytes');
const MOUNT = message<plan.Mount>(
  {
    source: choice<NonNullable<plan.Mount['source']>>({
      bind: message<plan.BindMount>({ descriptor, recursive: any, file: any, propagation: named(plan.Propagation) }),
      tmpfs: message<plan.TmpfsMount>({ sizeBytes: range(0n, BYTES_MAX), mode: range(0, 0o7777), uid: any, gid: any }),
      kernel: message<plan.KernelMount>({ filesystem: named(KernelFilesystem) }),
      file: message<plan.GeneratedFile>({ name: named(GeneratedName), content }),
    }),
    target: path,
    ...{ readOnly: any, noSuid: any, noDev: any, noExec: any },
  },
  ({ source, target }, field) => {
    if (source?.$case === 'kernel' || source?.$case === 'file') {
      const own = source.$case === 'kernel' ? KERNEL_TARGET[source.value.filesystem] : FILE_TARGET[source.value.name];
      return must(target === own, `${field}.target`, `must be ${own}`);
    }
    // Beneath /proc and /sys lie the masks; the device directory itself is the helper's tmpfs.
    const helpers = /^\/((proc|sys)(\/.*)?|dev)?$/.test(target);
    return must(!helpers, `${field}.target`, 'must not be the root or /dev, nor in /proc or /sys');
  },
);

const mounts: fields.Rule<readonly plan.Mount[]> = (all, field) => {
  list(MOUNT, { most: 256, once: ({ target }) => target })(all, field);
  for (const [i, later] of all.entries()) {
    const covers = all.slice(0, i).some((earlier) => earlier.target.startsWith(`${later.target}/`));
    must(!covers, `${field}[${i}].target`, 'must come before what lies beneath it');
  }
};

const isNew = (namespaces: plan.Namespaces, bit: number): boolean => (namespaces.unshare & BigInt(bit)) !== 0n;
const JOIN = message<plan.Join>({
  namespace: (bit, field) =>
    must(
      JOINABLE.some((one) => BigInt(one) === bit),
      field,
      'must be the one bit of a namespace that can be joined',
    ),
  container: id,
});
const NAMESPACES = message<plan.Namespaces>(
  { unshare: any, join: list(JOIN, { most: 8, once: ({ namespace }) => namespace }), uidCount: any },
  (namespaces, field) => {
    const { unshare, join, uidCount } = namespaces;
    must((unshare & ~ALL) === 0n, `${field}.unshare`, 'must hold CLONE_NEW* bits only');
    must(isNew(namespaces, CLONE_NEWNS), `${field}.unshare`, 'must hold the mount namespace');
    for (const [i, { namespace }] of join.entries())
      must((unshare & namespace) === 0n, `${field}.join[${i}].namespace`, 'must not be made and joined');
    // A namespace obeys the user namespace that made it; that the joined ones are all of one is checked against the records.
    const ownUser = isNew(namespaces, CLONE_NEWUSER);
    const obeysOther = join.some(({ namespace }) => OF_ONE_USER.includes(Number(namespace)));
    must(
      !(ownUser && obeysOther),
      `${field}.join`,
      'net, ipc, pid and uts cannot be joined from a user namespace of its own',
    );
    range(ownUser ? 1n : 0n, ownUser ? UID_COUNT_MAX : 0n)(uidCount, `${field}.uid_count`);
  },
);

const SYSCTL = message<plan.Sysctl>({
  name: among(SYSCTLS, 'namespaced sysctls'),
  value: matching(/^[\x20-\x7e\t]{1,256}$/, '1 to 256 printable characters'),
});
/** Hardening of a launch. An exec gives its seccomp profile alone. */
export const HARDENING = message<plan.Hardening>({
  seccomp: named(plan.Seccomp),
  maskedPaths: list(among(MASKABLE, 'paths that can be masked'), { most: 64, once: (one) => one }),
  readOnlyPaths: list(among(READ_ONLY_ABLE, 'paths that can be made read-only'), { most: 64, once: (one) => one }),
  sysctls: list(SYSCTL, { most: 64, once: ({ name }) => name }),
});

const nodePath: fields.Rule<string> = (value, field) => {
  text(255)(value, field);
  path(`/${value}`, field);
  must(/^[A-Za-z0-9]/.test(value) && value.split('/').length <= 4, field, 'must be a name beneath /dev');
  const ours = /^(pts|mqueue|fd|shm)(\/|$)|^(stdin|stdout|stderr|ptmx|core|console)$/;
  must(!ours.test(value), field, 'must not be one that the helper makes');
};
const NODE = message<plan.DeviceNode>({
  path: nodePath,
  block: any,
  ...DEVICE,
  mode: range(0, 0o777),
  // Within the least that a container has: beyond lie other containers' ids.
  uid: range(0, 65_535),
  gid: range(0, 65_535),
});

const hostName = matching(/^[A-Za-z0-9._-]{0,64}$/, 'at most 64 letters, digits, dots, dashes or underscores');
/** Checks a launch; the field is the name by which its own fields are called in refusals. */
export const checkLaunch = message<plan.Launch>(
  {
    id,
    root: ROOT,
    mounts,
    process: PROCESS,
    namespaces: NAMESPACES,
    hostname: hostName,
    domainname: hostName,
    limits: LIMITS,
    hardening: HARDENING,
    devices: list(NODE, { most: 128, once: (node) => node.path }),
    init: any,
    stdio: STDIO,
  },
  (launch, field) => {
    const { namespaces, hardening } = launch;
    if (namespaces === undefined || hardening === undefined) return;
    const other = namespaces.join.every(({ container }) => container !== launch.id);
    must(other, `${field}.namespaces.join`, 'must name another container');
    for (const name of ['hostname', 'domainname'] as const) {
      const right = launch[name] === '' || isNew(namespaces, CLONE_NEWUTS);
      must(right, `${field}.${name}`, 'needs a UTS namespace of its own');
    }
    for (const [i, { name }] of hardening.sysctls.entries()) {
      const right = isNew(namespaces, SYSCTLS.get(name) ?? 0);
      must(right, `${field}.hardening.sysctls[${i}]`, 'needs a namespace of its own for it');
    }
  },
);
