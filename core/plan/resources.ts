// Docker's resource options: checked with Docker's texts, before they are turned into settings of a cgroup.
import type { HostFacts } from './facts.ts';
import { type Noted, noted, refuse } from './reason.ts';

type Maybe<T> = T | null | undefined;
export type DeviceRate = { readonly Path: string; readonly Rate: number };

/** The fields of HostConfig and of an update's body that limit. Names are Docker's. 0 and absent: not asked. */
export type Resources = {
  readonly Memory?: Maybe<number>;
  readonly MemorySwap?: Maybe<number>;
  readonly MemoryReservation?: Maybe<number>;
  readonly MemorySwappiness?: Maybe<number>;
  readonly OomKillDisable?: Maybe<boolean>;
  readonly PidsLimit?: Maybe<number>;
  readonly NanoCpus?: Maybe<number>;
  readonly CpuQuota?: Maybe<number>;
  readonly CpuPeriod?: Maybe<number>;
  readonly CpuShares?: Maybe<number>;
  readonly CpuRealtimePeriod?: Maybe<number>;
  readonly CpuRealtimeRuntime?: Maybe<number>;
  readonly CpusetCpus?: Maybe<string>;
  readonly CpusetMems?: Maybe<string>;
  readonly BlkioWeight?: Maybe<number>;
  readonly BlkioWeightDevice?: Maybe<readonly unknown[]>;
  readonly BlkioDeviceReadBps?: Maybe<readonly DeviceRate[]>;
  readonly BlkioDeviceWriteBps?: Maybe<readonly DeviceRate[]>;
  readonly BlkioDeviceReadIOps?: Maybe<readonly DeviceRate[]>;
  readonly BlkioDeviceWriteIOps?: Maybe<readonly DeviceRate[]>;
};

/** The same, checked: -1 is unlimited, undefined is not asked. */
export type CheckedResources = {
  readonly memory: number | undefined;
  /** Memory and swap together, as Docker counts. */
  readonly memorySwap: number | undefined;
  readonly reservation: number | undefined;
  readonly swappiness: number | undefined;
  readonly oomKillDisable: boolean;
  readonly pids: number | undefined;
  readonly quotaUs: number | undefined;
  readonly periodUs: number | undefined;
  readonly shares: number | undefined;
  readonly cpus: string;
  readonly mems: string;
  readonly ioWeight: number | undefined;
};

const MEMORY_LEAST = 6 * 1024 * 1024; // Docker's: what a container needs to start, not the kernel's

/**
 * Checks what was asked. A limit whose controller the helper cannot use is refused by name; Docker would drop it with a warning, and a
 * limit that is not there is worse than a container that is not. Throws bad_parameter. `update`: swap may come without memory.
 * Source: moby, daemon/daemon_unix.go verifyPlatformContainerResources, whose texts these are.
 */
export function checkResources(asked: Resources, host: HostFacts, update = false): Noted<CheckedResources> {
  for (const [name, value] of Object.entries(asked)) {
    if (typeof value === 'number' && !Number.isSafeInteger(value)) refuse(`${name}: ${value} is no whole number`);
  }
  const warnings: string[] = [];
  const memory = checkMemory(asked, { host, update, warnings });
  const pids = checkPids(asked.PidsLimit ?? undefined, host, update);
  checkProcessor(asked, host);
  checkSets(asked, host);
  if ((asked.CpuRealtimePeriod ?? 0) !== 0 || (asked.CpuRealtimeRuntime ?? 0) !== 0) {
    refuse('kernel does not support CPU real-time scheduler');
  }
  const weight = some(asked.BlkioWeight);
  if (weight !== undefined && (weight < 10 || weight > 1000)) refuse('Range of blkio weight is from 10 to 1000');
  if ((asked.BlkioWeightDevice ?? []).length > 0)
    refuse('weights for single devices (--blkio-weight-device) are not supported');
  return noted(
    {
      ...memory,
      pids,
      ...quota(asked),
      shares: some(asked.CpuShares),
      cpus: asked.CpusetCpus ?? '',
      mems: asked.CpusetMems ?? '',
      ioWeight: weighed(weight, host, warnings),
    },
    [],
    warnings,
  );
}

const PIDS_MOST = 4_194_304; // PID_MAX_LIMIT of linux/threads.h

