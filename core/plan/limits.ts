// Checked resource options to the numbers of the cgroup hierarchy in use, v1 or v2.
import {
  type DeviceRule,
  Knob,
  type Limits,
  type Setting,
  type Throttle,
  ThrottleKind,
} from '../../proto/gen/berth/helper/v1/plan.ts';
import type { DeviceFact, HostFacts } from './facts.ts';
import { gather, type Noted, noted, type Reason, refuse } from './reason.ts';
import {
  type CheckedResources,
  checkResources,
  type DeviceRate,
  hasController,
  printList,
  readList,
  type Resources,
} from './resources.ts';

export type LimitsAsked = {
  readonly resources: Resources;
  readonly host: HostFacts;
  readonly devices: Readonly<Record<string, DeviceFact>>;
  readonly deviceRules: readonly DeviceRule[];
  /** For `update`: only what is named, and against memory and swap as they are. */
  readonly update?: { readonly memory: number; readonly memorySwap: number };
};

/** Everything the helper writes into the container's cgroups. Throws bad_parameter as checkResources does. */
export function planLimits(asked: LimitsAsked): Noted<Limits> {
  const checked = checkResources(asked.resources, asked.host, asked.update !== undefined);
  const settings = planSettings(checked.value, asked);
  const limits = {
    settings: settings.value,
    throttles: planThrottles(asked),
    cpus: canonicalList(checked.value.cpus),
    mems: canonicalList(checked.value.mems),
    deviceRules: [...asked.deviceRules],
  };
  const notes = gather([checked, settings]);
  return noted(limits, notes.reasons, notes.warnings);
}

/** Sorted, runs joined, as checkResources has found it readable. */
function canonicalList(text: string): string {
  return text === '' ? '' : printList(readList(text) ?? []);
}

function planSettings(checked: CheckedResources, asked: LimitsAsked): Noted<Setting[]> {
  const v2 = asked.host.cgroup.version === 'v2';
  const swap = planSwap(checked, asked);
  const found: [Knob, number | undefined, string][] = [
    [Knob.KNOB_CPU_QUOTA_US, checked.quotaUs, 'microseconds of processor time per period'],
    [Knob.KNOB_CPU_PERIOD_US, checked.periodUs, 'microseconds'],
    v2
      ? [Knob.KNOB_CPU_WEIGHT, weightOf(checked.shares), `${checked.shares} shares as a v2 weight`]
      : [Knob.KNOB_CPU_SHARES, clampShares(checked.shares), 'relative to 1024'],
    [Knob.KNOB_MEMORY_MAX_BYTES, checked.memory, 'more than this and the kernel kills'],
    [Knob.KNOB_MEMORY_SWAP_MAX_BYTES, swap, v2 ? 'swap alone' : 'memory and swap together'],
    [Knob.KNOB_MEMORY_LOW_BYTES, checked.reservation, 'kept while others can give'],
    [Knob.KNOB_MEMORY_SWAPPINESS, checked.swappiness, 'how readily memory is swapped'],
    [Knob.KNOB_OOM_KILL_DISABLE, checked.oomKillDisable ? 1 : undefined, 'wait for memory instead of killing'],
    [Knob.KNOB_PIDS_MAX, checked.pids, 'processes and threads'],
    [Knob.KNOB_IO_WEIGHT, v2 ? ioWeightOf(checked.ioWeight) : checked.ioWeight, 'share of block input and output'],
  ];
  const settings: Setting[] = [];
  const reasons: Reason[] = [];
  for (const [knob, value, text] of found) {
    if (value === undefined) continue;
    settings.push({ knob, value: BigInt(value) });
    reasons.push({ about: `knob ${knob}`, text: value === -1 ? 'unlimited' : text });
  }
  return noted(settings, reasons);
}

