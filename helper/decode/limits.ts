// Cgroup settings: each knob's number within what the kernel takes, so that a refusal names the knob and not a write to a file.
import { Knob, type Limits, type Setting, ThrottleKind } from '../../proto/gen/berth/helper/v1/plan.ts';
import { checkEnum, checkRange, checkUnique } from './fields.ts';
import { must } from './malformed.ts';

const BYTES_MAX = 2n ** 53n - 1n;
const UNLIMITED = -1n;
type Range = { readonly least: bigint; readonly most: bigint; readonly unlimited: boolean };

// Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, Linux 6.18.
const RANGES: Readonly<Record<number, Range>> = {
  [Knob.KNOB_CPU_QUOTA_US]: { least: 1_000n, most: 1_000_000_000_000n, unlimited: true },
  [Knob.KNOB_CPU_PERIOD_US]: { least: 1_000n, most: 1_000_000n, unlimited: false },
  [Knob.KNOB_CPU_SHARES]: { least: 2n, most: 262_144n, unlimited: false },
  [Knob.KNOB_CPU_WEIGHT]: { least: 1n, most: 10_000n, unlimited: false },
  [Knob.KNOB_MEMORY_MAX_BYTES]: { least: 0n, most: BYTES_MAX, unlimited: true },
  [Knob.KNOB_MEMORY_SWAP_MAX_BYTES]: { least: 0n, most: BYTES_MAX, unlimited: true },
  [Knob.KNOB_MEMORY_LOW_BYTES]: { least: 0n, most: BYTES_MAX, unlimited: true },
  [Knob.KNOB_PIDS_MAX]: { least: 0n, most: 4_194_304n, unlimited: true },
  [Knob.KNOB_IO_WEIGHT]: { least: 1n, most: 10_000n, unlimited: false },
  [Knob.KNOB_OOM_KILL_DISABLE]: { least: 0n, most: 1n, unlimited: false },
  [Knob.KNOB_MEMORY_SWAPPINESS]: { least: 0n, most: 100n, unlimited: false },
};

/** All limits of a launch or an update. */
export function checkLimits(limits: Limits, field: string): void {
  for (const [i, setting] of limits.settings.entries()) checkSetting(setting, `${field}.settings[${i}]`);
  checkUnique(
    limits.settings.map((setting) => setting.knob),
    `${field}.settings`,
  );
  must(limits.throttles.length <= 64, `${field}.throttles`, 'must be at most 64');
  for (const [i, throttle] of limits.throttles.entries()) {
    checkEnum(throttle.kind, `${field}.throttles[${i}].kind`, ThrottleKind);
    checkDevice(throttle.major, throttle.minor, `${field}.throttles[${i}]`);
    checkRange(throttle.value, `${field}.throttles[${i}].value`, [1n, BYTES_MAX]);
  }
  checkUnique(
    limits.throttles.map((throttle) => `${throttle.kind} ${throttle.major}:${throttle.minor}`),
    `${field}.throttles`,
  );
  checkList(limits.cpus, `${field}.cpus`);
  checkList(limits.mems, `${field}.mems`);
  must(limits.deviceRules.length <= 64, `${field}.device_rules`, 'must be at most 64');
  for (const [i, rule] of limits.deviceRules.entries()) {
    const at = `${field}.device_rules[${i}]`;
    checkDevice(rule.major < 0n ? 0 : rule.major, rule.minor < 0n ? 0 : rule.minor, at);
    must(rule.major >= UNLIMITED && rule.minor >= UNLIMITED, at, 'major and minor must be -1 (all) or a number');
    must(rule.read || rule.write || rule.mknod, at, 'must grant reading, writing or mknod');
  }
}

function checkSetting(setting: Setting, field: string): void {
  checkEnum(setting.knob, `${field}.knob`, Knob);
  const range = RANGES[setting.knob];
  must(range !== undefined, `${field}.knob`, 'must have a range');
  if (range.unlimited && setting.value === UNLIMITED) return;
  checkRange(setting.value, `${field}.value`, [range.least, range.most]);
}

/** A device number as the kernel keeps it: 12 bits and 20 bits. */
export function checkDevice(major: number | bigint, minor: number | bigint, field: string): void {
  checkRange(major, `${field}.major`, [0, 0xfff]);
  checkRange(minor, `${field}.minor`, [0, 0xfffff]);
}

/** A list of processors or memory nodes as the kernel prints it: ascending, `0-2,7`. */
function checkList(list: string, field: string): void {
  if (list === '') return;
  must(
    list.length <= 4096 && /^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/.test(list),
    field,
    'must be a list such as 0-2,7',
  );
  let last = -1;
  for (const part of list.split(',')) {
    const [first = -1, end = first] = part.split('-').map(Number);
    must(first > last && end >= first, field, 'must be ascending');
    last = end;
  }
}