/** A weight is a wish among others, not a limit: where the kernel has none it is dropped with Docker's warning. */
function weighed(weight: number | undefined, host: HostFacts, warnings: string[]): number | undefined {
  if (weight === undefined || host.cgroup.ioWeight) return weight;
  warnings.push('Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.');
  return undefined;
}

/** 0 and -1 are unlimited; on an update they take a limit away. */
function checkPids(asked: number | undefined, host: HostFacts, update: boolean): number | undefined {
  need(asked !== undefined && asked > 0, '--pids-limit', host);
  if (asked !== undefined && asked > PIDS_MOST) refuse(`--pids-limit ${asked}: the kernel takes at most ${PIDS_MOST}`);
  if (asked === undefined || (asked === 0 && !update) || !hasController(host, ['pids'])) return undefined;
  return asked <= 0 ? -1 : asked;
}

/** Whether the helper can use one of these controllers. */
export function hasController(host: HostFacts, names: readonly string[]): boolean {
  return names.some((name) => host.cgroup.controllers.includes(name));
}

/** 0 means "not asked" in Docker's API. */
function some(value: Maybe<number>): number | undefined {
  return value === 0 || value === null ? undefined : value;
}

type MemoryPart = Pick<CheckedResources, 'memory' | 'memorySwap' | 'reservation' | 'swappiness' | 'oomKillDisable'>;
type MemoryContext = { readonly host: HostFacts; readonly update: boolean; readonly warnings: string[] };

function checkMemory(asked: Resources, { host, update, warnings }: MemoryContext): MemoryPart {
  const memory = some(asked.Memory);
  const reservation = some(asked.MemoryReservation);
  const swap = some(asked.MemorySwap);
  if (memory !== undefined && memory < MEMORY_LEAST) refuse('Minimum memory limit allowed is 6MB');
  if (memory !== undefined && swap !== undefined && swap > 0 && swap < memory) {
    refuse('Minimum memoryswap limit should be larger than memory limit, see usage');
  }
  if (memory === undefined && swap !== undefined && swap > 0 && !update) {
    refuse('You should always set the Memory limit when using Memoryswap limit, see usage');
  }
  if (swap !== undefined && swap < -1) refuse(`invalid memory swap limit: ${swap}`);
  if (reservation !== undefined && reservation < MEMORY_LEAST) refuse('Minimum memory reservation allowed is 6MB');
  if (memory !== undefined && reservation !== undefined && memory < reservation) {
    refuse('Minimum memory limit can not be less than memory reservation limit, see usage');
  }
  need(memory !== undefined, '--memory', host);
  need(reservation !== undefined, '--memory-reservation', host);
  const swappiness = checkSwappiness(asked.MemorySwappiness ?? undefined, host, warnings);
  const v2 = host.cgroup.version === 'v2';
  if (asked.OomKillDisable === true && v2) {
    warnings.push('Your kernel does not support OomKillDisable. OomKillDisable discarded.');
  }
  const oomKillDisable = asked.OomKillDisable === true && !v2 && hasController(host, ['memory']);
  if (oomKillDisable && memory === undefined) {
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
  }
  const counted = checkSwap(memory, swap, { host, update, warnings });
  return { memory, memorySwap: counted, reservation, swappiness, oomKillDisable };
}

/** Docker's default: as much swap again as memory. */
function checkSwap(memory: number | undefined, swap: number | undefined, context: MemoryContext): number | undefined {
  const wanted =
    swap ?? (memory === undefined || context.update ? undefined : Math.min(memory * 2, Number.MAX_SAFE_INTEGER));
  if (wanted === undefined || (memory === undefined && !context.update)) return undefined;
  if (context.host.cgroup.swap) return wanted;
  if (wanted !== -1) {
    context.warnings.push(
      'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
    );
  }
  return undefined;
}

function checkSwappiness(asked: number | undefined, host: HostFacts, warnings: string[]): number | undefined {
  if (asked === undefined || asked === -1) return undefined; // the CLI's "not given"
  if (asked < 0 || asked > 100) refuse(`Invalid value: ${asked}, valid memory swappiness range is 0-100`);
  if (host.cgroup.version === 'v1' && hasController(host, ['memory'])) return asked;
  warnings.push(
    'Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.',
  );
  return undefined;
}

const NANO_LEAST = 1e7; // --cpus 0.01: the kernel takes no quota below a millisecond
const QUOTA_MOST = 1_000_000_000_000; // microseconds; helper/decode takes no more

