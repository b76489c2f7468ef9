// The cgroup files that a plan's limits are written to, and their text, for people to read.
import { Knob, type Limits, ThrottleKind } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CgroupHost } from './facts.ts';

/** `about`: the reasons that belong to it. */
export type CgroupFile = { readonly file: string; readonly value: string; readonly about: readonly string[] };
type Version = CgroupHost['version'];

// Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, Linux 6.18.
const V1: Readonly<Record<number, string>> = {
  [Knob.KNOB_CPU_QUOTA_US]: 'cpu.cfs_quota_us',
  [Knob.KNOB_CPU_PERIOD_US]: 'cpu.cfs_period_us',
  [Knob.KNOB_CPU_SHARES]: 'cpu.shares',
  [Knob.KNOB_MEMORY_MAX_BYTES]: 'memory.limit_in_bytes',
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: 'memory.memsw.limit_in_bytes',
  [Knob.KNOB_MEMORY_LOW_BYTES]: 'memory.soft_limit_in_bytes',
  [Knob.KNOB_PIDS_MAX]: 'pids.max',
  [Knob.KNOB_IO_WEIGHT]: 'blkio.weight',
  [Knob.KNOB_OOM_KILL_DISABLE]: 'memory.oom_control',
  [Knob.KNOB_MEMORY_SWAPPINESS]: 'memory.swappiness',
};
const V2: Readonly<Record<number, string>> = {
  [Knob.KNOB_CPU_WEIGHT]: 'cpu.weight',
  [Knob.KNOB_MEMORY_MAX_BYTES]: 'memory.max',
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: 'memory.swap.max',
  [Knob.KNOB_MEMORY_LOW_BYTES]: 'memory.low',
  [Knob.KNOB_PIDS_MAX]: 'pids.max',
  [Knob.KNOB_IO_WEIGHT]: 'io.weight',
};
const V1_THROTTLE: Readonly<Record<number, string>> = {
  [ThrottleKind.THROTTLE_KIND_READ_BPS]: 'blkio.throttle.read_bps_device',
  [ThrottleKind.THROTTLE_KIND_WRITE_BPS]: 'blkio.throttle.write_bps_device',
  [ThrottleKind.THROTTLE_KIND_READ_IOPS]: 'blkio.throttle.read_iops_device',
  [ThrottleKind.THROTTLE_KIND_WRITE_IOPS]: 'blkio.throttle.write_iops_device',
};
const V2_THROTTLE: Readonly<Record<number, string>> = {
  [ThrottleKind.THROTTLE_KIND_READ_BPS]: 'rbps',
  [ThrottleKind.THROTTLE_KIND_WRITE_BPS]: 'wbps',
  [ThrottleKind.THROTTLE_KIND_READ_IOPS]: 'riops',
  [ThrottleKind.THROTTLE_KIND_WRITE_IOPS]: 'wiops',
};

/** Every file a limit is written to, in order. What the hierarchy has no file for is shown by the knob's number. */
export function cgroupFiles(limits: Limits, version: Version): CgroupFile[] {
  const v2 = version === 'v2';
  const device = v2 ? 'device program' : 'devices.allow';
  return [
    ...settingFiles(limits, v2),
    ...limits.throttles.map(({ major, minor, kind, value }) => ({
      file: v2 ? 'io.max' : (V1_THROTTLE[kind] ?? `throttle ${kind}`),
      value: v2 ? `${major}:${minor} ${V2_THROTTLE[kind] ?? kind}=${value}` : `${major}:${minor} ${value}`,
      about: [],
    })),
    ...(limits.cpus === '' ? [] : [{ file: 'cpuset.cpus', value: limits.cpus, about: [] }]),
    ...(limits.mems === '' ? [] : [{ file: 'cpuset.mems', value: limits.mems, about: [] }]),
    ...limits.deviceRules.map((rule) => ({
      file: device,
      value: `${rule.block ? 'b' : 'c'} ${star(rule.major)}:${star(rule.minor)} ${rule.read ? 'r' : ''}${rule.write ? 'w' : ''}${rule.mknod ? 'm' : ''}`,
      about: [],
    })),
  ];
}

function star(number: bigint): string {
  return number === -1n ? '*' : `${number}`;
}

/** v2 has quota and period in one file; v1 has two files, and numbers for "no limit". */
function settingFiles({ settings }: Limits, v2: boolean): CgroupFile[] {
  const quota = settings.find(({ knob }) => knob === Knob.KNOB_CPU_QUOTA_US);
  const period = settings.find(({ knob }) => knob === Knob.KNOB_CPU_PERIOD_US);
  const isPair = (knob: number): boolean => v2 && (knob === Knob.KNOB_CPU_QUOTA_US || knob === Knob.KNOB_CPU_PERIOD_US);
  const about = (knob: number): string => `knob ${knob}`;
  const files = settings
    .filter(({ knob }) => !isPair(knob))
    .map(({ knob, value }) => ({
      file: (v2 ? V2 : V1)[knob] ?? `knob ${knob}`,
      value: v2 && value === -1n ? 'max' : `${value}`,
      about: [about(knob)],
    }));
  if (!v2 || (quota === undefined && period === undefined)) return files;
  const first = quota === undefined ? '?' : quota.value === -1n ? 'max' : `${quota.value}`;
  const pair = {
    file: 'cpu.max',
    value: `${first} ${period?.value ?? '?'}`,
    about: [about(Knob.KNOB_CPU_QUOTA_US), about(Knob.KNOB_CPU_PERIOD_US)],
  };
  return [pair, ...files];
}
