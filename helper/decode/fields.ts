// How limits are written: one rule for each field of a message, walked over it, each throwing Malformed with the field's name in the .proto's words.
import { asContainerId, asDigest } from '../../core/base/brand.ts';
import { Malformed, must } from './malformed.ts';

export type Rule<T> = (value: T, field: string) => void;
/** Exactly one rule for each field: one without does not compile. */
export type Rules<M> = { readonly [K in keyof M]-?: Rule<M[K]> };
type Case = { readonly $case: string; readonly value: unknown };
export type Cases<C extends Case> = { readonly [Name in C['$case']]: Rule<Extract<C, { $case: Name }>['value']> };

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const utf8 = new TextEncoder();
export const PATH_BYTES_MAX = 4096;

/** The rule of a field that can have any value of its type. */
export const any: Rule<unknown> = () => {};

/** A message that is there, each field by its rule; then `more`, for fields beside each other. */
export function message<M extends object>(rules: Rules<M>, more: Rule<M> = any): Rule<M | undefined> {
  return (value, field) => {
    if (value === undefined) throw new Malformed(field, 'must be present');
    for (const name of Object.keys(rules) as (keyof M & string)[])
      rules[name](value[name], field === '' ? snake(name) : `${field}.${snake(name)}`);
    more(value, field);
  };
}

/** A oneof that is set, by the rule of its case, whose name stands for the oneof's. */
export function choice<C extends Case>(rules: Cases<C>): Rule<C | undefined> {
  return (value, field) => {
    if (value === undefined) throw new Malformed(field, 'must be present');
    const rule = (rules as Readonly<Record<string, Rule<unknown>>>)[value.$case] ?? any;
    rule(value.value, field.replace(/[a-z_]+$/, snake(value.$case)));
  };
}

type ListBounds<T> = {
  readonly least?: number;
  readonly most: number /** What may come once only. */;
  readonly once?: (element: T) => unknown;
};

export function list<T>(
  rule: Rule<T>,
  { least = 0, most, once }: ListBounds<NonNullable<T>>,
): Rule<readonly NonNullable<T>[]> {
  return (values, field) => {
    must(values.length >= least && values.length <= most, field, `must be ${least} to ${most} elements`);
    for (const [i, value] of values.entries()) rule(value, `${field}[${i}]`);
    const keys = once === undefined ? values.map((_, i) => i) : values.map(once);
    must(new Set(keys).size === keys.length, field, 'must not name the same thing twice');
  };
}

export function range(least: number | bigint, most: number | bigint): Rule<number | bigint> {
  return (value, field) => must(value >= least && value <= most, field, `must be ${least} to ${most}`);
}

/** An enum's number: one the .proto names, not 0. */
export function named(known: Readonly<Record<string, number>>): Rule<number> {
  const numbers = new Set(Object.values(known));
  return (value, field) => must(value > 0 && numbers.has(value), field, 'must be one of the values of its enum');
}

/** Text that goes to the kernel as a C string. */
export function text(bytesMax: number, least = 0): Rule<string> {
  return (value, field) => {
    must(!value.includes('\0'), field, 'must not hold a NUL');
    const fits = value.length * 3 <= bytesMax || utf8.encode(value).length <= bytesMax;
    must(fits && value.length >= least, field, `must be ${least} to ${bytesMax} bytes`);
  };
}

export function matching(form: RegExp, words: string): Rule<string> {
  return (value, field) => must(form.test(value), field, `must be ${words}`);
}

export function among(names: { readonly has: (name: string) => boolean }, words: string): Rule<string> {
  return (value, field) => must(names.has(value), field, `must be on the list of ${words}`);
}

export const id: Rule<string> = (value, field) =>
  must(asContainerId(value) !== undefined, field, 'must be 64 lowercase hexadecimal digits');
export const digest: Rule<string> = (value, field) =>
  must(asDigest(value) !== undefined, field, 'must be sha256: and 64 lowercase hexadecimal digits');
/** An image's, topmost first. The same layer may come twice: images with several empty layers do that. */
export const layers = list(digest, { least: 1, most: 256 });

/** A path inside the container: absolute, without empty, `.` and `..` components. */
export const path: Rule<string> = (value, field) => {
  text(PATH_BYTES_MAX - 1)(value, field);
  must(value.startsWith('/'), field, 'must be an absolute path');
  for (const part of value === '/' ? [] : value.slice(1).split('/')) {
    must(!['', '.', '..'].includes(part), field, 'must be normalised: no empty, `.` or `..` component');
    text(255)(part, field);
  }
};
