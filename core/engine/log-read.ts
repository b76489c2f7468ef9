// Reads a container's output from its files: from any place, for some of the streams, to the end or following the run. Each reader has its
// own pace and descriptors.
import { closeSync, openSync, readSync } from 'node:fs';
import { timeText } from './clock.ts';
import type { Chunk, StreamNumber } from './engine.ts';
import { endOf, type Log, type LogReader, prune, type Run } from './log.ts';
import { decodeRecord, type IndexRecord, type LogPlace, readIndex, RECORD_BYTES, segmentPath } from './log-file.ts';

export type ReadOptions = {
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly timestamps: boolean;
  /** Attributes that no container has yet, and a space, before each line. */
  readonly details?: boolean;
  readonly sinceNs: bigint | undefined;
  readonly untilNs: bigint | undefined;
  /** Lines from the end; undefined: from the beginning. */
  readonly tail: number | undefined;
  /** Go on until this run has ended; undefined: to what is there now. */
  readonly follow: Run | undefined;
};

/** Chunks until the end. return() also ends a next() that waits. */
export type ChunkIterator = AsyncIterableIterator<Chunk, undefined, undefined>;

const PIECE_BYTES = 1 << 16;

type Open = {
  readonly number: number;
  readonly index: number;
  readonly files: Map<StreamNumber, number>;
  readonly offsets: Map<StreamNumber, number>;
};
type Reading = {
  readonly log: Log;
  readonly options: ReadOptions;
  readonly self: LogReader;
  open: Open | undefined;
  record: number;
  /** Bytes of the record that are given already. */
  within: number;
  /** What `tail` cuts off the first record. */
  skipped: number;
  batch: Buffer;
  batchFrom: number;
  /** Where reading ends, once that is known. */
  end: LogPlace | undefined;
  readonly midLine: Set<StreamNumber>;
};

