// What a value must be, whoever asks: each form throws Malformed, which tells the place and the rule. Requests and compiled files are read by these.

export type Path = readonly (string | number)[];
/** The place of what is looked at. */
export type At = { readonly path: Path };
/** Throws Malformed for a value that is none; `message` is what holds it. */
export type Form<T, M = unknown> = (value: T, at: At, message: M) => void;

/** A value that no policy could allow, because it is not one. */
export class Malformed extends Error {
  readonly path: Path;
  readonly field: string;
  readonly rule: string;
  constructor(path: Path, rule: string) {
    super(path.length > 0 ? `${fieldOf(path)}: ${rule}` : rule);
    this.path = path;
    this.field = fieldOf(path);
    this.rule = rule;
  }
}

/** Throws Malformed for the place unless it holds to the rule. */
export function must(held: boolean, at: At, rule: string): asserts held {
  if (!held) throw new Malformed(at.path, rule);
}

/** A place in words: `launch.process.rlimits[2].soft`. */
export function fieldOf(path: Path): string {
  const steps = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`));
  return steps.join('').replace(/^\./, '');
}

/** The place beneath one. */
export function below<A extends At>(at: A, ...steps: Path): A {
  return { ...at, path: [...at.path, ...steps] };
}

/** Two forms or ceilings of one field, one after the other. */
export function both<T, A extends At, M>(
  first: (value: T, at: A, message: unknown) => void,
  then: (value: T, at: A, message: M) => void,
) {
  return (value: T, at: A, message: M): void => {
    first(value, at, message);
    then(value, at, message);
  };
}

const utf8 = new TextEncoder();
export const PATH_BYTES_MAX = 4096;
export const BYTES_MAX = 2n ** 53n - 1n;

/** The form of what can have any value of its type. */
export const any: Form<unknown> = () => {};

/** How many elements, and what of each may come once only. */
export type Bounds<T> = { readonly least?: number; readonly most: number; readonly once?: (element: T) => unknown };

/** A list of elements of this form. */
export function each<T>(form: Form<T>, { least = 0, most, once }: Bounds<NonNullable<T>>) {
  return (values: readonly NonNullable<T>[], at: At): void => {
    must(values.length >= least && values.length <= most, at, `must be ${least} to ${most} elements`);
    for (const [i, value] of values.entries()) form(value, below(at, i), values);
    const unlike = once === undefined || new Set(values.map(once)).size === values.length;
    must(unlike, at, 'must not name the same thing twice');
  };
}

export function range(least: number | bigint, most: number | bigint): Form<number | bigint> {
  return (value, at) => must(value >= least && value <= most, at, `must be ${least} to ${most}`);
}

/** An enum's number: one the .proto names, not 0. */
export function named(known: Readonly<Record<string, number>>): Form<number> {
  const numbers = new Set(Object.values(known));
  return (value, at) => must(value > 0 && numbers.has(value), at, 'must be one of the values of its enum');
}

/** Text that goes to the kernel as a C string. */
export function text(bytesMax: number, least = 0): Form<string> {
  return (value, at) => {
    must(!value.includes('\0'), at, 'must not hold a NUL');
    const fits = value.length * 3 <= bytesMax || utf8.encode(value).length <= bytesMax;
    must(fits && value.length >= least, at, `must be ${least} to ${bytesMax} bytes`);
  };
}

export function matching(form: RegExp, words: string): Form<string> {
  return (value, at) => must(form.test(value), at, `must be ${words}`);
}

export function listed(names: { readonly has: (name: string) => boolean }, words: string): Form<string> {
  return (value, at) => must(names.has(value), at, `must be on the list of ${words}`);
}

export const id = matching(/^[0-9a-f]{64}$/, '64 lowercase hexadecimal digits');
export const digest = matching(/^sha256:[0-9a-f]{64}$/, 'sha256: and 64 lowercase hexadecimal digits');

/** A path inside the container: absolute, without empty, `.` and `..` components. */
export const path: Form<string> = (value, at) => {
  text(PATH_BYTES_MAX - 1)(value, at, value);
  must(value.startsWith('/'), at, 'must be an absolute path');
  for (const part of value === '/' ? [] : value.slice(1).split('/')) {
    must(!['', '.', '..'].includes(part), at, 'must be normalised: no empty, `.` or `..` component');
    text(255)(part, at, value);
  }
};
