// Output files: order, recovery after a kill, rotation, readers at their own pace, tails, times.
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { discardLog, endRun, type Log, moveIn, openLog } from '../../../core/engine/log.ts';
import {
  closeSegment,
  LOG_DEFAULTS,
  type LogLimits,
  RECORD_BYTES,
  readIndex,
  segmentPath,
} from '../../../core/engine/log-file.ts';
import { type ChunkIterator, type ReadOptions, readLog } from '../../../core/engine/log-read.ts';
import { makePipe } from '../../../core/sys/pipe.ts';
import type { StreamNumber } from '../../../core/engine/engine.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-log-'));
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
const fresh = (limits: LogLimits = LOG_DEFAULTS): Log => openLog(join(root, String(++count)), limits);
const again = (log: Log): Log => {
  closeSegment(log.current);
  return openLog(log.dir, log.limits);
};

/** Writes through a real pipe, as a container does. */
function print(log: Log, text: string, stream: StreamNumber = 1): void {
  const pipe = makePipe();
  writeSync(pipe.write, text);
  closeSync(pipe.write);
  while (moveIn(log, stream, pipe.read) === 'some');
  closeSync(pipe.read);
}

const ALL: ReadOptions = {
  stdout: true,
  stderr: true,
  timestamps: false,
  sinceNs: undefined,
  untilNs: undefined,
  tail: undefined,
  follow: undefined,
};

async function collect(chunks: ChunkIterator): Promise<string> {
  let text = '';
  for await (const chunk of chunks) text += `${chunk.stream === 2 ? '!' : ''}${Buffer.from(chunk.bytes)}`;
  return text;
}
const read = (log: Log, options: Partial<ReadOptions> = {}): Promise<string> =>
  collect(readLog(log, { ...ALL, ...options }));

test('the order of both streams is kept, also after opening again', async () => {
  const log = fresh();
  print(log, 'a\n');
  print(log, 'oops\n', 2);
  print(log, 'b\n');
  expect(await read(log)).toBe('a\n!oops\nb\n');
  expect(await read(log, { stderr: false })).toBe('a\nb\n');
  expect(await read(again(log))).toBe('a\n!oops\nb\n');
});

test('nothing is made on disk before the first byte', () => {
  const log = fresh();
  expect(existsSync(log.dir)).toBe(false);
  print(log, 'x');
  expect(readdirSync(log.dir).sort()).toEqual(['00000001.index', '00000001.out']);
  expect(statSync(log.dir).mode & 0o777).toBe(0o700);
});

test('bytes that were spliced but not indexed when the engine was killed are found', async () => {
  const log = fresh();
  print(log, 'indexed\n');
  print(log, 'lost record\n');
  truncateSync(segmentPath(log.dir, 1, 0), RECORD_BYTES);
  const found = again(log);
  expect(await read(found)).toBe('indexed\nlost record\n');
  print(found, 'more\n');
  expect(await read(again(found))).toBe('indexed\nlost record\nmore\n');
});

test('a cut record and records past the bytes (power loss) are cut off', async () => {
  const log = fresh();
  print(log, 'first\n');
  print(log, 'second\n');
  appendFileSync(segmentPath(log.dir, 1, 0), Buffer.alloc(7, 1));
  truncateSync(segmentPath(log.dir, 1, 1), 6);
  const found = again(log);
  expect(await read(found)).toBe('first\n');
  expect([...readIndex(log.dir, 1)].length).toBe(1);
  print(found, 'third\n');
  expect(await read(found)).toBe('first\nthird\n');
});

test('full segments are followed by new ones, the oldest go', async () => {
  const log = fresh({ segmentBytes: 100, segments: 2 });
  for (let i = 0; i < 50; i++) print(log, `line ${i}\n`);
  const segments = new Set(readdirSync(log.dir).map((name) => name.slice(0, 8)));
  expect(segments.size).toBe(2);
  const text = await read(log);
  expect(text.endsWith('line 48\nline 49\n')).toBe(true);
  expect(text.startsWith('line 0\n')).toBe(false);
  expect(await read(again(log))).toBe(text);
});

test('segments that a slow reader needs stay until it is done', async () => {
  const log = fresh({ segmentBytes: 100, segments: 2 });
  print(log, 'line 0\n');
  const slow = readLog(log, { ...ALL, follow: log.run });
  expect(Buffer.from((await slow.next()).value?.bytes ?? []).toString()).toBe('line 0\n');
  for (let i = 1; i < 50; i++) print(log, `line ${i}\n`);
  expect(log.oldest).toBe(1);
  endRun(log);
  expect(await collect(slow)).toBe(Array.from({ length: 49 }, (_, i) => `line ${i + 1}\n`).join(''));
  expect(log.oldest).toBe(log.current.number - 1);
  expect(existsSync(segmentPath(log.dir, 1, 1))).toBe(false);
});

