// Cgroup limits and devices: each knob's number within what the kernel takes, so that a refusal names the knob and not a write to a file, and under
// the profile's ceiling. One that is a number must be met by a launch; an update is judged by what it names.
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { any, both, BYTES_MAX, type Form, must, named, range } from './form.ts';
import * as rules from './rules.ts';

const { among, atMost, BESIDE, INSIDE, list, may, message, refuse, wordOf } = rules;
const { Knob } = plan;
type KnobRule = readonly [least: bigint, most: bigint, endless: boolean, ceiling: rules.Ceiling<bigint | undefined>];

/** Least and most of each knob, whether -1 stands for no limit, and its ceiling. Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, Linux 6.18. */
const KNOBS: { readonly [Name in Exclude<plan.Knob, 0 | -1>]: KnobRule } = {
  [Knob.KNOB_CPU_QUOTA_US]: [1_000n, 1_000_000_000_000n, true, BESIDE],
  [Knob.KNOB_CPU_PERIOD_US]: [1_000n, 1_000_000n, false, BESIDE],
  [Knob.KNOB_CPU_SHARES]: [2n, 262_144n, false, (value, ask) => atMost(ask, 'cpuSharesMax', value)],
  [Knob.KNOB_CPU_WEIGHT]: [1n, 10_000n, false, (value, ask) => atMost(ask, 'cpuWeightMax', value)],
  [Knob.KNOB_MEMORY_MAX_BYTES]: [0n, BYTES_MAX, true, (value, ask) => atMost(ask, 'memoryBytesMax', value)],
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: [0n, BYTES_MAX, true, (value, ask) => atMost(ask, 'memorySwapBytesMax', value)],
  [Knob.KNOB_MEMORY_LOW_BYTES]: [0n, BYTES_MAX, true, INSIDE], // the group above protects nothing, so neither does this
  [Knob.KNOB_PIDS_MAX]: [0n, 4_194_304n, true, (value, ask) => atMost(ask, 'pidsMax', value)],
  [Knob.KNOB_IO_WEIGHT]: [1n, 10_000n, false, (value, ask) => atMost(ask, 'ioWeightMax', value)],
  [Knob.KNOB_OOM_KILL_DISABLE]: [0n, 1n, false, (on, ask) => may(ask, 'oomKillDisable', [on === 1n, 'no OOM killer'])],
  [Knob.KNOB_MEMORY_SWAPPINESS]: [0n, 100n, false, INSIDE],
};
const NEEDED = [Knob.KNOB_MEMORY_MAX_BYTES, Knob.KNOB_MEMORY_SWAP_MAX_BYTES, Knob.KNOB_PIDS_MAX] as const;
const ALL = -1n;
const knobOf = (knob: number): KnobRule | undefined => (KNOBS as Readonly<Record<number, KnobRule>>)[knob];

const ofKnob: Form<bigint, plan.Setting> = (value, at, { knob }) => {
  const [least, most, endless] = knobOf(knob) ?? [0n, -1n, false];
  if (!endless || value !== ALL) range(least, most)(value, at, knob);
};
const judgeKnob: rules.Ceiling<number, plan.Setting> = (knob, ask, { value }) => {
  const known = knobOf(knob);
  if (known === undefined) refuse(ask, 'knob', [wordOf(Knob, knob), 'a known one']);
  else known[3](value < 0n ? undefined : value, ask, knob);
};
const SETTING = message<plan.Setting>({ knob: [named(Knob), judgeKnob], value: [ofKnob, BESIDE] });
const SETTINGS = list(SETTING, { most: 16, once: ({ knob }) => knob });

/** Processors are quota by period; an update that names one without the other leaves them unknown, so it has no limit. */
const judgeAll: rules.Ceiling<readonly plan.Setting[]> = (settings, ask) => {
  const values = new Map<number, bigint>(settings.map(({ knob, value }) => [knob, value]));
  const quota = values.get(Knob.KNOB_CPU_QUOTA_US);
  const period = values.get(Knob.KNOB_CPU_PERIOD_US) ?? (ask.whole ? 100_000n : undefined);
  const known = quota !== undefined && quota >= 0n && period !== undefined && period > 0n;
  if (quota !== undefined || period !== undefined)
    atMost(ask, 'cpusMax', known ? Number(quota) / Number(period) : undefined);
  if (ask.whole) for (const knob of NEEDED) if (!values.has(knob)) KNOBS[knob][3](undefined, ask, settings);
};

// A device number as the kernel keeps it: 12 bits and 20 bits.
const [MAJOR_MAX, MINOR_MAX] = [0xfff, 0xfffff];
const [major, minor] = [range(0, MAJOR_MAX), range(0, MINOR_MAX)];
const THROTTLE = message<plan.Throttle>({
  ...{ major: [major, INSIDE], minor: [minor, INSIDE] },
  ...{ kind: [named(plan.ThrottleKind), INSIDE], value: [range(1n, BYTES_MAX), INSIDE] },
});

type Device = { readonly major: number | bigint; readonly minor: number | bigint };
/** As policies write devices: `c 1:3`, all minors of a kind `c 10:*`, all of a kind `c *`. */
const judgeDevice: rules.Ceiling<boolean, Device> = (block, ask, { major, minor }) => {
  const number = major < 0 ? '*' : minor < 0 ? `${major}:*` : `${major}:${minor}`;
  among(ask, 'devices', [`${block ? 'b' : 'c'} ${number}`]);
};
/** A node: a device is granted whole, whatever is done with it. */
export const DEVICE = { block: [any, judgeDevice], major: [major, BESIDE], minor: [minor, BESIDE] } as const;

const granting: Form<plan.DeviceRule> = ({ major, minor, read, write, mknod }, at) => {
  const right = major >= ALL && major <= MAJOR_MAX && minor >= ALL && minor <= MINOR_MAX;
  must(right, at, 'major and minor must be -1 (all) or a number');
  must(read || write || mknod, at, 'must grant reading, writing or mknod');
};
const RULE = message<plan.DeviceRule>(
  {
    ...{ block: [any, judgeDevice], major: [any, BESIDE], minor: [any, BESIDE] },
    ...{ read: [any, BESIDE], write: [any, BESIDE], mknod: [any, BESIDE] },
  },
  granting,
);

/** Processors or memory nodes as the kernel prints them: ascending, `0-2,7`; empty for all. */
const numbers: Form<string> = (value, at) => {
  const form = /^(\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*)?$/;
  must(value.length <= 4096 && form.test(value), at, 'must be a list such as 0-2,7');
  const ends = value.split(/[-,]/).filter(Boolean).map(Number);
  const ascending = ends.every((end, i) => i === 0 || end > (ends[i - 1] ?? 0));
  must(ascending, at, 'must be ascending');
};

export const LIMITS = message<plan.Limits>({
  settings: [SETTINGS[0], both(SETTINGS[1], judgeAll)],
  throttles: list(THROTTLE, { most: 64, once: ({ kind, major, minor }) => `${kind} ${major}:${minor}` }),
  ...{ cpus: [numbers, INSIDE], mems: [numbers, INSIDE] },
  deviceRules: list(RULE, { most: 64 }),
});
