// One container's output as it grows: what the pump writes, what readers wait for, when segments go. Readers read the files at their own
// pace, so a slow one never holds up the container; segments it still needs are kept for it, up to a bound.
import { rmSync } from 'node:fs';
import { spliceToFile } from '../sys/pipe.ts';
import {
  appendRecord,
  closeSegment,
  encodeRecord,
  fileOf,
  type LogLimits,
  type LogPlace,
  newSegment,
  recoverSegment,
  removeSegment,
  type Segment,
  segmentBytes,
  segmentsOf,
} from './log-file.ts';
import type { StreamNumber } from './engine.ts';
import { wallNs } from './clock.ts';

/** One life of the container's process. Readers that follow end with the run they began in. */
export type Run = { end: LogPlace | undefined };

export type LogReader = { segment: number; readonly wake: () => void };

export type Log = {
  readonly dir: string;
  readonly limits: LogLimits;
  current: Segment;
  /** The first segment that is still there. */
  oldest: number;
  /** The run that is on, or the one that comes next. */
  run: Run;
  readonly readers: Set<LogReader>;
  /** A record the disk had no room for: its bytes are in their file already. */
  owed: Buffer | undefined;
  /** Why nothing can be written now, in words. */
  problem: string | undefined;
  /** Written to since the last sweep. */
  busy: boolean;
  /** The container is gone; the files go with the last reader. */
  discarded: boolean;
};

/** What became of a move: bytes moved, nothing there, the writer's end closed, or the disk refused. */
export type Moved = 'some' | 'nothing' | 'end' | 'stuck';

/** Slow readers hold at most so much beyond what the limits keep. */
const HELD_BYTES_MAX = 1 << 30;
const EAGAIN = -11;
/** A quarter of the helper's pipes: enough to be quick, little enough to be fair. */
const MOVE_BYTES = 1 << 18;

/** Opens a container's output, with what an earlier engine left. */
export function openLog(dir: string, limits: LogLimits): Log {
  const there = segmentsOf(dir);
  const last = there.at(-1);
  const current = last === undefined ? newSegment(1) : recoverSegment(dir, last, wallNs());
  const log: Log = {
    dir,
    limits,
    current,
    oldest: there[0] ?? 1,
    run: { end: undefined },
    readers: new Set(),
    owed: undefined,
    problem: undefined,
    busy: false,
    discarded: false,
  };
  prune(log);
  return log;
}

/** Moves what waits in a pipe, up to 256 KiB, into the log. */
export function moveIn(log: Log, stream: StreamNumber, pipe: number): Moved {
  try {
    if (log.owed !== undefined) payOwed(log);
    if (segmentBytes(log.current) >= log.limits.segmentBytes) rotate(log);
    const file = fileOf(log.dir, log.current, stream);
    const position = log.current.sizes.get(stream) ?? 0;
    const count = spliceToFile(pipe, file, { position, count: MOVE_BYTES });
    if (count === EAGAIN) return 'nothing';
    if (count === 0) return 'end';
    if (count < 0) return stuck(log, count);
    log.current.sizes.set(stream, position + count);
    log.owed = encodeRecord(wallNs(), stream, count);
    payOwed(log);
    return 'some';
  } catch (error) {
    return stuck(log, error);
  }
}

function payOwed(log: Log): void {
  if (log.owed === undefined) return;
  appendRecord(log.dir, log.current, log.owed);
  log.owed = undefined;
  log.problem = undefined;
  log.busy = true;
  wakeReaders(log);
}

function stuck(log: Log, why: unknown): Moved {
  const code = typeof why === 'number' ? `errno ${-why}` : why instanceof Error ? why.message : String(why);
  const text = why === -28 || code.includes('ENOSPC') ? 'no space left on device' : code;
  log.problem = `output cannot be written to ${log.dir}: ${text}; the container waits, nothing is lost; free space and it goes on`;
  return 'stuck';
}

export function wakeReaders(log: Log): void {
  for (const reader of log.readers) reader.wake();
}

function rotate(log: Log): void {
  closeSegment(log.current);
  log.current = newSegment(log.current.number + 1);
  prune(log);
}

/** Removes segments beyond the limits, but for those a reader still needs (up to the bound); all of a container that is gone. */
export function prune(log: Log): void {
  if (log.discarded) {
    if (log.readers.size === 0) rmSync(log.dir, { recursive: true, force: true });
    return;
  }
  const keepFrom = log.current.number - log.limits.segments + 1;
  const needed = Math.min(...[...log.readers].map((reader) => reader.segment), keepFrom);
  const bound = keepFrom - Math.ceil(HELD_BYTES_MAX / log.limits.segmentBytes);
  for (; log.oldest < Math.max(needed, bound); log.oldest++) removeSegment(log.dir, log.oldest);
}

/** Where the next byte will be. */
export function endOf(log: Log): LogPlace {
  return { segment: log.current.number, record: log.current.records };
}

/** The process has ended and all it wrote is here: readers that follow this run come to their end. */
export function endRun(log: Log): void {
  log.run.end = endOf(log);
  log.run = { end: undefined };
  wakeReaders(log);
  closeSegment(log.current);
}

/** The container is removed: readers come to their end, then the files go. */
export function discardLog(log: Log): void {
  log.discarded = true;
  endRun(log);
  prune(log);
}

/** Gives descriptors back that were not needed since the last call. */
export function sweepLog(log: Log): void {
  if (!log.busy) closeSegment(log.current);
  log.busy = false;
}