test('following ends with the run, not with a later one', async () => {
  const log = fresh();
  print(log, 'one ');
  const following = collect(readLog(log, { ...ALL, follow: log.run }));
  print(log, 'two ');
  await new Promise((resolve) => setImmediate(resolve));
  print(log, 'three');
  endRun(log);
  print(log, ' of the next run');
  expect(await following).toBe('one two three');
  expect(await read(log)).toBe('one two three of the next run');
});

test('a reader that waits can be told to stop', async () => {
  const log = fresh();
  const reader = readLog(log, { ...ALL, follow: log.run });
  const waiting = reader.next();
  await reader.return?.();
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(log.readers.size).toBe(0);
});

test('a reader without follow gives what was there when it began', async () => {
  const log = fresh();
  print(log, 'before ');
  const reader = readLog(log, ALL);
  print(log, 'after');
  expect(await collect(reader)).toBe('before ');
});

test.each([
  [0, ''],
  [1, 'e\n'],
  [2, '!d\ne\n'],
  [4, 'b\nc\n!d\ne\n'],
  [5, 'a\nb\nc\n!d\ne\n'],
  [99, 'a\nb\nc\n!d\ne\n'],
])('the last %i lines', async (tail, expected) => {
  const log = fresh();
  print(log, 'a\nb\nc\n');
  print(log, 'd\n', 2);
  print(log, 'e\n');
  expect(await read(log, { tail })).toBe(expected);
});

test('the last lines, where the last has no end, over segments', async () => {
  const log = fresh({ segmentBytes: 60, segments: 9 });
  for (const line of ['one\n', 'two\n', 'three\n', 'four\n', 'five']) print(log, line);
  expect(log.current.number).toBeGreaterThan(1);
  expect(await read(log, { tail: 1 })).toBe('five');
  expect(await read(log, { tail: 4 })).toBe('two\nthree\nfour\nfive');
  expect(await read(log, { tail: 2, stdout: false })).toBe('');
});

test('times stand before lines, once for each, also where a line comes in pieces', async () => {
  const log = fresh();
  print(log, 'a\nb');
  print(log, 'c\n');
  const lines = (await read(log, { timestamps: true })).split('\n');
  expect(lines.map((line) => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z /, '<time> '))).toEqual([
    '<time> a',
    '<time> bc',
    '',
  ]);
});

test('details stand between time and line', async () => {
  const log = fresh();
  print(log, 'a\nb');
  expect(await read(log, { details: true })).toBe(' a\n b');
  expect(await read(log, { details: true, timestamps: true })).toMatch(/^\S+Z  a\n\S+Z  b$/);
});

test('since and until', async () => {
  const log = fresh();
  print(log, 'early\n');
  await new Promise((resolve) => setTimeout(resolve, 5));
  const between = [...readIndex(log.dir, 1)][0]?.timeNs ?? 0n;
  print(log, 'late\n');
  expect(await read(log, { sinceNs: between + 1n })).toBe('late\n');
  expect(await read(log, { untilNs: between })).toBe('early\n');
});

test('many small pieces are read in few chunks', async () => {
  const log = fresh();
  for (let i = 0; i < 5000; i++) print(log, 'x');
  let chunks = 0;
  let bytes = 0;
  for await (const chunk of readLog(log, ALL)) {
    chunks++;
    bytes += chunk.bytes.length;
  }
  expect(bytes).toBe(5000);
  expect(chunks).toBeLessThan(10);
});

test('the files of a removed container go with its last reader', async () => {
  const log = fresh();
  print(log, 'all of it');
  const reader = readLog(log, { ...ALL, follow: log.run });
  discardLog(log);
  expect(existsSync(log.dir)).toBe(true);
  expect(await collect(reader)).toBe('all of it');
  expect(existsSync(log.dir)).toBe(false);
});

test('a disk that is full loses nothing: the bytes stay in the pipe', async () => {
  const log = fresh();
  print(log, 'before\n');
  // A descriptor that cannot be written stands for a full disk: the move fails after the bytes were offered.
  const good = log.current.files.get(1);
  log.current.files.set(1, openSync(segmentPath(log.dir, 1, 1), 'r'));
  const pipe = makePipe();
  writeSync(pipe.write, 'waits\n');
  expect(moveIn(log, 1, pipe.read)).toBe('stuck');
  expect(log.problem).toMatch(/^output cannot be written to .*; the container waits, nothing is lost/);
  closeSync(log.current.files.get(1) ?? -1);
  if (good !== undefined) log.current.files.set(1, good);
  expect(moveIn(log, 1, pipe.read)).toBe('some');
  expect(log.problem).toBeUndefined();
  expect(await read(log)).toBe('before\nwaits\n');
});
