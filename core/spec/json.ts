// Reads JSON of others into typed values: a table of fields is the type, the check and the zero value at once. As in Go, a missing
// field and null give the zero value; unlike Go, a wrong type names the field and what was found.
import { BerthError, type Code } from '../base/errors.ts';

/** How one value is read. `zero` is what a missing field gives; both are in the shape of the wire, so JSON.stringify prints them back. */
export type Field<T> = {
  readonly read: (value: unknown, at: string) => T;
  readonly zero: () => T;
};
/** The type a field reads. */
export type Of<F> = F extends Field<infer T> ? T : never;
type Fields = Readonly<Record<string, Field<unknown>>>;
type Omittable<F extends Fields> = { [K in keyof F]: undefined extends Of<F[K]> ? K : never }[keyof F];
type Shape<F extends Fields> = { readonly [K in Exclude<keyof F, Omittable<F>>]: Of<F[K]> } & {
  readonly [K in Omittable<F>]?: Of<F[K]>;
};
/** A field of an object that also tells which names it knows. */
export type ObjectField<F extends Fields> = Field<Shape<F>> & { readonly fields: F };

/** Thrown while reading: where, what was expected, what was found. Callers add which document it was. */
export class Mismatch extends Error {
  readonly at: string;
  constructor(at: string, message: string) {
    super(message);
    this.at = at;
  }
}

function mismatch(at: string, expected: string, value: unknown): never {
  throw new Mismatch(at, `${at === '' ? 'it' : at} must be ${expected}, not ${nameOf(value)}`);
}

/** A short name of a JSON value for messages. */
export function nameOf(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** Makes a field from a check of values that are there; a missing value gives `zero`. */
function field<T>(zero: T, read: (value: unknown, at: string) => T): Field<T> {
  return {
    read: (value, at) => (value === null || value === undefined ? zero : read(value, at)),
    zero: () => zero,
  };
}

export const text: Field<string> = field('', (value, at) =>
  typeof value === 'string' ? value : mismatch(at, 'a string', value),
);

export const bool: Field<boolean> = field(false, (value, at) =>
  typeof value === 'boolean' ? value : mismatch(at, 'true or false', value),
);

/** A whole number within ±(2^53 - 1). */
export const int: Field<number> = field(0, (value, at) =>
  Number.isSafeInteger(value) ? (value as number) : mismatch(at, 'a whole number within ±(2^53 - 1)', value),
);

/** Any JSON, kept as it is. */
export const raw: Field<unknown> = { read: (value) => value ?? null, zero: () => null };

/** A pointer in Go's words: null is a value of its own. */
export function nullable<T>(of: Field<T>): Field<T | null> {
  return field<T | null>(null, of.read);
}

/** Left out when printed unless it was given, as a Go pointer with `omitempty`. */
export function optional<T>(of: Field<T>): Field<T | undefined> {
  return field<T | undefined>(undefined, of.read);
}

/** Left out when printed while it has its zero value, as Go's `omitempty`. */
export function omitempty<T>(of: Field<T>): Field<T | undefined> {
  return field<T | undefined>(undefined, (value, at) => {
    const got = of.read(value, at);
    return isEmpty(got) ? undefined : got;
  });
}

/** As Go's omitempty sees it: a map with a key is not empty, whatever the key's value (`Tmpfs: {"/run": ""}`). */
function isEmpty(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return isZero(value);
  return Object.keys(value).length === 0;
}

/** A list; null stays null, as in Docker's answers. */
export function list<T>(of: Field<T>): Field<readonly T[] | null> {
  return field<readonly T[] | null>(null, (value, at) =>
    Array.isArray(value) ? value.map((item, i) => of.read(item, `${at}[${i}]`)) : mismatch(at, 'a list', value),
  );
}

/** An object with free keys; null stays null. */
export function dict<T>(of: Field<T>): Field<Readonly<Record<string, T>> | null> {
  return field<Readonly<Record<string, T>> | null>(null, (value, at) => {
    const pairs = Object.entries(asObject(value, at)).map(([key, item]) => [key, of.read(item, `${at}[${key}]`)]);
    return Object.fromEntries(pairs) as Readonly<Record<string, T>>; // own properties only, also for `__proto__`
  });
}

export const texts = list(text);
export const textDict = dict(text);

/** A list of words that may also come as one string. Source: moby api/types/strslice. */
export const words: Field<readonly string[] | null> = field<readonly string[] | null>(null, (value, at) =>
  typeof value === 'string' ? [value] : texts.read(value, at),
);

/** An object with known fields. Others are ignored, as Docker does; unknownFields() names them. */
export function object<F extends Fields>(fields: F): ObjectField<F> {
  const names = Object.keys(fields) as (keyof F & string)[];
  const build = (make: (of: Field<unknown>, name: string) => unknown): Shape<F> =>
    Object.fromEntries(names.map((name) => [name, make(fields[name] as Field<unknown>, name)])) as Shape<F>;
  return {
    fields,
    zero: () => build((of) => of.zero()),
    read: (value, at) => {
      if (value === null || value === undefined) return build((of) => of.zero());
      const found = asObject(value, at);
      return build((of, name) => of.read(found[name], at === '' ? name : `${at}.${name}`));
    },
  };
}

/** The value as a plain object. Throws Mismatch. */
export function asObject(value: unknown, at: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return mismatch(at, 'an object', value);
  return value as Readonly<Record<string, unknown>>;
}

/** Whether a value means "not set": null, false, 0, '', an empty list, Go's array of zeros, and objects of nothing but such. */
export function isZero(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === '') return true;
  if (Array.isArray(value)) return value.every((item) => item === 0);
  return typeof value === 'object' && Object.values(value).every(isZero);
}

/** Names in `value` that the object does not know and that are set to something. */
export function unknownFields<F extends Fields>(of: ObjectField<F>, value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value)
    .filter(([name, item]) => !Object.hasOwn(of.fields, name) && !isZero(item))
    .map(([name]) => name);
}

export type Document = { readonly what: string; readonly code: Code; readonly hint?: string };

/** Reads a whole document, which must be an object. Throws BerthError with the document's code: what, where, why. */
export function readDocument<T>(of: Field<T>, value: unknown, document: Document): T {
  try {
    asObject(value, '');
    return of.read(value, '');
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    const hint = document.hint === undefined ? {} : { hint: document.hint };
    throw new BerthError(document.code, `${document.what}: ${error.message}`, { cause: error, ...hint });
  }
}
