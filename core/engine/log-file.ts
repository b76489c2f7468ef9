// The files of one container's output. Each stream's bytes lie untouched in a file of their own; an index of 16-byte records (time, length,
// stream) tells their order. Bytes are spliced first and indexed after: a crash in between leaves bytes that recovery indexes. When a
// segment is full the next begins, and the oldest goes.
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { StreamNumber } from './engine.ts';

export const RECORD_BYTES = 16;
/** How much one index record may stand for. */
export const CHUNK_BYTES_MAX = 1 << 20;

export type LogLimits = { readonly segmentBytes: number; readonly segments: number };
/** As Docker's json-file with max-size=10m, max-file=3. */
export const LOG_DEFAULTS: LogLimits = { segmentBytes: 10 << 20, segments: 3 };

/** Where a reader is: a segment, and a record within it. */
export type LogPlace = { readonly segment: number; readonly record: number };

const SUFFIX = { 0: 'index', 1: 'out', 2: 'err' } as const;
const NAME = /^([0-9]{8})\.(index|out|err)$/;

export function segmentPath(dir: string, segment: number, file: 0 | StreamNumber): string {
  return join(dir, `${String(segment).padStart(8, '0')}.${SUFFIX[file]}`);
}

/** Segments there are, in order. */
export function segmentsOf(dir: string): number[] {
  if (!existsSync(dir)) return [];
  const found = readdirSync(dir).flatMap((name) => NAME.exec(name)?.[1] ?? []);
  return [...new Set(found.map(Number))].sort((a, b) => a - b);
}

export function removeSegment(dir: string, segment: number): void {
  for (const file of [1, 2, 0] as const) rmSync(segmentPath(dir, segment, file), { force: true });
}

/** One record of the index. `timeNs`: since 1970. */
export function encodeRecord(timeNs: bigint, stream: StreamNumber, length: number): Buffer {
  const record = Buffer.allocUnsafe(RECORD_BYTES);
  record.writeBigUInt64LE(timeNs, 0);
  record.writeUInt32LE(length, 8);
  record.writeUInt32LE(stream, 12);
  return record;
}

export type Segment = {
  readonly number: number;
  /** Descriptors by stream; undefined while nothing was written to it. */
  readonly files: Map<StreamNumber, number>;
  readonly sizes: Map<StreamNumber, number>;
  index: number | undefined;
  records: number;
};

/** A new segment; its files are made when the first byte comes. */
export function newSegment(number: number): Segment {
  return { number, files: new Map(), sizes: new Map(), index: undefined, records: 0 };
}

export function fileOf(dir: string, segment: Segment, stream: StreamNumber): number {
  let fd = segment.files.get(stream);
  if (fd === undefined) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    // Not O_APPEND, which splice(2) refuses: the position is ours to say.
    fd = openSync(segmentPath(dir, segment.number, stream), constants.O_RDWR | constants.O_CREAT, 0o600);
    segment.files.set(stream, fd);
  }
  return fd;
}

/** Appends one record; throws what write(2) says (a full disk), then nothing of it counts. */
export function appendRecord(dir: string, segment: Segment, record: Uint8Array): void {
  segment.index ??= openSync(segmentPath(dir, segment.number, 0), 'a', 0o600);
  const written = writeSync(segment.index, record);
  if (written !== record.length) {
    ftruncateSync(segment.index, segment.records * RECORD_BYTES);
    throw Object.assign(new Error(`${segmentPath(dir, segment.number, 0)}: write: ENOSPC`), { code: 'ENOSPC' });
  }
  segment.records++;
}

export function segmentBytes(segment: Segment): number {
  return (segment.sizes.get(1) ?? 0) + (segment.sizes.get(2) ?? 0) + segment.records * RECORD_BYTES;
}

/** Gives its descriptors back; the next write opens them again. */
export function closeSegment(segment: Segment): void {
  for (const fd of segment.files.values()) closeSync(fd);
  segment.files.clear();
  if (segment.index !== undefined) closeSync(segment.index);
  segment.index = undefined;
}

/**
 * Opens a segment an engine left behind. Bytes past the index were spliced just before it was killed: they get a record with `nowNs`. Records
 * past the bytes (a machine that lost power) are cut off.
 */
export function recoverSegment(dir: string, number: number, nowNs: bigint): Segment {
  const segment = newSegment(number);
  const indexed = new Map<StreamNumber, number>();
  const have = new Map<StreamNumber, number>();
  for (const stream of [1, 2] as const) {
    if (!existsSync(segmentPath(dir, number, stream))) continue;
    have.set(stream, fstatSync(fileOf(dir, segment, stream)).size);
  }
  for (const record of readIndex(dir, number)) {
    const end = (indexed.get(record.stream) ?? 0) + record.length;
    if (end > (have.get(record.stream) ?? 0)) break;
    indexed.set(record.stream, end);
    segment.records++;
  }
  segment.index = openSync(segmentPath(dir, number, 0), 'a', 0o600);
  ftruncateSync(segment.index, segment.records * RECORD_BYTES);
  for (const [stream, size] of have) {
    for (let at = indexed.get(stream) ?? 0; at < size; at += CHUNK_BYTES_MAX) {
      appendRecord(dir, segment, encodeRecord(nowNs, stream, Math.min(CHUNK_BYTES_MAX, size - at)));
    }
    segment.sizes.set(stream, size);
  }
  closeSegment(segment);
  return segment;
}

export type IndexRecord = { readonly timeNs: bigint; readonly stream: StreamNumber; readonly length: number };

/** The whole records of a segment's index. */
export function* readIndex(dir: string, number: number): Generator<IndexRecord> {
  if (!existsSync(segmentPath(dir, number, 0))) return;
  const fd = openSync(segmentPath(dir, number, 0), 'r');
  try {
    const batch = Buffer.alloc(RECORD_BYTES * 4096);
    for (let at = 0; ; ) {
      const count = readSync(fd, batch, 0, batch.length, at);
      const whole = count - (count % RECORD_BYTES);
      for (let i = 0; i < whole; i += RECORD_BYTES) yield decodeRecord(batch, i);
      if (whole === 0) return;
      at += whole;
    }
  } finally {
    closeSync(fd);
  }
}

/** The record at a place of a buffer. */
export function decodeRecord(bytes: Buffer, at: number): IndexRecord {
  return {
    timeNs: bytes.readBigUInt64LE(at),
    length: bytes.readUInt32LE(at + 8),
    stream: bytes.readUInt32LE(at + 12) === 2 ? 2 : 1,
  };
}
