// What plans need to know of this machine: from the helper's hello, and from files anybody may read.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { hostname, release, totalmem } from 'node:os';
import { CgroupVersion, type HelloReply } from '../../proto/gen/berth/helper/v1/request.ts';
import type { CgroupHost, DeviceFact, HostFacts } from '../plan/facts.ts';
import { RLIMIT_NAMES, type RlimitName } from '../plan/rlimits.ts';

/** Read anew for each plan: the two texts and the name may change at any time; the rest is kept as long as the helper is the same. */
export function readHostFacts(hello: HelloReply): HostFacts {
  return {
    ...lasting(hello),
    hostname: hostname(),
    hosts: readText('/etc/hosts'),
    resolvConf: readText('/etc/resolv.conf'),
  };
}

let kept: { readonly instance: string; readonly facts: HostFacts } | undefined;

function lasting(hello: HelloReply): HostFacts {
  const instance = hello.instance.toString('hex');
  if (kept?.instance === instance) return kept.facts;
  const facts: HostFacts = {
    kernel: hello.kernel === '' ? release() : hello.kernel,
    architecture: process.arch === 'arm64' ? 'arm64' : 'x64',
    emulated: emulated(),
    cgroup: cgroupHost(hello),
    capabilities: hello.capabilities,
    rootless: hello.rootless,
    uidCountMax: Number(hello.uidCountMax),
    hostname: '',
    memoryBytes: BigInt(totalmem()),
    cpus: firstText(
      ['/sys/fs/cgroup/cpuset/cpuset.cpus', '/sys/fs/cgroup/cpuset.cpus.effective', '/sys/devices/system/cpu/online'],
      '0',
    ),
    mems: firstText(
      ['/sys/fs/cgroup/cpuset/cpuset.mems', '/sys/fs/cgroup/cpuset.mems.effective', '/sys/devices/system/node/online'],
      '0',
    ),
    rlimits: hardLimits(hello.helperPid),
    hosts: '',
    resolvConf: '',
    privilegedDevices: [],
  };
  kept = { instance, facts };
  return facts;
}

/** A text file; empty where it cannot be read. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error) return '';
    throw error;
  }
}

function firstText(paths: readonly string[], otherwise: string): string {
  return paths.map((path) => readText(path).trim()).find((text) => text !== '') ?? otherwise;
}

function cgroupHost(hello: HelloReply): CgroupHost {
  const facts = hello.cgroups;
  const version =
    facts?.version === CgroupVersion.CGROUP_VERSION_V1
      ? 'v1'
      : facts?.version === CgroupVersion.CGROUP_VERSION_V2
        ? 'v2'
        : 'none';
  return { version, controllers: facts?.controllers ?? [], swap: countsSwap(version), ioWeight: hasIoWeight(version) };
}

/** v1 has a file for it at the hierarchy's root; v2 has one in every group but the root, so our own tells. */
function countsSwap(version: CgroupHost['version']): boolean {
  if (version === 'v1') return existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes');
  if (version === 'none') return false;
  const own = /^0::(.*)$/m.exec(readText('/proc/self/cgroup'))?.[1] ?? '/';
  return existsSync(`/sys/fs/cgroup${own}/memory.swap.max`) || readText('/proc/swaps').trim().split('\n').length > 1;
}

/** Which scheduler has weights depends on kernel and version; the groups there are tell. */
function hasIoWeight(version: CgroupHost['version']): boolean {
  const root = version === 'v1' ? '/sys/fs/cgroup/blkio' : '/sys/fs/cgroup';
  const files = version === 'v1' ? ['blkio.weight', 'blkio.bfq.weight'] : ['io.weight'];
  if (version === 'none' || !existsSync(root)) return false;
  const groups = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return groups.some(({ name }) => files.some((file) => existsSync(`${root}/${name}/${file}`)));
}

/** Architectures with an interpreter that the kernel keeps open (flag F), so that it works inside a container. */
function emulated(): ('x64' | 'arm64')[] {
  const names = { x64: 'x86_64', arm64: 'aarch64' } as const;
  return (['x64', 'arm64'] as const).filter((one) => {
    if (one === process.arch) return false;
    const text = readText(`/proc/sys/fs/binfmt_misc/qemu-${names[one]}`);
    return text.startsWith('enabled') && /^flags: .*F/m.test(text);
  });
}

// The names of /proc/PID/limits.
const LIMIT_LINES: Readonly<Record<RlimitName, string>> = {
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
  as: 'Max address space',
};

/** The helper's hard limits; it has the same as we where it does not show them. */
function hardLimits(helperPid: number): Partial<Record<RlimitName, bigint>> {
  const text = readText(`/proc/${helperPid}/limits`) || readText('/proc/self/limits');
  const limits: Partial<Record<RlimitName, bigint>> = {};
  for (const name of RLIMIT_NAMES) {
    const line = text.split('\n').find((one) => one.startsWith(LIMIT_LINES[name]));
    const hard = line?.slice(LIMIT_LINES[name].length).trim().split(/\s+/)[1];
    if (hard !== undefined && /^\d+$/.test(hard)) limits[name] = BigInt(hard);
  }
  return limits;
}

const BLOCK_DEVICE = 0o060000;
const CHARACTER_DEVICE = 0o020000;
const KIND_BITS = 0o170000;

/** The device node at a path of the host; undefined where there is none. */
export function readDevice(path: string): DeviceFact | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  const kind = stat.mode & KIND_BITS;
  if (kind !== BLOCK_DEVICE && kind !== CHARACTER_DEVICE) return undefined;
  // Source: glibc sysdeps/unix/sysv/linux/makedev.h; within 2^53 for all numbers the kernel gives out.
  const number = BigInt(stat.rdev);
  const major = Number(((number >> 8n) & 0xfffn) | ((number >> 32n) & ~0xfffn));
  const minor = Number((number & 0xffn) | ((number >> 12n) & 0xffffff00n));
  return { path, block: kind === BLOCK_DEVICE, major, minor, mode: stat.mode & 0o777 };
}
