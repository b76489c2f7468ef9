// A container's cgroups: made with all settings before a process enters, removed after the last one left. A hostile engine can name knobs of a
// closed list and numbers that helper/decode has bounded; which file that is in is decided here, and the group's name is the container's id.
import * as fs from 'node:fs';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Knob, type Limits, ThrottleKind } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedLaunch } from '../decode/checked.ts';
import type { Cgroups } from '../lower/host.ts';
import { allowDevices, limitDevices } from './cgroup-devices.ts';
import type { CgroupHost, Controller } from './cgroup-host.ts';
import { Failed, step } from './failed.ts';
import { readText } from './files.ts';

// `else`: the file of other kernels for the same number.
type File = {
  readonly controller: Controller;
  readonly file: string;
  readonly else?: string;
  readonly unlimited?: string;
};
const V1: Readonly<Record<number, File>> = {
  [Knob.KNOB_CPU_PERIOD_US]: { controller: 'cpu', file: 'cpu.cfs_period_us' },
  [Knob.KNOB_CPU_QUOTA_US]: { controller: 'cpu', file: 'cpu.cfs_quota_us' },
  [Knob.KNOB_CPU_SHARES]: { controller: 'cpu', file: 'cpu.shares' },
  [Knob.KNOB_MEMORY_MAX_BYTES]: { controller: 'memory', file: 'memory.limit_in_bytes' },
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: { controller: 'memory', file: 'memory.memsw.limit_in_bytes' },
  [Knob.KNOB_MEMORY_LOW_BYTES]: { controller: 'memory', file: 'memory.soft_limit_in_bytes' },
  [Knob.KNOB_PIDS_MAX]: { controller: 'pids', file: 'pids.max', unlimited: 'max' },
  [Knob.KNOB_IO_WEIGHT]: { controller: 'blkio', file: 'blkio.weight', else: 'blkio.bfq.weight' }, // since 5.0 only BFQ has weights
  [Knob.KNOB_OOM_KILL_DISABLE]: { controller: 'memory', file: 'memory.oom_control' },
  [Knob.KNOB_MEMORY_SWAPPINESS]: { controller: 'memory', file: 'memory.swappiness' },
};
// Period and quota are one file on v2, see writeCpuMax.
const V2: Readonly<Record<number, File>> = {
  [Knob.KNOB_CPU_WEIGHT]: { controller: 'cpu', file: 'cpu.weight' },
  [Knob.KNOB_MEMORY_MAX_BYTES]: { controller: 'memory', file: 'memory.max', unlimited: 'max' },
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: { controller: 'memory', file: 'memory.swap.max', unlimited: 'max' },
  [Knob.KNOB_MEMORY_LOW_BYTES]: { controller: 'memory', file: 'memory.low', unlimited: 'max' },
  [Knob.KNOB_PIDS_MAX]: { controller: 'pids', file: 'pids.max', unlimited: 'max' },
  [Knob.KNOB_IO_WEIGHT]: { controller: 'io', file: 'io.weight' },
};
const THROTTLE: Readonly<Record<number, { v1: string; v2: string }>> = {
  [ThrottleKind.THROTTLE_KIND_READ_BPS]: { v1: 'read_bps_device', v2: 'rbps' },
  [ThrottleKind.THROTTLE_KIND_WRITE_BPS]: { v1: 'write_bps_device', v2: 'wbps' },
  [ThrottleKind.THROTTLE_KIND_READ_IOPS]: { v1: 'read_iops_device', v2: 'riops' },
  [ThrottleKind.THROTTLE_KIND_WRITE_IOPS]: { v1: 'write_iops_device', v2: 'wiops' },
};

