// How rules are written: one function for each field of a message, walked over the message, each adding what it refuses.
import type { Reason } from '../gen/berth/helper/v1/request.ts';
import { type Amount, amount, CEILINGS, type CeilingName, covers, type Profile } from './profile.ts';
import type { Seen } from './seen.ts';

export type Ask = {
  readonly profile: Profile;
  readonly seen: Seen;
  /** The field being judged, in the .proto's words: `launch.process.oom_score_adj`. */
  readonly field: string;
  readonly reasons: Reason[];
};
/** Exactly one rule for each field: a field without one does not compile. */
export type Rules<M> = { readonly [K in keyof M]-?: (value: M[K], ask: Ask, message: M) => void };
type Named<Kind> = { [K in CeilingName]: (typeof CEILINGS)[K]['kind'] extends Kind ? K : never }[CeilingName];

/** The place of a field in what is judged. A oneof's name is none. */
export function at(ask: Ask, name: string): Ask {
  if (name === 'source' || name === 'verb') return ask;
  const word = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return { ...ask, field: ask.field === '' ? word : `${ask.field}.${word}` };
}

/** Judges every field of a message by its rule. A message that is missing is refused. */
export function judge<M extends object>(rules: Rules<M>, message: M | undefined, ask: Ask): void {
  if (message === undefined) refuse(ask, 'present', ['nothing', 'a value']);
  else
    for (const name of Object.keys(rules) as (keyof M & string)[]) rules[name](message[name], at(ask, name), message);
}

/** The rule of a field that is a message: every field of that by its own. */
export function all<M extends object>(rules: Rules<M>): (message: M | undefined, ask: Ask) => void {
  return (message, ask) => judge(rules, message, ask);
}

export function each<M extends object>(rules: Rules<M>): (messages: readonly M[], ask: Ask) => void {
  return (messages, ask) => {
    for (const [i, message] of messages.entries()) judge(rules, message, { ...ask, field: `${ask.field}[${i}]` });
  };
}

/** The rule of fields that give nobody anything, for the reason given. */
export function free<Name extends string>(_why: string, ...names: Name[]): Readonly<Record<Name, () => void>> {
  return Object.fromEntries(names.map((name) => [name, () => {}])) as Record<Name, () => void>;
}

export function refuse(ask: Ask, rule: string, [asked, allowed]: readonly [asked: string, allowed: string]): void {
  ask.reasons.push({ rule, field: ask.field, asked, allowed });
}

/** set: every name is covered by the profile's list. */
export function among(ask: Ask, rule: Named<'set'>, names: readonly string[]): void {
  const list: readonly string[] = ask.profile[rule];
  const beyond = names.filter((name) => !list.some((element) => covers(element, name)));
  if (beyond.length > 0) refuse(ask, rule, [beyond.join(' '), list.join(' ') || 'none']);
}

/** max: the number, endless where undefined, is not above the profile's. */
export function atMost(ask: Ask, rule: Named<'max'>, value: number | bigint | undefined): void {
  const most: Amount = ask.profile[rule];
  const asked = value ?? Number.POSITIVE_INFINITY;
  if (asked > amount(most)) refuse(ask, rule, [value === undefined ? 'no limit' : String(value), `at most ${most}`]);
}

/** flag: what is asked, in these words, needs the profile's word. */
export function may(ask: Ask, rule: Named<'flag'>, [asked, words]: readonly [asked: boolean, words: string]): void {
  if (asked && !ask.profile[rule]) refuse(ask, rule, [words, 'no such thing']);
}

/** rank: the word stands not behind the profile's in the list; an unknown one is refused. */
export function upTo(ask: Ask, rule: Named<'rank'>, word: string): void {
  const words: readonly string[] = CEILINGS[rule].words;
  const rank = words.indexOf(word);
  const most = ask.profile[rule];
  if (rank < 0 || rank > words.indexOf(most)) refuse(ask, rule, [word, `at most ${most}`]);
}

/** needs: the names asked hold all of the profile's. */
export function holds(ask: Ask, rule: Named<'needs'>, names: readonly string[]): void {
  const missing = ask.profile[rule].filter((name) => !names.includes(name));
  if (missing.length > 0) refuse(ask, rule, [`without ${missing.join(' ')}`, `with ${ask.profile[rule].join(' ')}`]);
}

/** An enum's word as policies write it, `RESOURCE_NOFILE` as `nofile`; one that no policy can name where the .proto has none. */
export function wordOf(known: Readonly<Record<string, number>>, value: number): string {
  const named = (wanted: number): string => Object.keys(known).find((name) => known[name] === wanted) ?? '';
  if (value <= 0 || named(value) === '') return `number ${value}`;
  return named(value)
    .slice(named(0).length - 'UNSPECIFIED'.length)
    .toLowerCase();
}
