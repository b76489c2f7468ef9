// A launch: what must hold of its fields alone and of one beside the other. What the caller may have is not asked here but by proto/policy.
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../../proto/abi/sched.ts';
import {
  type DeviceNode,
  GeneratedName,
  KernelFilesystem,
  type Launch,
  type Mount,
  type Namespaces,
  Propagation,
  type Root,
  Seccomp,
} from '../../proto/gen/berth/helper/v1/plan.ts';
import type { Hardened } from './checked.ts';
import {
  checkEnum,
  checkId,
  checkLayers,
  checkPath,
  checkRange,
  checkText,
  checkUnique,
  DESCRIPTORS_MAX,
  present,
} from './fields.ts';
import { checkDevice, checkLimits } from './limits.ts';
import { MASKABLE, READ_ONLY_ABLE, SYSCTLS } from './lists.ts';
import { must } from './malformed.ts';
import { checkProcess, checkStdio } from './process.ts';

const JOINABLE = [CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUTS, CLONE_NEWCGROUP];
const NEEDS_SAME_USER = [CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUTS];
const ALL = BigInt(JOINABLE.reduce((bits, bit) => bits | bit, CLONE_NEWNS | CLONE_NEWTIME) >>> 0);
const UID_COUNT_MAX = 1n << 20n;

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

/** Checks a launch; `field` is the name by which its own fields are called in refusals. */
export function checkLaunch(launch: Launch, field: string): void {
  checkId(launch.id, `${field}.id`);
  checkRoot(present(launch.root, `${field}.root`), `${field}.root`);
  checkMounts(launch.mounts, `${field}.mounts`);
  checkProcess(present(launch.process, `${field}.process`), `${field}.process`);
  const namespaces = present(launch.namespaces, `${field}.namespaces`);
  checkNamespaces(namespaces, `${field}.namespaces`);
  must(
    namespaces.join.every((join) => join.container !== launch.id),
    `${field}.namespaces.join`,
    'must name another container',
  );
  for (const name of ['hostname', 'domainname'] as const) {
    must(
      /^[A-Za-z0-9._-]{0,64}$/.test(launch[name]),
      `${field}.${name}`,
      'must be at most 64 letters, digits, dots, dashes or underscores',
    );
    must(
      launch[name] === '' || isNew(namespaces, CLONE_NEWUTS),
      `${field}.${name}`,
      'needs a UTS namespace of its own',
    );
  }
  checkLimits(present(launch.limits, `${field}.limits`), `${field}.limits`);
  const hardening = present(launch.hardening, `${field}.hardening`);
  checkHardening(hardening, `${field}.hardening`);
  for (const [i, sysctl] of hardening.sysctls.entries()) {
    must(
      isNew(namespaces, SYSCTLS.get(sysctl.name) ?? 0),
      `${field}.hardening.sysctls[${i}]`,
      'needs a namespace of its own for it',
    );
  }
  checkDevices(launch.devices, `${field}.devices`);
  checkStdio(present(launch.stdio, `${field}.stdio`), `${field}.stdio`);
}

function isNew(namespaces: Namespaces, bit: number): boolean {
  return (namespaces.unshare & BigInt(bit)) !== 0n;
}

function checkRoot(root: Root, field: string): void {
  const source = present(root.source, `${field}.source`);
  if (source.$case === 'image') checkLayers(source.value.layers, `${field}.image.layers`);
  else checkDescriptor(source.value.descriptor, `${field}.directory.descriptor`);
}

function checkDescriptor(index: number, field: string): void {
  checkRange(index, field, [0, DESCRIPTORS_MAX - 1]);
}

function checkMounts(mounts: readonly Mount[], field: string): void {
  must(mounts.length <= 256, field, 'must be at most 256');
  for (const [i, mount] of mounts.entries()) checkMount(mount, `${field}[${i}]`);
  checkUnique(
    mounts.map((mount) => mount.target),
    field,
  );
  for (const [i, later] of mounts.entries()) {
    const covers = mounts.slice(0, i).some((earlier) => earlier.target.startsWith(`${later.target}/`));
    must(!covers, `${field}[${i}].target`, 'must come before what lies beneath it');
  }
}