function checkProcessor(asked: Resources, host: HostFacts): void {
  const nano = asked.NanoCpus ?? 0;
  const period = asked.CpuPeriod ?? 0;
  const quotaUs = asked.CpuQuota ?? 0;
  if (nano > 0 && period > 0) refuse('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  if (nano > 0 && quotaUs > 0) refuse('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  const processors = readList(host.cpus)?.length ?? 0;
  if (nano !== 0 && (nano < NANO_LEAST || nano > processors * 1e9)) {
    refuse(`Range of CPUs is from 0.01 to ${processors}.00, as there are only ${processors} CPUs available`);
  }
  if (period !== 0 && (period < 1000 || period > 1_000_000)) {
    refuse('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  }
  if (quotaUs > 0 && quotaUs < 1000) refuse('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  if (quotaUs > QUOTA_MOST) refuse(`CPU cfs quota can not be larger than ${QUOTA_MOST}, 277 hours`);
  if (quotaUs < -1) refuse(`invalid CPU quota (${quotaUs}): value must be positive, or -1 for unlimited`);
  const shares = asked.CpuShares ?? 0;
  if (shares < 0) refuse(`invalid CPU shares (${shares}): value must be a positive integer`);
  need(nano > 0, '--cpus', host);
  need(period !== 0, '--cpu-period', host);
  need(quotaUs !== 0, '--cpu-quota', host);
  need(shares !== 0, '--cpu-shares', host);
}

const PERIOD_US = 100_000;

/** Quota and period always together: the one that was not named has the kernel's default, so that the plan leaves nothing open. */
function quota(asked: Resources): Pick<CheckedResources, 'quotaUs' | 'periodUs'> {
  const nano = asked.NanoCpus ?? 0;
  if (nano > 0) return { quotaUs: Math.floor((nano * PERIOD_US) / 1e9), periodUs: PERIOD_US };
  const period = some(asked.CpuPeriod);
  const quotaUs = some(asked.CpuQuota);
  if (period === undefined && quotaUs === undefined) return { quotaUs: undefined, periodUs: undefined };
  return { quotaUs: quotaUs ?? -1, periodUs: period ?? PERIOD_US };
}

function checkSets(asked: Resources, host: HostFacts): void {
  const cpus = asked.CpusetCpus ?? '';
  const mems = asked.CpusetMems ?? '';
  need(cpus !== '', '--cpuset-cpus', host);
  need(mems !== '', '--cpuset-mems', host);
  checkSet(cpus, host.cpus, { noun: 'cpuset cpus', things: 'CPUs' });
  checkSet(mems, host.mems, { noun: 'cpuset mems', things: 'memory nodes' });
}

function checkSet(asked: string, available: string, words: { noun: string; things: string }): void {
  if (asked === '') return;
  const wanted = readList(asked);
  if (wanted === undefined) refuse(`Invalid value ${asked} for ${words.noun}`);
  const there = new Set(readList(available) ?? []);
  if (!wanted.every((n) => there.has(n))) {
    refuse(`Requested ${words.things} are not available - requested ${asked}, available: ${available}`);
  }
}

const LIST_MOST = 8192;

/** The numbers of `0-2,7`; undefined where it is no such list. Source: man 7 cpuset, List format. */
export function readList(text: string): number[] | undefined {
  const numbers = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim());
    if (match === null) return undefined;
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last < first || last >= LIST_MOST) return undefined;
    for (let n = first; n <= last; n++) numbers.add(n);
  }
  return [...numbers].sort((a, b) => a - b);
}

/** The list as the kernel prints it: ascending, runs joined. */
export function printList(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const n of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && n === last[1] + 1) last[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(',');
}

const CONTROLLERS = {
  '--cpu-period': 'cpu',
  '--cpu-quota': 'cpu',
  '--cpu-shares': 'cpu',
  '--cpus': 'cpu',
  '--cpuset-cpus': 'cpuset',
  '--cpuset-mems': 'cpuset',
  '--memory': 'memory',
  '--memory-reservation': 'memory',
  '--pids-limit': 'pids',
} as const;

function need(asked: boolean, flag: keyof typeof CONTROLLERS, host: HostFacts): void {
  const name = CONTROLLERS[flag];
  if (!asked || hasController(host, [name])) return;
  refuse(
    `${flag}: the cgroup controller ${name} cannot be used here, so the limit could not be kept`,
    host.rootless
      ? 'rootless: have the controller delegated to this user (systemd: Delegate=yes for user@.service)'
      : 'mount the controller, or start without this limit',
  );
}
