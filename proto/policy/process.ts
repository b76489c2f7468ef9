// What is executed, by launch and exec: the process, its hardening, its standard streams. Nothing is left to the kernel's or the helper's choice.
import { CAP_MASK, CAP_NAMES } from '../abi/capability.gen.ts';
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { any, each, type Form, listed, matching, must, named, PATH_BYTES_MAX, path, range, text } from './form.ts';
import { MASKABLE, READ_ONLY_ABLE, SYSCTLS } from './lists.ts';
import { amount, limitOf } from './profile.ts';
import {
  type Ceiling,
  among,
  BESIDE,
  both,
  holds,
  INSIDE,
  list,
  may,
  message,
  refuse,
  type Rule,
  upTo,
  wordOf,
} from './rules.ts';

const STRING_BYTES_MAX = 65_536;
const ENDLESS = 2n ** 64n - 1n;
const one: Form<number | bigint> = range(0, 0xffffffff - 1); // 2^32 - 1 means "no change" to setresuid(2)
const MAPPED = INSIDE; // an id of the user namespace; that of the host has its own rule

const variable: Form<string> = (value, at) => {
  text(STRING_BYTES_MAX)(value, at, value);
  must(value.indexOf('=') > 0, at, 'must be KEY=VALUE');
};

/** The names of a set of capabilities. */
export function capabilityNames(bits: bigint): string[] {
  const digits = [...bits.toString(2)].reverse();
  return digits.flatMap((digit, bit) => (digit === '1' ? [CAP_NAMES[bit] ?? `number ${bit}`] : []));
}

const known: Form<bigint> = (set, at) => must((set & ~CAP_MASK) === 0n, at, 'must hold known capabilities only');

/** A set within others. The bounding set is judged whole, of this one what that does not hold. */
function within(whole: (all: plan.Capabilities) => bigint, rule: string): Rule<bigint, plan.Capabilities> {
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

const judgeLimit: Ceiling<number, plan.ResourceLimit> = (resource, ask, { soft, hard }) => {
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
  env: [each(variable, { most: STRING_BYTES_MAX }), INSIDE],
  executables: [each(text(PATH_BYTES_MAX - 1, 1), { least: 1, most: 64 }), INSIDE],
  cwd: [path, INSIDE],
  uid: [one, MAPPED],
  gid: [one, MAPPED],
  groups: [each(one, { most: 1024 }), MAPPED],
  rlimits: list(LIMIT, { most: 16, once: ({ resource }) => resource }),
  capabilities: CAPABILITIES,
  noNewPrivileges: [
    any,
    (on, ask) => ask.profile.noNewPrivileges && !on && refuse(ask, 'noNewPrivileges', ['privileges to gain', 'none']),
  ],
  oomScoreAdj: [
    range(-1000, 1000),
    (value, ask) => {
      const least = ask.profile.oomScoreAdjMin;
      if (value < least) refuse(ask, 'oomScoreAdjMin', [String(value), `at least ${least}`]);
    },
  ],
  umask: [range(0, 0o777), INSIDE],
});

const SYSCTL = message<plan.Sysctl>({
  name: [listed(SYSCTLS, 'namespaced sysctls'), (name, ask) => among(ask, 'sysctls', [name])],
  value: [matching(/^[\x20-\x7e\t]{1,256}$/, '1 to 256 printable characters'), INSIDE], // the kernel judges it
});
const paths = (of: { readonly has: (path: string) => boolean }, words: string) =>
  each(listed(of, words), { most: 64, once: (one) => one });

/** Masks are the container's: an exec brings none, and none are asked of it. */
export function hardening(whole: boolean): Rule<plan.Hardening | undefined> {
  return message<plan.Hardening>({
    seccomp: [named(plan.Seccomp), (value, ask) => upTo(ask, 'seccomp', wordOf(plan.Seccomp, value))],
    maskedPaths: [paths(MASKABLE, 'paths that can be masked'), (all, ask) => whole && holds(ask, 'maskedPaths', all)],
    readOnlyPaths: [
      paths(READ_ONLY_ABLE, 'paths that can be made read-only'),
      (all, ask) => whole && holds(ask, 'readOnlyPaths', all),
    ],
    sysctls: list(SYSCTL, { most: 64, once: ({ name }) => name }),
  });
}

const size: Form<number> = range(0, 65_535);
export const STDIO = message<plan.Stdio>({
  tty: [any, (on, ask) => may(ask, 'tty', [on, 'a terminal'])],
  stdin: [any, INSIDE],
  rows: [size, INSIDE],
  columns: [
    both(size, (columns, at, { tty, rows }) => must(tty || (columns === 0 && rows === 0), at, 'a size needs a tty')),
    INSIDE,
  ],
});
