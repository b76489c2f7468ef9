// Cgroup limits and devices: each knob's number within what the kernel takes, so that a refusal names the knob and not a write to a file, and under
// the profile's ceiling. One that is a number must be met by a launch; an update is judged by what it names.
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { any, BYTES_MAX, type Form, must, named, range } from './form.ts';
import {
  type Ask,
  among,
  atMost,
  BESIDE,
  both,
  type Ceiling,
  INSIDE,
  list,
  may,
  message,
  refuse,
  type Rule,
  wordOf,
} from './rules.ts';

type KnobName =
  Exclude<keyof typeof plan.Knob, 'KNOB_UNSPECIFIED' | 'UNRECOGNIZED'> extends `KNOB_${infer Word}`
    ? Lowercase<Word>
    : never;
type Knob = readonly [least: bigint, most: bigint, endless: boolean, ceiling: Ceiling<bigint | undefined>];

/** Least and most of each knob, whether -1 stands for no limit, and its ceiling. Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, Linux 6.18. */
const KNOBS: Readonly<Record<KnobName, Knob>> = {
  cpu_quota_us: [1_000n, 1_000_000_000_000n, true, BESIDE],
  cpu_period_us: [1_000n, 1_000_000n, false, BESIDE],
  cpu_shares: [2n, 262_144n, false, (value, ask) => atMost(ask, 'cpuSharesMax', value)],
  cpu_weight: [1n, 10_000n, false, (value, ask) => atMost(ask, 'cpuWeightMax', value)],
  memory_max_bytes: [0n, BYTES_MAX, true, (value, ask) => atMost(ask, 'memoryBytesMax', value)],
  memory_swap_max_bytes: [0n, BYTES_MAX, true, (value, ask) => atMost(ask, 'memorySwapBytesMax', value)],
  memory_low_bytes: [0n, BYTES_MAX, true, INSIDE], // the group above protects nothing, so neither does this
  pids_max: [0n, 4_194_304n, true, (value, ask) => atMost(ask, 'pidsMax', value)],
  io_weight: [1n, 10_000n, false, (value, ask) => atMost(ask, 'ioWeightMax', value)],
  oom_kill_disable: [0n, 1n, false, (value, ask) => may(ask, 'oomKillDisable', [value === 1n, 'no OOM killer'])],
  memory_swappiness: [0n, 100n, false, INSIDE],
};
const NEEDED = ['memory_max_bytes', 'memory_swap_max_bytes', 'pids_max'] as const;
const ALL = -1n;

const knobOf = (knob: number): Knob | undefined =>
  new Map<string, Knob>(Object.entries(KNOBS)).get(wordOf(plan.Knob, knob));
const SETTING = message<plan.Setting>({
  knob: [
    named(plan.Knob),
    (knob, ask, { value }) => {
      const known = knobOf(knob);
      if (known === undefined) refuse(ask, 'knob', [wordOf(plan.Knob, knob), 'a known one']);
      else known[3](value < 0n ? undefined : value, ask, knob);
    },
  ],
  value: [
    (value, at, { knob }) => {
      const [least, most, endless] = knobOf(knob) ?? [0n, -1n, false];
      if (!endless || value !== ALL) range(least, most)(value, at, knob);
    },
    BESIDE,
  ],
});

// A device number as the kernel keeps it: 12 bits and 20 bits.
const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xfffff;

const THROTTLE = message<plan.Throttle>({
  major: [range(0, MAJOR_MAX), INSIDE],
  minor: [range(0, MINOR_MAX), INSIDE],
  kind: [named(plan.ThrottleKind), INSIDE],
  value: [range(1n, BYTES_MAX), INSIDE],
});

type Device = { readonly major: number | bigint; readonly minor: number | bigint };

/** As policies write devices: `c 1:3`, all minors of a kind `c 10:*`, all of a kind `c *`. */
const judgeDevice: Ceiling<boolean, Device> = (block, ask, { major, minor }) => {
  const number = major < 0 ? '*' : minor < 0 ? `${major}:*` : `${major}:${minor}`;
  among(ask, 'devices', [`${block ? 'b' : 'c'} ${number}`]);
};
/** A device is granted whole, whatever is done with it. */
export const DEVICE = {
  block: [any, judgeDevice],
  major: [range(0, MAJOR_MAX), BESIDE],
  minor: [range(0, MINOR_MAX), BESIDE],
} as const;

const RULE = message<plan.DeviceRule>(
  {
    ...DEVICE,
    major: [any, BESIDE],
    minor: [any, BESIDE],
    read: [any, BESIDE],
    write: [any, BESIDE],
    mknod: [any, BESIDE],
  },
  ({ major, minor, read, write, mknod }, at) => {
    const right = major >= ALL && major <= MAJOR_MAX && minor >= ALL && minor <= MINOR_MAX;
    must(right, at, 'major and minor must be -1 (all) or a number');
    must(read || write || mknod, at, 'must grant reading, writing or mknod');
  },
);

/** Processors or memory nodes as the kernel prints them: ascending, `0-2,7`; empty for all. */
const numbers: Form<string> = (value, at) => {
  const form = /^(\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*)?$/;
  must(value.length <= 4096 && form.test(value), at, 'must be a list such as 0-2,7');
  const ends = value.split(/[-,]/).filter(Boolean).map(Number);
  const ascending = ends.every((end, i) => i === 0 || end > (ends[i - 1] ?? 0));
  must(ascending, at, 'must be ascending');
};

/** Limits that are `whole` (a launch) or name what changes (an update). */
export function limits(whole: boolean): Rule<plan.Limits | undefined> {
  const settings = list(SETTING, { most: 16, once: ({ knob }) => knob });
  return message<plan.Limits>({
    settings: [settings[0], both(settings[1], (all, ask) => judgeWhole(all, ask, whole))],
    throttles: list(THROTTLE, { most: 64, once: ({ kind, major, minor }) => `${kind} ${major}:${minor}` }),
    cpus: [numbers, INSIDE],
    mems: [numbers, INSIDE],
    deviceRules: list(RULE, { most: 64 }),
  });
}

/** Processors are quota by period; an update that names one without the other leaves them unknown, so it has no limit. */
function judgeWhole(settings: readonly plan.Setting[], ask: Ask, whole: boolean): void {
  const values = new Map(settings.map(({ knob, value }) => [wordOf(plan.Knob, knob), value]));
  const quota = values.get('cpu_quota_us');
  const period = values.get('cpu_period_us') ?? (whole ? 100_000n : undefined);
  const known = quota !== undefined && quota >= 0n && period !== undefined && period > 0n;
  if (whole || quota !== undefined || period !== undefined)
    atMost(ask, 'cpusMax', known ? Number(quota) / Number(period) : undefined);
  if (whole) for (const name of NEEDED) if (!values.has(name)) KNOBS[name][3](undefined, ask, settings);
}
