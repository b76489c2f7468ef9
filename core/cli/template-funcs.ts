// The functions of `--format`. Sources: docker/cli 28.2 templates/templates.go (json, split, join, …); Go text/template/funcs.go (index, len, eq, …).
import { goText } from './go-value.ts';
import { TemplateError } from './template-parse.ts';

export type TemplateFunction = (...args: readonly unknown[]) => unknown;

function text(value: unknown): string {
  return typeof value === 'string' ? value : goText(value);
}

/** JSON as Go writes it, without spaces. A row of a list (formatter.ts) marshals itself, and there <, > and & are escaped; undefined gives null. */
export function goJson(value: unknown): string {
  const json = JSON.stringify(value ?? null);
  const isRow = typeof value === 'object' && value !== null && 'toJSON' in value;
  return isRow ? json.replace(/[<>&]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`) : json;
}

function printLine(args: readonly unknown[]): string {
  return args.map((one) => text(one)).join(' ');
}

/** Go's Sprint: a space between two values when neither is a text. */
function print(...args: readonly unknown[]): string {
  return args
    .map((one, at) => (at > 0 && typeof one !== 'string' && typeof args[at - 1] !== 'string' ? ' ' : '') + text(one))
    .join('');
}

const VERB = /%([-+# 0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])/g;

function printf(...args: readonly unknown[]): string {
  const rest = args.slice(1);
  const written = text(args[0]).replace(VERB, (...found: readonly (string | undefined)[]) => {
    const [, marks = '', width, precision, verb = ''] = found;
    if (verb === '%') return '%';
    if (rest.length === 0) return `%!${verb}(MISSING)`;
    const one = formatOne(rest.shift(), { verb, precision, marks });
    const size = Number(width ?? 0);
    if (marks.includes('-')) return one.padEnd(size);
    return one.padStart(size, marks.includes('0') && verb !== 's' ? '0' : ' ');
  });
  return rest.length === 0
    ? written
    : `${written}%!(EXTRA ${rest.map((one) => `${typeof one}=${text(one)}`).join(', ')})`;
}

function formatOne(value: unknown, how: { verb: string; precision: string | undefined; marks: string }): string {
  switch (how.verb) {
    case 'q':
      return JSON.stringify(text(value));
    case 'x':
      return typeof value === 'number' ? value.toString(16) : Buffer.from(text(value)).toString('hex');
    case 'f':
      return Number(value).toFixed(Number(how.precision ?? 6));
    case 'd':
      return typeof value === 'number' ? String(value) : `%!d(${typeof value}=${text(value)})`;
    default:
      return how.precision === undefined ? text(value) : text(value).slice(0, Number(how.precision));
  }
}

/** Go's truth: not zero, not empty. */
export function isTruthy(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '') return false;
  if (Array.isArray(value)) return value.length > 0;
  return true;
}

function index(...args: readonly unknown[]): unknown {
  let [value] = args;
  for (const key of args.slice(1)) {
    if (Array.isArray(value) || typeof value === 'string') {
      const at = Number(key);
      if (!Number.isInteger(at) || at < 0 || at >= value.length)
        throw new TemplateError(`error calling index: index out of range: ${text(key)}`);
      value = typeof value === 'string' ? value.charCodeAt(at) : value[at];
    } else if (typeof value === 'object' && value !== null) {
      value = Object.entries(value).find(([name]) => name === text(key))?.[1] ?? '';
    } else throw new TemplateError('error calling index: index of untyped nil');
  }
  return value;
}

function length(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length;
  if (value === null) return 0;
  throw new TemplateError(`error calling len: len of type ${typeof value}`);
}

function slice(value: unknown, ...ends: readonly unknown[]): unknown {
  const [from, to] = ends.map(Number);
  if (typeof value === 'string' || Array.isArray(value)) return value.slice(from ?? 0, to);
  throw new TemplateError(`error calling slice: can't slice item of type ${typeof value}`);
}

function compare(left: unknown, right: unknown, name: string): number {
  if (typeof left !== typeof right) throw new TemplateError(`error calling ${name}: incompatible types for comparison`);
  if (typeof left === 'number' && typeof right === 'number') return left - right;
  return text(left) < text(right) ? -1 : text(left) > text(right) ? 1 : 0;
}

function title(value: unknown): string {
  return text(value).replace(
    /(^|[^\p{L}\p{N}_'])(\p{L})/gu,
    (_, before: string, letter: string) => before + letter.toUpperCase(),
  );
}

/** Every function but `and` and `or`, which template.ts evaluates only as far as needed. */
export const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  json: goJson,
  split: (value, by) => text(value).split(text(by)),
  join: (list, by) => (Array.isArray(list) ? list.map(text).join(text(by)) : text(list)),
  title,
  lower: (value) => text(value).toLowerCase(),
  upper: (value) => text(value).toUpperCase(),
  pad: (value, before, after) =>
    text(value) === '' ? '' : ' '.repeat(Number(before)) + text(value) + ' '.repeat(Number(after)),
  truncate: (value, size) => text(value).slice(0, Number(size)),
  println: (...args) => `${printLine(args)}\n`,
  print,
  printf,
  index,
  slice,
  len: length,
  not: (value) => !isTruthy(value),
  eq: (left, ...others) =>
    others.some(
      (one) => (left ?? null) === (one ?? null) || (typeof left === typeof one && compare(left, one, 'eq') === 0),
    ),
  ne: (left, right) => compare(left, right, 'ne') !== 0,
  lt: (left, right) => compare(left, right, 'lt') < 0,
  le: (left, right) => compare(left, right, 'le') <= 0,
  gt: (left, right) => compare(left, right, 'gt') > 0,
  ge: (left, right) => compare(left, right, 'ge') >= 0,
  html: (...args) => printLine(args).replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`),
  js: (...args) => JSON.stringify(printLine(args)).slice(1, -1),
  urlquery: (...args) => encodeURIComponent(printLine(args)),
};

/** Whether a name is a function of templates. */
export function isFunction(name: string): boolean {
  return Object.hasOwn(FUNCTIONS, name) || name === 'and' || name === 'or';
}
