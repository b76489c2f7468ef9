// The compiled files: policy.json and principals/NAME.json. One reader for the helper, which takes nothing else, and for the CLI, which writes them.
import { type Amount, type Ceiling, CEILING_NAMES, CEILINGS, DEFAULT_PROFILE, type Profile } from './profile.ts';

export type Policy = {
  readonly version: 1;
  /** Whether a user without a principal may enrol his first key himself, on the kernel's word about his uid. */
  readonly selfEnrol: boolean;
  readonly selfEnrolProfiles: readonly string[];
  readonly profiles: Readonly<Record<string, Profile>>;
};
export type Principal = {
  readonly uid: number;
  readonly keys: readonly {
    /** The raw public key, hexadecimal. */
    readonly key: string;
    readonly role: 'user' | 'broker';
    /** RFC 3339 in UTC, or `never`. */
    readonly notAfter: string;
  }[];
  readonly profiles: readonly string[];
  /** Greatest numbers beside those of the profiles. */
  readonly quota: Readonly<Partial<Record<string, Amount>>>;
};
export type Problem = { readonly path: readonly (string | number)[]; readonly message: string };
/** Adds what is wrong with a value. */
export type Check = (value: unknown, path: Problem['path'], problems: Problem[]) => void;

/** What `berth system up` puts where no policy is. */
export const DEFAULT_POLICY: Policy = {
  version: 1,
  selfEnrol: true,
  selfEnrolProfiles: ['default'],
  profiles: { default: DEFAULT_PROFILE },
};

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;

/** A value that holds to a rule, told in words. */
function is(rule: (value: unknown) => boolean, words: string): Check {
  return (value, path, problems) => {
    if (!rule(value)) problems.push({ path, message: `must be ${words}, is ${JSON.stringify(value) ?? 'missing'}` });
  };
}

function record(checks: Readonly<Record<string, Check>>): Check {
  return (value, path, problems) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return void problems.push({ path, message: 'must be a map' });
    }
    const unknown = Object.keys(value).filter((key) => !Object.hasOwn(checks, key));
    for (const key of unknown) problems.push({ path: [...path, key], message: `unknown key ${key}` });
    const fields = new Map(Object.entries(value));
    for (const [key, check] of Object.entries(checks)) check(fields.get(key), [...path, key], problems);
  };
}

function mapOf(name: RegExp, check: Check): Check {
  return (value, path, problems) => {
    const keys = typeof value === 'object' && value !== null ? Object.keys(value) : [];
    record(Object.fromEntries(keys.filter((key) => name.test(key)).map((key) => [key, check])))(value, path, problems);
  };
}

function listOf(check: Check): Check {
  return (value, path, problems) => {
    const list: unknown[] = Array.isArray(value) ? value : [];
    is(Array.isArray, 'a list')(value, path, problems);
    list.forEach((element, i) => void check(element, [...path, i], problems));
    if (new Set(list).size < list.length) problems.push({ path, message: 'must not name the same thing twice' });
  };
}

const flag = is((value) => typeof value === 'boolean', 'true or false');
const text = is((value) => typeof value === 'string' && /^[\x20-\x7e]{1,256}$/.test(value), 'a text');
const name = is((value) => typeof value === 'string' && NAME.test(value), 'a name');
const amountCheck = is((value) => value === 'unlimited' || isCount(value), 'a number from 0 or unlimited');
const path = is((value) => typeof value === 'string' && isTree(value), 'an absolute path without empty, . or .. parts');

function isCount(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}

function isTree(tree: string): boolean {
  return (
    tree === '/' || (/^(\/[^/\0]+)+$/.test(tree) && !tree.split('/').some((part) => part === '.' || part === '..'))
  );
}

/** What a ceiling's value may be. */
export function ceilingCheck(ceiling: Ceiling): Check {
  switch (ceiling.kind) {
    case 'flag':
    case 'must':
      return flag;
    case 'max':
      return amountCheck;
    case 'min':
      return is(Number.isSafeInteger, 'a whole number');
    case 'set':
    case 'needs':
      return listOf(text);
    case 'paths':
    case 'closed':
      return listOf(path);
    case 'limits':
      return mapOf(/^([a-z]+|\*)$/, amountCheck);
    case 'rank':
      return is((value) => ceiling.words.includes(String(value)), `one of ${ceiling.words.join(', ')}`);
  }
}

const PROFILE = record(Object.fromEntries(CEILING_NAMES.map((one) => [one, ceilingCheck(CEILINGS[one])])));
const POLICY = record({
  version: is((value) => value === 1, '1'),
  selfEnrol: flag,
  selfEnrolProfiles: listOf(name),
  profiles: mapOf(NAME, PROFILE),
});
const KEY = record({
  key: is((value) => /^[0-9a-f]{64}$/.test(String(value)), '64 hexadecimal digits'),
  role: is((value) => value === 'user' || value === 'broker', 'user or broker'),
  notAfter: is((value) => value === 'never' || isTime(String(value)), 'a time such as 2030-12-31T00:00:00Z, or never'),
});
const MAXIMA = CEILING_NAMES.filter((one) => CEILINGS[one].kind === 'max');
const PRINCIPAL = record({
  uid: is((value) => isCount(value) && Number.isInteger(value) && Number(value) < 0xffffffff, 'a uid'),
  keys: listOf(KEY),
  profiles: listOf(name),
  quota: mapOf(new RegExp(`^(${MAXIMA.join('|')})$`), amountCheck),
});

function isTime(time: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(time) && !Number.isNaN(Date.parse(time));
}

/** What is wrong with a policy; nothing wrong makes it one. */
export function policyProblems(value: unknown): Problem[] {
  const problems: Problem[] = [];
  POLICY(value, [], problems);
  if (problems.length > 0) return problems;
  const { profiles, selfEnrolProfiles } = value as Policy;
  const unknown = selfEnrolProfiles.filter((one) => !Object.hasOwn(profiles, one));
  return unknown.map((one) => ({ path: ['selfEnrolProfiles'], message: `no profile ${one}` }));
}

/** What is wrong with a principal; nothing wrong makes it one. */
export function principalProblems(value: unknown): Problem[] {
  const problems: Problem[] = [];
  PRINCIPAL(value, [], problems);
  return problems;
}
