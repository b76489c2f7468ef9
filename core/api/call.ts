// What a route is given and what it gives back. Routes decide and return an Answer; only answer.ts and hijack.ts write to sockets.
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { BerthError } from '../base/errors.ts';
import type { Attachment, Engine } from '../engine/engine.ts';

export type Call = {
  readonly engine: Engine;
  readonly method: string;
  /** The path without the version. */
  readonly path: string;
  /** The part of the path the route's `*` stands for: a name, an id, a reference. */
  readonly name: string;
  /** 1.41 is 41. Without a version in the path: the newest. */
  readonly minor: number;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
};

export type Answer =
  | { kind: 'json'; status: number; value: unknown }
  | { kind: 'text'; status: number; text: string; headers?: Readonly<Record<string, string>> }
  | { kind: 'empty'; status: number }
  /** Chunks as they come; the head goes out before the first one. */
  | { kind: 'stream'; type: string; chunks: AsyncIterable<Uint8Array> }
  /** The connection becomes the container's streams. `open` runs once the head is out: what it throws is told as output. */
  | { kind: 'hijack'; tty: boolean; type: string; open: () => Promise<Attachment> };

export type Handler = (call: Call) => Promise<Answer>;

export const EMPTY: Answer = { kind: 'empty', status: 204 };

/** Docker's truth of a query value. Source: moby api/server/httputils/form.go, BoolValue. */
export function isSet(call: Call, name: string): boolean {
  const value = (call.query.get(name) ?? '').trim().toLowerCase();
  return !['', '0', 'no', 'false', 'none'].includes(value);
}

/** A whole number of the query; undefined when absent or empty. Throws bad_parameter. */
export function wholeOf(call: Call, name: string): number | undefined {
  const text = call.query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^-?\d{1,15}$/.test(text)) {
    throw new BerthError('bad_parameter', `invalid value for ${name}: ${JSON.stringify(text)} is not a whole number`);
  }
  return Number(text);
}

/** `filters={"status":["running"]}`, or the old `{"status":{"running":true}}`. Throws bad_parameter. */
export function filtersOf(call: Call): Record<string, readonly string[]> {
  const text = call.query.get('filters');
  if (text === null || text === '') return {};
  const bad = new BerthError(
    'bad_parameter',
    `invalid filter: ${text.slice(0, 200)} is not an object of lists of texts`,
  );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BerthError('bad_parameter', bad.message, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad;
  const filters: Record<string, readonly string[]> = {};
  for (const [key, given] of Object.entries(value)) {
    const list: unknown =
      Array.isArray(given) || typeof given !== 'object' || given === null ? given : Object.keys(given);
    if (!Array.isArray(list) || list.some((one) => typeof one !== 'string')) throw bad;
    filters[key] = list;
  }
  return filters;
}

/** A time of the query, `1700000000.123456789` or RFC 3339, in nanoseconds since 1970; undefined when absent or 0. Throws bad_parameter. */
export function timeOf(call: Call, name: string): bigint | undefined {
  const text = call.query.get(name);
  if (text === null || text === '' || text === '0') return undefined;
  const seconds = /^(\d{1,12})(?:\.(\d{1,9}))?$/.exec(text);
  if (seconds !== null) return BigInt(seconds[1] ?? 0) * 1_000_000_000n + BigInt((seconds[2] ?? '').padEnd(9, '0'));
  const ms = Date.parse(text);
  if (Number.isNaN(ms))
    throw new BerthError(
      'bad_parameter',
      `invalid value for "${name}": failed to parse value as time: ${JSON.stringify(text)}`,
    );
  return BigInt(ms) * 1_000_000n;
}
