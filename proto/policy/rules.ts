// How the rules of messages are written: one table for each message, in which every field has its form and its ceiling. Both are walked the same way,
// the form of a whole request before its ceilings: the first that does not hold throws, and every ceiling adds what it refuses.
import type { Reason } from '../gen/berth/helper/v1/request.ts';
import { type At, type Bounds, below, each, type Form, fieldOf, must } from './form.ts';
import { type Amount, amount, CEILINGS, type CeilingName, covers, type Profile } from './profile.ts';
import type { Seen } from './seen.ts';

/**
 * Under which profile, with which facts, at which place; whether for a whole container (a launch), where what is not named counts too; and what was
 * refused until now.
 */
export type Ask = At & Readonly<{ profile: Profile; seen: Seen; whole: boolean; reasons: Reason[] }>;
/** Judges a field; `message` is what holds it. */
export type Ceiling<T, M = unknown> = (value: T, ask: Ask, message: M) => void;
export type Rule<T, M = unknown> = readonly [form: Form<T, M>, ceiling: Ceiling<T, M>];
/** Exactly one rule for each field: a field without one does not compile. */
export type Rules<M> = { readonly [K in keyof M]-?: Rule<M[K], M> };
type Case = { readonly $case: string; readonly value: unknown };
export type Cases<C extends Case> = { readonly [Name in C['$case']]: Rule<Extract<C, { $case: Name }>['value']> };
type Named<Kind> = { [K in CeilingName]: (typeof CEILINGS)[K]['kind'] extends Kind ? K : never }[CeilingName];

/** A name in the .proto's words. */
const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** A message that is there, each field by its rule; then `more`, for fields beside each other. */
export function message<M extends object>(rules: Rules<M>, more?: Form<M>): Rule<M | undefined> {
  const fields = (Object.keys(rules) as (keyof M & string)[]).map((name) => [name, snake(name)] as const);
  return [
    (value, at, within) => {
      must(value !== undefined, at, 'must be present');
      for (const [name, word] of fields) rules[name][0](value[name], below(at, word), value);
      more?.(value, at, within);
    },
    (value, ask) => {
      if (value === undefined) refuse(ask, 'present', ['nothing', 'a value']);
      else for (const [name, word] of fields) rules[name][1](value[name], below(ask, word), value);
    },
  ];
}

/** A oneof that is set, by the rule of its case, whose name stands for the oneof's. */
export function choice<C extends Case>(cases: Cases<C>): Rule<C | undefined> {
  const rules: Readonly<Record<string, Rule<unknown>>> = cases;
  return [
    (value, at, within) => {
      must(value !== undefined, at, 'must be present');
      rules[value.$case]?.[0](value.value, inCase(at, value), within);
    },
    (value, ask, within) => {
      if (value === undefined) refuse(ask, 'present', ['nothing', 'a value']);
      else rules[value.$case]?.[1](value.value, inCase(ask, value), within);
    },
  ];
}

/** The place of a oneof's case. */
export function inCase<A extends At>(at: A, { $case }: Case): A {
  return { ...at, path: [...at.path.slice(0, -1), snake($case)] };
}

export function list<T>([form, ceiling]: Rule<T>, bounds: Bounds<NonNullable<T>>): Rule<readonly NonNullable<T>[]> {
  return [
    each(form, bounds),
    (values, ask) => {
      for (const [i, value] of values.entries()) ceiling(value, below(ask, i), values);
    },
  ];
}

const free: Ceiling<unknown> = () => {};
// Why a field gives nobody anything.
export const INSIDE = free; // it acts inside the container
export const OWNED = free; // it is looked up under the principal
export const BESIDE = free; // it is judged with a field beside it or the message that holds it
export const GATED = free; // the gate checks it

export function refuse(ask: Ask, rule: string, [asked, allowed]: readonly [string, string]): void {
  ask.reasons.push({ rule, field: fieldOf(ask.path), asked, allowed });
}

/** set: every name is covered by the profile's list. */
export function among(ask: Ask, rule: Named<'set'>, names: readonly string[]): void {
  const allowed: readonly string[] = ask.profile[rule];
  const beyond = names.filter((name) => !allowed.some((element) => covers(element, name)));
  if (beyond.length > 0) refuse(ask, rule, [beyond.join(' '), allowed.join(' ') || 'none']);
}

/** max: the number, endless where undefined, is not above the profile's. */
export function atMost(ask: Ask, rule: Named<'max'>, value: number | bigint | undefined): void {
  const most: Amount = ask.profile[rule];
  const asked = value ?? Number.POSITIVE_INFINITY;
  if (asked > amount(most)) refuse(ask, rule, [value === undefined ? 'no limit' : String(value), `at most ${most}`]);
}

/** flag: what is asked, in these words, needs the profile's word. */
export function may(ask: Ask, rule: Named<'flag'>, [asked, words]: readonly [boolean, string]): void {
  if (asked && !ask.profile[rule]) refuse(ask, rule, [words, 'no such thing']);
}

/** min: the number is not below the profile's. */
export function atLeast(ask: Ask, rule: Named<'min'>, value: number): void {
  if (value < ask.profile[rule]) refuse(ask, rule, [String(value), `at least ${ask.profile[rule]}`]);
}

/** must: what is not asked, in these words, is what the profile demands. */
export function hasTo(ask: Ask, rule: Named<'must'>, [asked, without]: readonly [boolean, string]): void {
  if (!asked && ask.profile[rule]) refuse(ask, rule, [without, 'none']);
}

/** rank: the word stands not behind the profile's in the list; an unknown one is refused. */
export function upTo(ask: Ask, rule: Named<'rank'>, word: string): void {
  const words: readonly string[] = CEILINGS[rule].words;
  const [rank, most] = [words.indexOf(word), ask.profile[rule]];
  if (rank < 0 || rank > words.indexOf(most)) refuse(ask, rule, [word, `at most ${most}`]);
}

/** needs: the names asked hold all of the profile's. */
export function holds(ask: Ask, rule: Named<'needs'>, names: readonly string[]): void {
  const missing = ask.profile[rule].filter((name) => !names.includes(name));
  if (missing.length > 0) refuse(ask, rule, [`without ${missing.join(' ')}`, `with ${ask.profile[rule].join(' ')}`]);
}

/** An enum's word as policies write it, `RESOURCE_NOFILE` as `nofile`; one that no policy can name where the .proto has none. */
export function wordOf(known: Readonly<Record<string, number>>, value: number): string {
  const name = (wanted: number): string => Object.keys(known).find((one) => known[one] === wanted) ?? '';
  const prefix = name(0).length - 'UNSPECIFIED'.length;
  return value <= 0 || name(value) === '' ? `number ${value}` : name(value).slice(prefix).toLowerCase();
}
