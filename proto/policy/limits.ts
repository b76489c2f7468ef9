// Rules of cgroup limits and devices. A ceiling that is a number must be met by a launch; an update is judged by what it names.
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { type Ask, among, atMost, each, free, may, type Rules, refuse, wordOf } from './ask.ts';

type KnobName =
  Exclude<keyof typeof plan.Knob, 'KNOB_UNSPECIFIED' | 'UNRECOGNIZED'> extends `KNOB_${infer Word}`
    ? Lowercase<Word>
    : never;
type KnobRule = (ask: Ask, value: bigint | undefined) => void;
const unbounded: KnobRule = () => {};

const KNOBS: Readonly<Record<KnobName, KnobRule>> = {
  cpu_quota_us: unbounded, // with the period, below
  cpu_period_us: unbounded,
  cpu_shares: (ask, value) => atMost(ask, 'cpuSharesMax', value),
  cpu_weight: (ask, value) => atMost(ask, 'cpuWeightMax', value),
  memory_max_bytes: (ask, value) => atMost(ask, 'memoryBytesMax', value),
  memory_swap_max_bytes: (ask, value) => atMost(ask, 'memorySwapBytesMax', value),
  memory_low_bytes: unbounded, // the group above protects nothing, so neither does this
  pids_max: (ask, value) => atMost(ask, 'pidsMax', value),
  io_weight: (ask, value) => atMost(ask, 'ioWeightMax', value),
  oom_kill_disable: (ask, value) => may(ask, 'oomKillDisable', [value === 1n, 'no OOM killer']),
  memory_swappiness: unbounded, // of the container's own pages
};
const NEEDED = ['memory_max_bytes', 'memory_swap_max_bytes', 'pids_max'] as const;

const SETTING: Rules<plan.Setting> = {
  knob: (knob, ask, { value }) => {
    const name = wordOf(plan.Knob, knob);
    if (Object.hasOwn(KNOBS, name)) KNOBS[name as KnobName](ask, value < 0n ? undefined : value);
    else refuse(ask, 'knob', [name, 'a known one']);
  },
  ...free('judged with knob', 'value'),
};
const THROTTLE: Rules<plan.Throttle> = free('takes from the container alone', 'major', 'minor', 'kind', 'value');

type Device = { readonly major: number | bigint; readonly minor: number | bigint };

/** As policies write devices: `c 1:3`, all minors of a kind `c 10:*`, all of a kind `c *`. */
function judgeDevice(block: boolean, ask: Ask, { major, minor }: Device): void {
  const number = major < 0 ? '*' : minor < 0 ? `${major}:*` : `${major}:${minor}`;
  among(ask, 'devices', [`${block ? 'b' : 'c'} ${number}`]);
}

const DEVICE_RULE: Rules<plan.DeviceRule> = {
  block: judgeDevice,
  ...free('judged with block', 'major', 'minor'),
  ...free('a device is granted whole', 'read', 'write', 'mknod'),
};
export const DEVICE_NODE: Rules<plan.DeviceNode> = {
  block: judgeDevice,
  ...free('judged with block', 'major', 'minor'),
  ...free('acts inside the container', 'path', 'mode', 'uid', 'gid'),
};

/** Rules of limits that are `whole` (a launch) or name what changes (an update). */
export function limits(whole: boolean): Rules<plan.Limits> {
  return {
    settings: (settings, ask) => {
      each(SETTING)(settings, ask);
      judgeCpus(settings, ask, whole);
      const named = settings.map((setting) => wordOf(plan.Knob, setting.knob));
      if (whole) for (const name of NEEDED) if (!named.includes(name)) KNOBS[name](ask, undefined);
    },
    throttles: each(THROTTLE),
    ...free('a part of what the host gives', 'cpus', 'mems'),
    deviceRules: each(DEVICE_RULE),
  };
}

/** Processors are quota by period; an update that names one without the other leaves them unknown, so it has no limit. */
function judgeCpus(settings: readonly plan.Setting[], ask: Ask, whole: boolean): void {
  const value = (name: KnobName) => settings.find((setting) => wordOf(plan.Knob, setting.knob) === name)?.value;
  const quota = value('cpu_quota_us');
  const period = value('cpu_period_us') ?? (whole ? 100_000n : undefined);
  if (!whole && quota === undefined && period === undefined) return;
  const known = quota !== undefined && quota >= 0n && period !== undefined && period > 0n;
  atMost(ask, 'cpusMax', known ? Number(quota) / Number(period) : undefined);
}
