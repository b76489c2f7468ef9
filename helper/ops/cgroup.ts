// A container's cgroups: made with all settings before a process enters, removed after the last one left. A hostile engine can name knobs of a
// closed list and numbers that helper/decode has bounded; which file that is in is decided here, and the group's name is the container's id.
import * as fs from 'node:fs';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DeviceNode, type DeviceRule, Knob, type Limits } from '../../proto/gen/berth/helper/v1/plan.ts';
import { ThrottleKind } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedLaunch } from '../decode/checked.ts';
import type { Cgroups } from '../lower/host.ts';
import type { CgroupHost, Controller } from './cgroup-host.ts';
import { Failed, isRefusal, step, unless } from './failed.ts';
import { readText } from './files.ts';

// The file of each knob; it belongs to the controller that its name begins with.
type Knobs = Readonly<Record<number, string>>;
const V1: Knobs = {
  [Knob.KNOB_CPU_PERIOD_US]: 'cpu.cfs_period_us',
  [Knob.KNOB_CPU_QUOTA_US]: 'cpu.cfs_quota_us',
  [Knob.KNOB_CPU_SHARES]: 'cpu.shares',
  [Knob.KNOB_MEMORY_MAX_BYTES]: 'memory.limit_in_bytes',
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: 'memory.memsw.limit_in_bytes',
  [Knob.KNOB_MEMORY_LOW_BYTES]: 'memory.soft_limit_in_bytes',
  [Knob.KNOB_PIDS_MAX]: 'pids.max',
  [Knob.KNOB_IO_WEIGHT]: 'blkio.weight',
  [Knob.KNOB_OOM_KILL_DISABLE]: 'memory.oom_control',
  [Knob.KNOB_MEMORY_SWAPPINESS]: 'memory.swappiness',
};
// Period and quota are one file on v2, see writeCpuMax.
const V2: Knobs = {
  [Knob.KNOB_CPU_WEIGHT]: 'cpu.weight',
  [Knob.KNOB_MEMORY_MAX_BYTES]: 'memory.max',
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: 'memory.swap.max',
  [Knob.KNOB_MEMORY_LOW_BYTES]: 'memory.low',
  [Knob.KNOB_PIDS_MAX]: 'pids.max',
  [Knob.KNOB_IO_WEIGHT]: 'io.weight',
};
/** The file of other kernels for the same number: since 5.0 only BFQ has weights. */
const OTHERWISE: Readonly<Record<string, string>> = { 'blkio.weight': 'blkio.bfq.weight' };
const THROTTLE: Readonly<Record<number, readonly [v1: string, v2: string]>> = {
  [ThrottleKind.THROTTLE_KIND_READ_BPS]: ['read_bps_device', 'rbps'],
  [ThrottleKind.THROTTLE_KIND_WRITE_BPS]: ['write_bps_device', 'wbps'],
  [ThrottleKind.THROTTLE_KIND_READ_IOPS]: ['read_iops_device', 'riops'],
  [ThrottleKind.THROTTLE_KIND_WRITE_IOPS]: ['write_iops_device', 'wiops'],
};