/** Starts a reader. Without `follow` it gives what was there when it began. */
export function readLog(log: Log, options: ReadOptions, from?: LogPlace): ChunkIterator {
  const start = from ?? (options.tail === undefined ? { segment: log.oldest, record: 0 } : tailPlace(log, options));
  const stopAt = options.follow === undefined ? endOf(log) : undefined;
  let wake: (() => void) | undefined;
  let closed = false;
  const self: LogReader = { segment: start.segment, wake: () => wake?.() };
  const reading: Reading = {
    log,
    options,
    self,
    open: undefined,
    record: start.record,
    within: 0,
    skipped: (start as Start).skip ?? 0,
    batch: Buffer.alloc(0),
    batchFrom: 0,
    end: undefined,
    midLine: new Set(),
  };
  log.readers.add(self);
  const close = (): void => {
    if (closed) return;
    closed = true;
    log.readers.delete(self);
    closeOpen(reading);
    prune(log);
    wake?.();
  };
  const next = async (): Promise<IteratorResult<Chunk, undefined>> => {
    while (!closed) {
      reading.end = stopAt ?? options.follow?.end;
      const chunk = step(reading);
      if (chunk === 'end') close();
      else if (chunk !== 'wait') return { done: false, value: chunk };
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
    return { done: true, value: undefined };
  };
  return {
    next,
    return: () => {
      close();
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The next chunk, `wait` where more may come, `end` at the end. */
function step(reading: Reading): Chunk | 'wait' | 'end' {
  const { log, self, options, end } = reading;
  for (;;) {
    if (
      end !== undefined &&
      (self.segment > end.segment || (self.segment === end.segment && reading.record >= end.record))
    )
      return 'end';
    if (self.segment < log.oldest) return skipAhead(reading);
    const record = recordAt(reading);
    if (record === undefined) {
      if (self.segment >= log.current.number) return 'wait';
      moveTo(reading, self.segment + 1);
      continue;
    }
    if (options.untilNs !== undefined && record.timeNs > options.untilNs) return 'end';
    const wanted =
      (record.stream === 1 ? options.stdout : options.stderr) &&
      (options.sinceNs === undefined || record.timeNs >= options.sinceNs);
    const chunk = takeRecord(reading, record, wanted);
    if (chunk !== undefined) return chunk;
  }
}

/** The record the reader stands on; undefined where the segment has no more (yet). */
function recordAt(reading: Reading): IndexRecord | undefined {
  const { log, self, end } = reading;
  const known =
    self.segment === log.current.number
      ? log.current.records
      : end?.segment === self.segment
        ? end.record
        : Number.POSITIVE_INFINITY;
  if (reading.record >= known) return undefined;
  const open = openSegment(reading);
  if (open === undefined) return undefined;
  let at = (reading.record - reading.batchFrom) * RECORD_BYTES;
  if (at < 0 || at + RECORD_BYTES > reading.batch.length) {
    const buffer = Buffer.allocUnsafe(
      RECORD_BYTES * Math.min(1024, Math.max(1, Math.min(known - reading.record, 1024))),
    );
    const count = readSync(open.index, buffer, 0, buffer.length, reading.record * RECORD_BYTES);
    reading.batch = buffer.subarray(0, count - (count % RECORD_BYTES));
    reading.batchFrom = reading.record;
    at = 0;
    if (reading.batch.length === 0) return undefined;
  }
  return decodeRecord(reading.batch, at);
}

/** Opens the reader's segment and finds the files' offsets of the record it stands on. */
function openSegment(reading: Reading): Open | undefined {
  if (reading.open?.number === reading.self.segment) return reading.open;
  closeOpen(reading);
  const { log, self } = reading;
  const offsets = new Map<StreamNumber, number>();
  let i = 0;
  if (reading.record > 0 && self.segment === log.current.number && reading.record === log.current.records) {
    for (const [stream, size] of log.current.sizes) offsets.set(stream, size);
  } else if (reading.record > 0) {
    for (const record of readIndex(log.dir, self.segment)) {
      if (i++ >= reading.record) break;
      offsets.set(record.stream, (offsets.get(record.stream) ?? 0) + record.length);
    }
  }
  try {
    reading.open = {
      number: self.segment,
      index: openSync(segmentPath(log.dir, self.segment, 0), 'r'),
      files: new Map(),
      offsets,
    };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return reading.open;
}

function takeRecord(reading: Reading, record: IndexRecord, wanted: boolean): Chunk | undefined {
  const open = openSegment(reading);
  if (open === undefined) return undefined;
  const offset = open.offsets.get(record.stream) ?? 0;
  if (reading.skipped > 0) {
    reading.within = Math.min(reading.skipped, record.length);
    reading.skipped = 0;
  }
  const left = record.length - reading.within;
  const plain = !reading.options.timestamps && reading.options.details !== true;
  const more = wanted && plain ? alike(reading, record, left) : { count: 0, bytes: 0 };
  const size = wanted ? Math.min(left + more.bytes, PIECE_BYTES) : left;
  let bytes: Buffer | undefined;
  if (wanted && size > 0) {
    bytes = Buffer.allocUnsafe(size);
    const count = readSync(dataFile(reading, open, record.stream), bytes, 0, size, offset + reading.within);
    bytes = bytes.subarray(0, count);
  }
  reading.within += size;
  if (reading.within >= record.length) {
    open.offsets.set(record.stream, offset + record.length + more.bytes);
    reading.record += 1 + more.count;
    reading.within = 0;
  }
  if (bytes === undefined || bytes.length === 0) return undefined;
  const text = plain ? bytes : withPrefix(reading, record, bytes);
  return { stream: record.stream, timeNs: record.timeNs, bytes: text };
}

/** How many of the next records can be read in one go with this one: of the same stream, within the bounds, and together one piece. */
function alike(reading: Reading, record: IndexRecord, left: number): { count: number; bytes: number } {
  const more = { count: 0, bytes: 0 };
  const last = reading.end?.segment === reading.self.segment ? reading.end.record : Number.POSITIVE_INFINITY;
  for (let at = reading.record + 1; at < last; at++) {
    const place = (at - reading.batchFrom) * RECORD_BYTES;
    if (place + RECORD_BYTES > reading.batch.length) break;
    const next = decodeRecord(reading.batch, place);
    const late = reading.options.untilNs !== undefined && next.timeNs > reading.options.untilNs;
    if (next.stream !== record.stream || late || left + more.bytes + next.length > PIECE_BYTES) break;
    more.count++;
    more.bytes += next.length;
  }
  return more;
}

function dataFile(reading: Reading, open: Open, stream: StreamNumber): number {
  let fd = open.files.get(stream);
  if (fd === undefined) {
    fd = openSync(segmentPath(reading.log.dir, open.number, stream), 'r');
    open.files.set(stream, fd);
  }
  return fd;
}

/** Puts what is asked for before each line that begins in these bytes. Source of the order: moby api/server/httputils/write_log_stream.go. */
function withPrefix(reading: Reading, record: IndexRecord, bytes: Buffer): Buffer {
  const { timestamps, details } = reading.options;
  const prefix = Buffer.from(`${timestamps ? `${timeText(record.timeNs)} ` : ''}${details === true ? ' ' : ''}`);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const newline = bytes.indexOf(10, at);
    const end = newline < 0 ? bytes.length : newline + 1;
    if (!reading.midLine.has(record.stream)) parts.push(prefix);
    parts.push(bytes.subarray(at, end));
    if (newline < 0) reading.midLine.add(record.stream);
    else reading.midLine.delete(record.stream);
    at = end;
  }
  return Buffer.concat(parts);
}

/** The segment was removed under a reader that fell too far behind: it says so and goes on with what there is. */
function skipAhead(reading: Reading): Chunk {
  const missed = reading.log.oldest - reading.self.segment;
  moveTo(reading, reading.log.oldest);
  const bytes = Buffer.from(
    `berth: this reader was too slow: about ${missed * Math.round(reading.log.limits.segmentBytes / 1024)} KiB of output are skipped here\n`,
  );
  return { stream: 2, timeNs: 0n, bytes };
}

function moveTo(reading: Reading, segment: number): void {
  closeOpen(reading);
  reading.self.segment = segment;
  reading.record = 0;
  reading.within = 0;
  reading.batch = Buffer.alloc(0);
  prune(reading.log);
}

function closeOpen(reading: Reading): void {
  if (reading.open === undefined) return;
  closeSync(reading.open.index);
  for (const fd of reading.open.files.values()) closeSync(fd);
  reading.open = undefined;
}

type Start = LogPlace & { readonly skip?: number };

/** Where the last `tail` lines begin. A last line without its newline counts as one. */
function tailPlace(log: Log, options: ReadOptions): Start {
  let missing = options.tail ?? 0;
  if (missing === 0) return endOf(log);
  let first = true;
  for (let segment = log.current.number; segment >= log.oldest; segment--) {
    const records = [...readIndex(log.dir, segment)];
    const ends = new Map<StreamNumber, number>();
    for (const record of records) ends.set(record.stream, (ends.get(record.stream) ?? 0) + record.length);
    for (let i = records.length - 1; i >= 0; i--) {
      const record = records[i];
      if (record === undefined) continue;
      const end = ends.get(record.stream) ?? 0;
      ends.set(record.stream, end - record.length);
      if (!(record.stream === 1 ? options.stdout : options.stderr)) continue;
      const bytes = readPart(log, segment, { stream: record.stream, from: end - record.length, to: end });
      let at = bytes.length;
      if (first && bytes[at - 1] === 10) at--;
      first = false;
      while (at > 0) {
        at = bytes.lastIndexOf(10, at - 1);
        if (at < 0) break;
        if (--missing === 0) return { segment, record: i, skip: at + 1 };
      }
    }
  }
  return { segment: log.oldest, record: 0 };
}

function readPart(
  log: Log,
  segment: number,
  part: { readonly stream: StreamNumber; readonly from: number; readonly to: number },
): Buffer {
  const fd = openSync(segmentPath(log.dir, segment, part.stream), 'r');
  try {
    const bytes = Buffer.allocUnsafe(part.to - part.from);
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, part.from));
  } finally {
    closeSync(fd);
  }
}