function checkMount(mount: Mount, field: string): void {
  checkPath(mount.target, `${field}.target`);
  must(mount.target !== '/', `${field}.target`, 'must not be the root');
  const source = present(mount.source, `${field}.source`);
  switch (source.$case) {
    case 'kernel':
      checkEnum(source.value.filesystem, `${field}.kernel.filesystem`, KernelFilesystem);
      must(
        mount.target === KERNEL_TARGET[source.value.filesystem],
        `${field}.target`,
        `must be ${KERNEL_TARGET[source.value.filesystem]}`,
      );
      return;
    case 'file':
      checkEnum(source.value.name, `${field}.file.name`, GeneratedName);
      must(
        mount.target === FILE_TARGET[source.value.name],
        `${field}.target`,
        `must be ${FILE_TARGET[source.value.name]}`,
      );
      must(source.value.content.length <= 32_768, `${field}.file.content`, 'must be at most 32768 bytes');
      return;
    case 'bind':
      checkDescriptor(source.value.descriptor, `${field}.bind.descriptor`);
      checkEnum(source.value.propagation, `${field}.bind.propagation`, Propagation);
      break;
    case 'tmpfs':
      checkRange(source.value.sizeBytes, `${field}.tmpfs.size_bytes`, [0n, 2n ** 53n - 1n]);
      checkRange(source.value.mode, `${field}.tmpfs.mode`, [0, 0o7777]);
      break;
  }
  // Beneath /proc and /sys lie the masks; the device directory itself is the helper's tmpfs.
  const kernelOwned = /^\/(proc|sys)(\/|$)|^\/dev$/.test(mount.target);
  must(!kernelOwned, `${field}.target`, 'must not be /dev, nor in /proc or /sys');
}

function checkNamespaces(namespaces: Namespaces, field: string): void {
  must((namespaces.unshare & ~ALL) === 0n, `${field}.unshare`, 'must hold CLONE_NEW* bits only');
  must(isNew(namespaces, CLONE_NEWNS), `${field}.unshare`, 'must hold the mount namespace');
  const joined = new Set<number>();
  for (const [i, join] of namespaces.join.entries()) {
    const bit = JOINABLE.find((one) => BigInt(one) === join.namespace);
    must(bit !== undefined, `${field}.join[${i}].namespace`, 'must be the one bit of a namespace that can be joined');
    must(!isNew(namespaces, bit), `${field}.join[${i}].namespace`, 'must not be made and joined');
    must(!joined.has(bit), `${field}.join[${i}].namespace`, 'must not name the same thing twice');
    checkId(join.container, `${field}.join[${i}].container`);
    joined.add(bit);
  }
  // A namespace obeys the user namespace that made it; that the joined ones are all of one is checked against the records.
  const ofOther = NEEDS_SAME_USER.some((bit) => joined.has(bit)) && isNew(namespaces, CLONE_NEWUSER);
  must(!ofOther, `${field}.join`, 'net, ipc, pid and uts cannot be joined from a user namespace of its own');
  const least = isNew(namespaces, CLONE_NEWUSER) ? 1n : 0n;
  checkRange(namespaces.uidCount, `${field}.uid_count`, [least, least * UID_COUNT_MAX]);
}

/** Hardening of a launch. An exec gives its seccomp profile alone. */
export function checkHardening(hardening: Hardened, field: string): void {
  checkEnum(hardening.seccomp, `${field}.seccomp`, Seccomp);
  for (const [i, path] of hardening.maskedPaths.entries()) {
    must(MASKABLE.has(path), `${field}.masked_paths[${i}]`, 'must be on the list of paths that can be masked');
  }
  for (const [i, path] of hardening.readOnlyPaths.entries()) {
    must(
      READ_ONLY_ABLE.has(path),
      `${field}.read_only_paths[${i}]`,
      'must be on the list of paths that can be made read-only',
    );
  }
  checkUnique(hardening.maskedPaths, `${field}.masked_paths`);
  checkUnique(hardening.readOnlyPaths, `${field}.read_only_paths`);
  for (const [i, sysctl] of hardening.sysctls.entries()) {
    must(SYSCTLS.has(sysctl.name), `${field}.sysctls[${i}].name`, 'must be on the list of namespaced sysctls');
    must(
      /^[\x20-\x7e\t]{1,256}$/.test(sysctl.value),
      `${field}.sysctls[${i}].value`,
      'must be 1 to 256 printable characters',
    );
  }
  checkUnique(
    hardening.sysctls.map((sysctl) => sysctl.name),
    `${field}.sysctls`,
  );
}

function checkDevices(devices: readonly DeviceNode[], field: string): void {
  must(devices.length <= 128, field, 'must be at most 128');
  for (const [i, device] of devices.entries()) {
    checkText(device.path, `${field}[${i}].path`, 255);
    checkPath(`/${device.path}`, `${field}[${i}].path`);
    must(
      /^[A-Za-z0-9]/.test(device.path) && device.path.split('/').length <= 4,
      `${field}[${i}].path`,
      'must be a name beneath /dev',
    );
    must(
      !/^(pts|mqueue|fd|shm)(\/|$)|^(stdin|stdout|stderr|ptmx|core|console)$/.test(device.path),
      `${field}[${i}].path`,
      'is made by the helper',
    );
    checkDevice(device.major, device.minor, `${field}[${i}]`);
    checkRange(device.mode, `${field}[${i}].mode`, [0, 0o777]);
  }
  checkUnique(
    devices.map((device) => device.path),
    field,
  );
}