/** Source: opencontainers/cgroups, ConvertMemorySwapToCgroupV2Value; Docker counts memory and swap together, as v1. */
function planSwap(checked: CheckedResources, asked: LimitsAsked): number | undefined {
  const { update, host } = asked;
  const swap = checked.memorySwap;
  const memory = checked.memory ?? update?.memory;
  if (update !== undefined && checked.memory !== undefined && swap === undefined) checkOverSwap(checked.memory, update);
  if (host.cgroup.version !== 'v2') return swap;
  if (swap === undefined) {
    // The sum is what the user set, so a new memory limit alone moves swap's own number.
    const grown = update !== undefined && checked.memory !== undefined && update.memorySwap > 0;
    return grown ? update.memorySwap - (checked.memory ?? 0) : undefined;
  }
  if (swap === -1) return -1;
  if (memory === undefined || memory <= 0) return refuse('unable to set swap limit without memory limit');
  if (swap < memory) return refuse('Minimum memoryswap limit should be larger than memory limit, see usage');
  return swap - memory;
}

function checkOverSwap(memory: number, update: { readonly memorySwap: number }): void {
  if (update.memorySwap > 0 && memory > update.memorySwap) {
    refuse('Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time');
  }
}

const SHARES_LEAST = 2;
const SHARES_MOST = 262_144;

/** The kernel clamps v1 shares; the plan says what comes of it. */
function clampShares(shares: number | undefined): number | undefined {
  return shares === undefined ? undefined : Math.min(Math.max(shares, SHARES_LEAST), SHARES_MOST);
}

/**
 * [2, 262144] to [1, 10000], linearly, as runc up to 1.2, crun and podman do: twice the shares stay twice the weight.
 * Source: crun.1, "CPU controller"; github.com/containers/crun.
 */
function weightOf(shares: number | undefined): number | undefined {
  const clamped = clampShares(shares);
  if (clamped === undefined) return undefined;
  return 1 + Math.floor(((clamped - SHARES_LEAST) * 9999) / (SHARES_MOST - SHARES_LEAST));
}

/** [10, 1000] to [1, 10000]. Source: opencontainers/cgroups, ConvertBlkIOToIOWeightValue. */
function ioWeightOf(weight: number | undefined): number | undefined {
  return weight === undefined ? undefined : 1 + Math.floor(((weight - 10) * 9999) / 990);
}

function planThrottles(asked: LimitsAsked): Throttle[] {
  const { resources } = asked;
  const found: [ThrottleKind, string, readonly DeviceRate[]][] = [
    [ThrottleKind.THROTTLE_KIND_READ_BPS, '--device-read-bps', resources.BlkioDeviceReadBps ?? []],
    [ThrottleKind.THROTTLE_KIND_WRITE_BPS, '--device-write-bps', resources.BlkioDeviceWriteBps ?? []],
    [ThrottleKind.THROTTLE_KIND_READ_IOPS, '--device-read-iops', resources.BlkioDeviceReadIOps ?? []],
    [ThrottleKind.THROTTLE_KIND_WRITE_IOPS, '--device-write-iops', resources.BlkioDeviceWriteIOps ?? []],
  ];
  return found.flatMap(([kind, flag, rates]) => rates.map((rate) => planThrottle({ kind, flag, rate, asked })));
}

type OneThrottle = {
  readonly kind: ThrottleKind;
  readonly flag: string;
  readonly rate: DeviceRate;
  readonly asked: LimitsAsked;
};

function planThrottle({ kind, flag, rate, asked }: OneThrottle): Throttle {
  if (!hasController(asked.host, ['blkio', 'io'])) {
    refuse(`${flag}: the cgroup controller io cannot be used here, so the limit could not be kept`);
  }
  const device = asked.devices[rate.Path];
  if (device === undefined) return refuse(`${flag}: ${rate.Path}: no such device`);
  if (!device.block) return refuse(`${flag}: ${rate.Path}: not a block device`);
  if (!Number.isSafeInteger(rate.Rate) || rate.Rate <= 0) {
    return refuse(`${flag}: ${rate.Path}: the rate must be a whole number above 0`);
  }
  return { major: device.major, minor: device.minor, kind, value: BigInt(rate.Rate) };
}
