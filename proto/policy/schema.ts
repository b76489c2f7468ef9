// What the compiled files must be, policy.json and principals/NAME.json: forms for the helper, which takes nothing else, and for the CLI, which
// writes them and says where a value is wrong.
import type { Policy } from './compiled.ts';
import { below, both, type Form, must } from './form.ts';
import { type Ceiling, CEILING_NAMES, CEILINGS, DEFAULT_PROFILE } from './profile.ts';

const profiles = { default: DEFAULT_PROFILE };
/** What is in force where no policy was written. */
export const DEFAULT_POLICY: Policy = { version: 1, selfEnrol: true, selfEnrolProfiles: ['default'], profiles };

type Check = Form<unknown>;
const is = (words: string, rule: (value: unknown) => boolean): Check => {
  return (value, at) => must(rule(value), at, `must be ${words}`);
};
const text = (words: string, pattern: RegExp): Check =>
  is(words, (value) => typeof value === 'string' && pattern.test(value));

/** Exactly these keys. */
function record(checks: Readonly<Record<string, Check>>): Check {
  return (value, at) => {
    must(typeof value === 'object' && value !== null && !Array.isArray(value), at, 'must be a map');
    for (const key of Object.keys(value)) must(Object.hasOwn(checks, key), below(at, key), 'unknown key');
    for (const [key, check] of Object.entries(checks)) {
      must(Object.hasOwn(value, key), below(at, key), 'is missing');
      check((value as Readonly<Record<string, unknown>>)[key], below(at, key), value);
    }
  };
}

/** Keys of this form, each with such a value. */
function mapOf(name: RegExp, check: Check): Check {
  return (value, at) => {
    const keys = Object.keys(Object(value)).filter((key) => name.test(key));
    record(Object.fromEntries(keys.map((key) => [key, check])))(value, at, value);
  };
}

function listOf(check: Check): Check {
  return (value, at) => {
    must(Array.isArray(value), at, 'must be a list');
    for (const [i, element] of value.entries()) {
      check(element, below(at, i), value);
      must(value.indexOf(element) === i, below(at, i), 'is there already');
    }
  };
}

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;
const END = /^(never|\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ)$/;
const flag = is('true or false', (value) => typeof value === 'boolean');
const word = text('a text', /^[\x20-\x7e]{1,256}$/);
const name = text('a name of letters, digits, dots, dashes and underscores', NAME);
const path = text('an absolute path without empty, . or .. parts', /^(\/|(\/(?!\.{1,2}(\/|$))[^/\0]+)+)$/);
const oneOf = (...words: string[]): Check => text(`one of ${words.join(', ')}`, new RegExp(`^(${words.join('|')})$`));
const isAmount = (value: unknown): boolean =>
  value === 'unlimited' || (typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER);
const amount = is('a number from 0, or unlimited', isAmount);

const VALUES: { readonly [Kind in Exclude<Ceiling['kind'], 'rank'>]: Check } = {
  ...{ flag, must: flag, max: amount, min: is('a whole number', Number.isSafeInteger) },
  ...{ set: listOf(word), needs: listOf(word), paths: listOf(path), closed: listOf(path) },
  limits: mapOf(/^([a-z]+|\*)$/, amount),
};
const checkOf = (ceiling: Ceiling): Check => (ceiling.kind === 'rank' ? oneOf(...ceiling.words) : VALUES[ceiling.kind]);

export const POLICY = both(
  record({
    version: is('1', (value) => value === 1),
    selfEnrol: flag,
    selfEnrolProfiles: listOf(name),
    profiles: mapOf(NAME, record(Object.fromEntries(CEILING_NAMES.map((one) => [one, checkOf(CEILINGS[one])])))),
  }),
  (value, at) => {
    const { profiles, selfEnrolProfiles } = value as Policy;
    for (const one of selfEnrolProfiles)
      must(Object.hasOwn(profiles, one), below(at, 'selfEnrolProfiles'), `no profile ${one}`);
  },
);
const KEY = record({
  key: text('64 hexadecimal digits', /^[0-9a-f]{64}$/),
  role: text('user or broker', /^(user|broker)$/),
  notAfter: text('a time such as 2030-12-31T00:00:00Z, or never', END),
});
const MAXIMA = CEILING_NAMES.filter((one) => CEILINGS[one].kind === 'max');
export const PRINCIPAL = record({
  uid: is('a uid', (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) < 0xffffffff),
  keys: listOf(KEY),
  profiles: listOf(name),
  quota: mapOf(new RegExp(`^(${MAXIMA.join('|')})$`), amount),
});