/** The container's groups for lowering; what is opened closes with `open`. */
export function openGroups(host: CgroupHost, id: string, open: DisposableStack): Cgroups {
  const [first] = host.parents;
  if (first === undefined) return { kind: 'none' };
  if (host.version === 2) {
    const directory = fs.openSync(`${first}/${id}`, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    return { kind: 'v2', directory: open.adopt(directory, fs.closeSync) };
  }
  const name = (parent: string) => basename(dirname(parent));
  const groups = host.parents.map((parent, i) => ({ name: name(parent), parent: host.descriptors[i] ?? -1, path: id }));
  return { kind: 'v1', groups };
}

/** Makes the container's groups, with its limits. Throws Failed, with nothing left, where the host lacks a controller that a limit needs. */
export function makeCgroups(host: CgroupHost, { id, limits, devices }: CheckedLaunch): void {
  try {
    for (const parent of host.parents)
      step('make cgroup', () => fs.mkdirSync(`${parent}/${id}`, { recursive: true, mode: 0o755 }));
    limitDevices(host, id, devices);
    applyLimits(host, id, limits);
  } catch (error) {
    for (const parent of host.parents) tryRemove(`${parent}/${id}`);
    throw error;
  }
}

type Write = (file: string, ...texts: readonly string[]) => void;

/** Writes texts to a file of the group, each by a write of its own. */
function writerOf(host: CgroupHost, id: string): Write {
  return (file, ...texts) => {
    const controller = file.slice(0, file.indexOf('.')) as Controller;
    const group = `${host.of.get(controller)}/${id}`;
    if (!host.of.has(controller))
      throw new Failed(`set ${file}`, `this host has no ${controller} cgroup controller that Berth can use`);
    const other = OTHERWISE[file];
    const name = other !== undefined && !fs.existsSync(`${group}/${file}`) ? other : file;
    step(`set ${name} to ${texts.join(', ')}`, () => {
      const fd = fs.openSync(`${group}/${name}`, 'w');
      try {
        for (const text of texts) fs.writeSync(fd, text);
      } finally {
        fs.closeSync(fd);
      }
    });
  };
}

/** Writes what the limits name and nothing else. */
export function applyLimits(host: CgroupHost, id: string, limits: Limits): void {
  const write = writerOf(host, id);
  const values = new Map(limits.settings.map(({ knob, value }) => [knob as number, value]));
  const table = host.version === 2 ? V2 : V1;
  if (host.version === 2) writeCpuMax({ host, id, values }, write);
  for (const knob of inOrder(host, id, values)) {
    const file = table[knob];
    const value = values.get(knob) ?? 0n;
    if (file === undefined) throw new Failed('set limit', `knob ${knob} does not exist on cgroup v${host.version}`);
    const isWord = value < 0n && (host.version === 2 || file === 'pids.max');
    write(file, isWord ? 'max' : String(value));
  }
  for (const { kind, major, minor, value } of limits.throttles) {
    const [v1, v2] = THROTTLE[kind] ?? [];
    if (v1 === undefined) throw new Failed('set throttle', `kind ${kind} is not known`);
    if (host.version === 2) write('io.max', `${major}:${minor} ${v2}=${value}`);
    else write(`blkio.throttle.${v1}`, `${major}:${minor} ${value}`);
  }
  if (limits.deviceRules.length > 0 && hasDevices(host)) write('devices.allow', ...limits.deviceRules.map(ruleText));
  if (limits.cpus !== '') write('cpuset.cpus', limits.cpus);
  if (limits.mems !== '') write('cpuset.mems', limits.mems);
}

type Values = { host: CgroupHost; id: string; values: Map<number, bigint> };

/** cpu.max holds quota and period; what is not named stays. */
function writeCpuMax({ host, id, values }: Values, write: Write): void {
  const quota = values.get(Knob.KNOB_CPU_QUOTA_US);
  const period = values.get(Knob.KNOB_CPU_PERIOD_US);
  values.delete(Knob.KNOB_CPU_QUOTA_US);
  values.delete(Knob.KNOB_CPU_PERIOD_US);
  if (quota === undefined && period === undefined) return;
  const old =
    readText(`${host.of.get('cpu')}/${id}/cpu.max`)
      ?.trim()
      .split(' ') ?? [];
  const newQuota = quota === undefined ? (old[0] ?? 'max') : quota < 0n ? 'max' : quota;
  write('cpu.max', `${newQuota} ${period ?? old[1] ?? 100_000}`);
}

/** The kernel checks each write alone: on v1 memory must never exceed memory and swap, so which is written first depends on the direction. */
function inOrder(host: CgroupHost, id: string, values: Map<number, bigint>): number[] {
  const knobs = [...values.keys()].sort((a, b) => a - b);
  const swap = values.get(Knob.KNOB_MEMORY_SWAP_MAX_BYTES);
  if (host.version !== 1 || swap === undefined || !values.has(Knob.KNOB_MEMORY_MAX_BYTES)) return knobs;
  const now = BigInt(readText(`${host.of.get('memory')}/${id}/memory.memsw.limit_in_bytes`)?.trim() ?? 0);
  const raises = swap < 0n || swap > now;
  const rest = knobs.filter((knob) => knob !== Knob.KNOB_MEMORY_SWAP_MAX_BYTES);
  return raises ? [Knob.KNOB_MEMORY_SWAP_MAX_BYTES, ...rest] : [...rest, Knob.KNOB_MEMORY_SWAP_MAX_BYTES];
}

// Which devices a container may open: the nodes it was given, terminals, and what policy allowed beside. It is the second wall: nodes made by the
// container are on file systems where none opens. Only cgroup v1 has a controller for it that takes text.
// Usual are terminals, /dev/tty and /dev/ptmx; making a node is not opening it. Source: moby, daemon/pkg/oci/defaults.go; without 5:1, which is the
// host's console: the container's own is one of its terminals.
const USUAL = ['c 136:* rwm', 'c 5:0 rwm', 'c 5:2 rwm', 'c *:* m', 'b *:* m'];

function hasDevices(host: CgroupHost): boolean {
  return host.version === 1 && host.of.has('devices');
}

function limitDevices(host: CgroupHost, id: string, nodes: readonly DeviceNode[]): void {
  if (!hasDevices(host)) return;
  const write = writerOf(host, id);
  const own = nodes.map((node) => `${node.block ? 'b' : 'c'} ${node.major}:${node.minor} rwm`);
  write('devices.deny', 'a');
  write('devices.allow', ...new Set([...USUAL, ...own]));
}

function ruleText(rule: DeviceRule): string {
  const number = (value: bigint): string => (value < 0n ? '*' : String(value));
  const access = `${rule.read ? 'r' : ''}${rule.write ? 'w' : ''}${rule.mknod ? 'm' : ''}`;
  return `${rule.block ? 'b' : 'c'} ${number(rule.major)}:${number(rule.minor)} ${access}`;
}

// The freezer's files: where it is told a word, and where it tells one when it is done (v2 answers later than it is asked).
const FREEZER = {
  1: { ask: 'freezer.state', tell: 'freezer.state', words: ['THAWED', 'FROZEN'], done: ['THAWED', 'FROZEN'] },
  2: { ask: 'cgroup.freeze', tell: 'cgroup.events', words: ['0', '1'], done: ['frozen 0', 'frozen 1'] },
} as const;

export function isFrozen(host: CgroupHost, id: string): boolean {
  const { tell, done } = FREEZER[host.version || 2];
  return host.of.has('freezer') && (readText(`${host.of.get('freezer')}/${id}/${tell}`) ?? '').includes(done[1]);
}

/** Freezes or thaws; returns when the kernel says it is done, throws Failed after two seconds without. */
export async function freeze(host: CgroupHost, id: string, frozen: boolean): Promise<void> {
  const group = `${host.of.get('freezer')}/${id}`;
  if (!host.of.has('freezer'))
    throw new Failed('freeze', 'this host has no freezer cgroup controller that Berth can use');
  const { ask, tell, words, done } = FREEZER[host.version || 2];
  const [word, answer] = frozen ? [words[1], done[1]] : [words[0], done[0]];
  for (let waitedMs = 0; waitedMs < 2000; waitedMs += 5) {
    // v1: a state of FREEZING may need to be asked again.
    if (waitedMs === 0 || host.version === 1) step('freeze', () => fs.writeFileSync(`${group}/${ask}`, word));
    if (fs.readFileSync(`${group}/${tell}`, 'utf8').includes(answer)) return;
    await sleep(5);
  }
  throw new Failed(frozen ? 'freeze' : 'thaw', `${group}/${tell} did not tell "${answer}" within 2 seconds`);
}

/** Processes in the container's groups. */
function processesIn(host: CgroupHost, id: string): number[] {
  const texts = host.parents.map((parent) => readText(`${parent}/${id}/cgroup.procs`) ?? '');
  return [...new Set(texts.join('\n').split('\n').filter(Boolean).map(Number))];
}

/** Sends SIGKILL to every process in the groups; those that fork meanwhile are met by the caller's next round. */
export function killAll(host: CgroupHost, id: string): number {
  const pids = processesIn(host, id);
  const whole = `${host.parents[0]}/${id}/cgroup.kill`; // there since 5.14
  if (host.version === 2 && pids.length > 0 && fs.existsSync(whole)) fs.writeFileSync(whole, '1');
  else for (const pid of pids) if (pid > 0) unless(['ESRCH'], () => process.kill(pid, 'SIGKILL'));
  return pids.length;
}

/** Whether the OOM killer has ended a process of the container. */
export function oomKilled(host: CgroupHost, id: string): boolean {
  const file = host.version === 2 ? 'memory.events' : 'memory.oom_control';
  return /^oom_kill [1-9]/m.test(readText(`${host.of.get('memory')}/${id}/${file}`) ?? '');
}

/** Kills what is left and removes the groups, again and again for up to ten seconds: a killed process leaves its group only when it is gone. */
export async function removeCgroups(host: CgroupHost, id: string): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += 10) {
    const left = host.parents.filter((parent) => !tryRemove(`${parent}/${id}`));
    if (left.length === 0) return;
    if (waitedMs > 10_000)
      throw new Failed('remove cgroup', `${left[0]}/${id} still holds processes ${processesIn(host, id).join(' ')}`);
    if (killAll(host, id) > 0 && waitedMs === 0) await thaw(host, id);
    await sleep(waitedMs < 50 ? 1 : 10);
  }
}

/** A frozen process does not die of SIGKILL on v1. */
async function thaw(host: CgroupHost, id: string): Promise<void> {
  if (host.version === 1 && host.of.has('freezer')) await freeze(host, id, false);
}

/** Removes a group, and first those that the container made within it; false where there are still processes. */
function tryRemove(group: string): boolean {
  try {
    fs.rmdirSync(group);
    return true;
  } catch (error) {
    if (isRefusal(error, 'ENOENT')) return true;
    if (!isRefusal(error, 'EBUSY', 'ENOTEMPTY')) throw error;
  }
  const within = fs.readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return within.length > 0 && within.every((entry) => tryRemove(`${group}/${entry.name}`)) && tryRemove(group);
}
