// Whether a value is a policy or a principal: one check for the helper, which takes compiled files only, and for the CLI, which writes them.
import type { Policy, Problem } from './compiled.ts';
import { type Ceiling, CEILING_NAMES, CEILINGS, DEFAULT_PROFILE } from './profile.ts';

/** The first thing that is wrong with a value; undefined where nothing is. */
export type Check = (value: unknown) => Problem | undefined;

/** What is in force where no policy was written. */
export const DEFAULT_POLICY: Policy = {
  version: 1,
  selfEnrol: true,
  selfEnrolProfiles: ['default'],
  profiles: { default: DEFAULT_PROFILE },
};

const wrong = (message: string): Problem => ({ path: [], message });
const below = (key: string | number, problem: Problem | undefined): Problem | undefined =>
  problem && { ...problem, path: [key, ...problem.path] };
const is = (words: string, rule: (value: unknown) => boolean): Check => {
  return (value) => (rule(value) ? undefined : wrong(`must be ${words}`));
};
const text = (words: string, pattern: RegExp): Check =>
  is(words, (value) => typeof value === 'string' && pattern.test(value));

/** Exactly these keys. */
function record(checks: Readonly<Record<string, Check>>): Check {
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong('must be a map');
    const unknown = Object.keys(value).find((key) => !Object.hasOwn(checks, key));
    if (unknown !== undefined) return below(unknown, wrong('unknown key'));
    const fields = new Map(Object.entries(value));
    for (const [key, check] of Object.entries(checks)) {
      const problem = below(key, fields.has(key) ? check(fields.get(key)) : wrong('is missing'));
      if (problem !== undefined) return problem;
    }
    return undefined;
  };
}

/** Keys of this form, each with such a value. */
function mapOf(name: RegExp, check: Check): Check {
  return (value) => {
    const keys = Object.keys(Object(value)).filter((key) => name.test(key));
    return record(Object.fromEntries(keys.map((key) => [key, check])))(value);
  };
}

function listOf(check: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return wrong('must be a list');
    const first = value.findIndex((element, i) => check(element) !== undefined || value.indexOf(element) < i);
    return first < 0 ? undefined : below(first, check(value[first]) ?? wrong('is there already'));
  };
}

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;
const flag = is('true or false', (value) => typeof value === 'boolean');
const word = text('a text', /^[\x20-\x7e]{1,256}$/);
const name = text('a name of letters, digits, dots, dashes and underscores', NAME);
const path = text('an absolute path without empty, . or .. parts', /^(\/|(\/(?!\.{1,2}(\/|$))[^/\0]+)+)$/);
const time = text(
  'a time such as 2030-12-31T00:00:00Z, or never',
  /^(never|\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ)$/,
);
const whole = is('a whole number', Number.isSafeInteger);
const amount = is('a number from 0, or unlimited', (value) => {
  return value === 'unlimited' || (typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER);
});

function ceilingCheck(ceiling: Ceiling): Check {
  switch (ceiling.kind) {
    case 'flag':
    case 'must':
      return flag;
    case 'max':
      return amount;
    case 'min':
      return whole;
    case 'set':
    case 'needs':
      return listOf(word);
    case 'paths':
    case 'closed':
      return listOf(path);
    case 'limits':
      return mapOf(/^([a-z]+|\*)$/, amount);
    case 'rank':
      return text(`one of ${ceiling.words.join(', ')}`, new RegExp(`^(${ceiling.words.join('|')})$`));
  }
}

const MAXIMA = CEILING_NAMES.filter((one) => CEILINGS[one].kind === 'max');
const POLICY = record({
  version: is('1', (value) => value === 1),
  selfEnrol: flag,
  selfEnrolProfiles: listOf(name),
  profiles: mapOf(NAME, record(Object.fromEntries(CEILING_NAMES.map((one) => [one, ceilingCheck(CEILINGS[one])])))),
});
const PRINCIPAL = record({
  uid: is('a uid', (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) < 0xffffffff),
  keys: listOf(
    record({
      key: text('64 hexadecimal digits', /^[0-9a-f]{64}$/),
      role: text('user or broker', /^(user|broker)$/),
      notAfter: time,
    }),
  ),
  profiles: listOf(name),
  quota: mapOf(new RegExp(`^(${MAXIMA.join('|')})$`), amount),
});

/** What is wrong with a policy. */
export function policyProblem(value: unknown): Problem | undefined {
  const problem = POLICY(value);
  if (problem !== undefined) return problem;
  const { profiles, selfEnrolProfiles } = value as Policy;
  const unknown = selfEnrolProfiles.find((one) => !Object.hasOwn(profiles, one));
  return unknown === undefined ? undefined : below('selfEnrolProfiles', wrong(`no profile ${unknown}`));
}

/** What is wrong with a principal. */
export function principalProblem(value: unknown): Problem | undefined {
  return PRINCIPAL(value);
}
