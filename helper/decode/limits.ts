// Cgroup settings: each knob's number within what the kernel takes, so that a refusal names the knob and not a write to a file.
import * as plan from '../../proto/gen/berth/helper/v1/plan.ts';
import { any, list, message, named, type Rule, range } from './fields.ts';
import { must } from './malformed.ts';

const BYTES_MAX = 2n ** 53n - 1n;
const UNLIMITED = -1n;
const { Knob } = plan;

/** Least and most of each knob, and whether -1 stands for no limit. Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, Linux 6.18. */
const RANGES: Readonly<Record<number, readonly [least: bigint, most: bigint, unlimited?: true]>> = {
  [Knob.KNOB_CPU_QUOTA_US]: [1_000n, 1_000_000_000_000n, true],
  [Knob.KNOB_CPU_PERIOD_US]: [1_000n, 1_000_000n],
  [Knob.KNOB_CPU_SHARES]: [2n, 262_144n],
  [Knob.KNOB_CPU_WEIGHT]: [1n, 10_000n],
  [Knob.KNOB_MEMORY_MAX_BYTES]: [0n, BYTES_MAX, true],
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: [0n, BYTES_MAX, true],
  [Knob.KNOB_MEMORY_LOW_BYTES]: [0n, BYTES_MAX, true],
  [Knob.KNOB_PIDS_MAX]: [0n, 4_194_304n, true],
  [Knob.KNOB_IO_WEIGHT]: [1n, 10_000n],
  [Knob.KNOB_OOM_KILL_DISABLE]: [0n, 1n],
  [Knob.KNOB_MEMORY_SWAPPINESS]: [0n, 100n],
};

const SETTING = message<plan.Setting>({ knob: named(Knob), value: any }, ({ knob, value }, field) => {
  const [least, most, unlimited] = RANGES[knob] ?? [0n, -1n];
  if (!unlimited || value !== UNLIMITED) range(least, most)(value, `${field}.value`);
});

// A device number as the kernel keeps it: 12 bits and 20 bits.
const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xfffff;
export const DEVICE = { major: range(0, MAJOR_MAX), minor: range(0, MINOR_MAX) };

const THROTTLE = message<plan.Throttle>({ ...DEVICE, kind: named(plan.ThrottleKind), value: range(1n, BYTES_MAX) });

const RULE = message<plan.DeviceRule>(
  { block: any, major: any, minor: any, read: any, write: any, mknod: any },
  ({ major, minor, read, write, mknod }, field) => {
    const [all, some] = [UNLIMITED, major <= MAJOR_MAX && minor <= MINOR_MAX];
    must(some && major >= all && minor >= all, field, 'major and minor must be -1 (all) or a number');
    must(read || write || mknod, field, 'must grant reading, writing or mknod');
  },
);

/** Processors or memory nodes as the kernel prints them: ascending, `0-2,7`; empty for all. */
const numbers: Rule<string> = (value, field) => {
  const form = /^(\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*)?$/;
  must(value.length <= 4096 && form.test(value), field, 'must be a list such as 0-2,7');
  const ends = value.split(/[-,]/).filter(Boolean).map(Number);
  must(
    ends.every((end, i) => i === 0 || end > (ends[i - 1] ?? 0)),
    field,
    'must be ascending',
  );
};

export const LIMITS = message<plan.Limits>({
  settings: list(SETTING, { most: 16, once: ({ knob }) => knob }),
  throttles: list(THROTTLE, { most: 64, once: ({ kind, major, minor }) => `${kind} ${major}:${minor}` }),
  cpus: numbers,
  mems: numbers,
  deviceRules: list(RULE, { most: 64 }),
});