/** The container's groups for lowering; the descriptors close with `open`. */
export function openGroups(host: CgroupHost, id: string, open: DisposableStack): Cgroups {
  const groups = host.parents.map((parent) => {
    const directory = open.adopt(
      fs.openSync(`${parent}/${id}`, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY),
      fs.closeSync,
    );
    return { name: basename(dirname(parent)), directory };
  });
  const [first] = groups;
  if (first === undefined) return { kind: 'none' };
  return host.version === 2 ? { kind: 'v2', directory: first.directory } : { kind: 'v1', groups };
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

/** Writes what the limits name and nothing else. */
export function applyLimits(host: CgroupHost, id: string, limits: Limits): void {
  const write = (at: File, text: string) => {
    const parent = host.of.get(at.controller);
    if (parent === undefined)
      throw new Failed(`set ${at.file}`, `this host has no ${at.controller} cgroup controller that Berth can use`);
    const other = at.else !== undefined && !fs.existsSync(`${parent}/${id}/${at.file}`);
    const file = other ? at.else : at.file;
    step(`set ${file} to ${text}`, () => fs.writeFileSync(`${parent}/${id}/${file}`, text));
  };
  const values = new Map(limits.settings.map(({ knob, value }) => [knob as number, value]));
  const table = host.version === 2 ? V2 : V1;
  if (host.version === 2) writeCpuMax({ host, id, values }, write);
  for (const knob of inOrder(host, id, values)) {
    const at = table[knob];
    const value = values.get(knob) ?? 0n;
    if (at === undefined) throw new Failed('set limit', `knob ${knob} does not exist on cgroup v${host.version}`);
    write(at, value < 0n && at.unlimited !== undefined ? at.unlimited : String(value));
  }
  for (const { kind, major, minor, value } of limits.throttles) {
    const names = THROTTLE[kind];
    if (names === undefined) throw new Failed('set throttle', `kind ${kind} is not known`);
    if (host.version === 2) write({ controller: 'io', file: 'io.max' }, `${major}:${minor} ${names.v2}=${value}`);
    else write({ controller: 'blkio', file: `blkio.throttle.${names.v1}` }, `${major}:${minor} ${value}`);
  }
  allowDevices(host, id, limits.deviceRules);
  if (limits.cpus !== '') write({ controller: 'cpuset', file: 'cpuset.cpus' }, limits.cpus);
  if (limits.mems !== '') write({ controller: 'cpuset', file: 'cpuset.mems' }, limits.mems);
}

type Values = { host: CgroupHost; id: string; values: Map<number, bigint> };

/** cpu.max holds quota and period; what is not named stays. */
function writeCpuMax({ host, id, values }: Values, write: (at: File, text: string) => void): void {
  const quota = values.get(Knob.KNOB_CPU_QUOTA_US);
  const period = values.get(Knob.KNOB_CPU_PERIOD_US);
  values.delete(Knob.KNOB_CPU_QUOTA_US);
  values.delete(Knob.KNOB_CPU_PERIOD_US);
  if (quota === undefined && period === undefined) return;
  const [oldQuota = 'max', oldPeriod = '100000'] = (readText(`${host.of.get('cpu')}/${id}/cpu.max`) ?? '')
    .trim()
    .split(' ');
  write(
    { controller: 'cpu', file: 'cpu.max' },
    `${quota === undefined ? oldQuota : quota < 0n ? 'max' : quota} ${period ?? oldPeriod}`,
  );
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

/** Files of the freezer: where it is told, and where it tells that it is done (v2 answers later than it is asked). */
function freezerOf(host: CgroupHost, id: string) {
  const group = `${host.of.get('freezer')}/${id}`;
  if (host.version !== 2)
    return {
      ask: `${group}/freezer.state`,
      tell: `${group}/freezer.state`,
      words: ['THAWED', 'FROZEN'],
      done: ['THAWED', 'FROZEN'],
    };
  return {
    ask: `${group}/cgroup.freeze`,
    tell: `${group}/cgroup.events`,
    words: ['0', '1'],
    done: ['frozen 0', 'frozen 1'],
  };
}

export function isFrozen(host: CgroupHost, id: string): boolean {
  const { tell, done } = freezerOf(host, id);
  return host.of.has('freezer') && (readText(tell) ?? '').includes(done[1] ?? '');
}

/** Freezes or thaws; returns when the kernel says it is done, throws Failed after two seconds without. */
export async function freeze(host: CgroupHost, id: string, frozen: boolean): Promise<void> {
  if (!host.of.has('freezer'))
    throw new Failed('freeze', 'this host has no freezer cgroup controller that Berth can use');
  const { ask, tell, words, done } = freezerOf(host, id);
  for (let waitedMs = 0; waitedMs < 2000; waitedMs += 5) {
    // v1: a state of FREEZING may need to be asked again.
    if (waitedMs === 0 || host.version === 1) step('freeze', () => fs.writeFileSync(ask, words[Number(frozen)] ?? ''));
    if (fs.readFileSync(tell, 'utf8').includes(done[Number(frozen)] ?? '')) return;
    await sleep(5);
  }
  throw new Failed(frozen ? 'freeze' : 'thaw', `${tell} did not tell "${done[Number(frozen)]}" within 2 seconds`);
}

/** Processes in the container's groups. */
export function processesIn(host: CgroupHost, id: string): number[] {
  const groups = new Set(host.parents.map((parent) => `${parent}/${id}`));
  return [
    ...new Set(
      [...groups].flatMap((group) => (readText(`${group}/cgroup.procs`) ?? '').split('\n').filter(Boolean).map(Number)),
    ),
  ];
}

/** Sends SIGKILL to every process in the groups; those that fork meanwhile are met by the caller's next round. */
export function killAll(host: CgroupHost, id: string): number {
  const pids = processesIn(host, id);
  if (host.version === 2 && pids.length > 0) {
    const killed = step('kill cgroup', () => tryWrite(`${host.parents[0]}/${id}/cgroup.kill`, '1'));
    if (killed) return pids.length;
  }
  for (const pid of pids) if (pid > 0) tryKill(pid);
  return pids.length;
}

function tryWrite(path: string, text: string): boolean {
  try {
    fs.writeFileSync(path, text);
    return true;
  } catch {
    return false; // cgroup.kill is there since 5.14
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as { code?: string }).code !== 'ESRCH') throw error;
  }
}

/** Whether the OOM killer has ended a process of the container. */
export function oomKilled(host: CgroupHost, id: string): boolean {
  const group = `${host.of.get('memory')}/${id}`;
  const text = readText(`${group}/${host.version === 2 ? 'memory.events' : 'memory.oom_control'}`) ?? '';
  return /^oom_kill [1-9]/m.test(text);
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

function tryRemove(group: string): boolean {
  for (const child of groupsIn(group)) tryRemove(`${group}/${child}`);
  try {
    fs.rmdirSync(group);
    return true;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false;
    throw error;
  }
}

/** Groups that the container made within its own. */
function groupsIn(group: string): string[] {
  try {
    return fs.readdirSync(group, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return [];
    throw error;
  }
}
