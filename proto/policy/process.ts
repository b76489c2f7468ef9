// What is executed, by launch and exec: the process, its hardening, its standard streams. Nothing is left to the kernel's or the helper's choice.
import { CAP_MASK, CAP_NAMES } from '../abi/capability.gen.ts';
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { any, both, each, type Form, listed, matching, must, named } from './form.ts';
import { PATH_BYTES_MAX, path, range, text } from './form.ts';
import { MASKABLE, READ_ONLY_ABLE, SYSCTLS } from './lists.ts';
import { amount, limitOf } from './profile.ts';
import * as rules from './rules.ts';

const { among, atLeast, BESIDE, hasTo, holds, INSIDE, list, may, message, refuse, upTo, wordOf } = rules;
const STRING_BYTES_MAX = 65_536;
const ENDLESS = 2n ** 64n - 1n;
// 2^32 - 1 means "no change" to setresuid(2). An id is one of the user namespace; that of the host has its own rule.
const one: Form<number | bigint> = range(0, 0xffffffff - 1);

const variable: Form<string> = (value, at) => must(value.indexOf('=') > 0, at, 'must be KEY=VALUE');

/** The names of a set of capabilities. */
export function capabilityNames(bits: bigint): string[] {
  const digits = [...bits.toString(2)].reverse();
  return digits.flatMap((digit, bit) => (digit === '1' ? [CAP_NAMES[bit] ?? `number ${bit}`] : []));
}

const known: Form<bigint> = (set, at) => must((set & ~CAP_MASK) === 0n, at, 'must hold known capabilities only');

/** A set within others. The bounding set is judged whole, of this one what that does not hold. */
function within(whole: (all: plan.Capabilities) => bigint, rule: string): rules.Rule<bigint, plan.Capabilities> {
  return [
    both(known, (set, at, all) => must((set & ~whole(all)) === 0n, at, rule)),
    (set, ask, { bounding }) => among(ask, 'capabilities', capabilityNames(set & ~bounding)),
  ];
}

const CAPABILITIES = message<plan.Capabilities>({
  bounding: [known, (set, ask) => among(ask, 'capabilities', capabilityNames(set))],
  permitted: within(({ bounding }) => bounding, 'must be within bounding'),
  inheritable: within(({ bounding }) => bounding, 'must be within bounding'),
  effective: within(({ permitted }) => permitted, 'must be within permitted'),
  ambient: within(({ permitted, inheritable }) => permitted & inheritable, 'must be permitted and inheritable'),
});

const judgeLimit: rules.Ceiling<number, plan.ResourceLimit> = (resource, ask, { soft, hard }) => {
  const name = wordOf(plan.Resource, resource);
  const most = limitOf(ask.profile.rlimits, name);
  const asked = soft > hard ? soft : hard;
  const within = asked === ENDLESS ? most === 'unlimited' : most !== undefined && asked <= amount(most);
  const words = `${name} ${asked === ENDLESS ? 'unlimited' : asked}`;
  if (!within) refuse(ask, 'rlimits', [words, most === undefined ? 'none' : `at most ${most}`]);
};
const LIMIT = message<plan.ResourceLimit>({
  resource: [named(plan.Resource), judgeLimit],
  soft: [(soft, at, { hard }) => must(soft <= hard, at, 'must not be above the hard limit'), BESIDE],
  hard: [any, BESIDE],
});

export const PROCESS = message<plan.Process>({
  argv: [each(text(STRING_BYTES_MAX), { least: 1, most: STRING_BYTES_MAX }), INSIDE],
  env: [each(both(text(STRING_BYTES_MAX), variable), { most: STRING_BYTES_MAX }), INSIDE],
  executables: [each(text(PATH_BYTES_MAX - 1, 1), { least: 1, most: 64 }), INSIDE],
  cwd: [path, INSIDE],
  ...{ uid: [one, INSIDE], gid: [one, INSIDE], groups: [each(one, { most: 1024 }), INSIDE] },
  rlimits: list(LIMIT, { most: 16, once: ({ resource }) => resource }),
  capabilities: CAPABILITIES,
  noNewPrivileges: [any, (on, ask) => hasTo(ask, 'noNewPrivileges', [on, 'privileges to gain'])],
  oomScoreAdj: [range(-1000, 1000), (value, ask) => atLeast(ask, 'oomScoreAdjMin', value)],
  umask: [range(0, 0o777), INSIDE],
});

const SYSCTL = message<plan.Sysctl>({
  name: [listed(SYSCTLS, 'namespaced sysctls'), (name, ask) => among(ask, 'sysctls', [name])],
  value: [matching(/^[\x20-\x7e\t]{1,256}$/, '1 to 256 printable characters'), INSIDE], // the kernel judges it
});
const ONCE = { most: 64, once: (one: string) => one };
const maskable = each(listed(MASKABLE, 'paths that can be masked'), ONCE);
const readOnlyAble = each(listed(READ_ONLY_ABLE, 'paths that can be made read-only'), ONCE);
export const HARDENING = message<plan.Hardening>({
  seccomp: [named(plan.Seccomp), (value, ask) => upTo(ask, 'seccomp', wordOf(plan.Seccomp, value))],
  // Masks are the container's: an exec brings none, and none are asked of it.
  maskedPaths: [maskable, (paths, ask) => ask.whole && holds(ask, 'maskedPaths', paths)],
  readOnlyPaths: [readOnlyAble, (paths, ask) => ask.whole && holds(ask, 'readOnlyPaths', paths)],
  sysctls: list(SYSCTL, { most: 64, once: ({ name }) => name }),
});

const cells = range(0, 65_535);
const ofTty: Form<number, plan.Stdio> = (columns, at, { tty, rows }) =>
  must(tty || (columns === 0 && rows === 0), at, 'a size needs a tty');
export const STDIO = message<plan.Stdio>({
  tty: [any, (on, ask) => may(ask, 'tty', [on, 'a terminal'])],
  ...{ stdin: [any, INSIDE], columns: [both(cells, ofTty), INSIDE], rows: [cells, INSIDE] },
});
