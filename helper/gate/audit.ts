// The audit log: one record before and one after each thing done, chained, in segments of fixed size. Records are written at once and brought to disk
// in groups. One that cannot be written whole is taken back, and the caller learns of it.
import { closeSync, constants, fdatasync, fdatasyncSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson } from '../../proto/policy/canonical.ts';
import { FIRST_PREVIOUS, recordHash } from '../../proto/sign/chain.ts';

export type AuditPlace = {
  readonly directory: string;
  readonly segmentBytesMax?: number;
  /** writeSync of node:fs; a test gives a disk that is full. */
  readonly write?: (fd: number, bytes: Uint8Array) => number;
};

const SEGMENT_BYTES = 4 << 20;
const GROUP_MS = 50;
// A full segment stays open until nothing is being brought to disk any more.
const CLOSE_MS = 60_000;
const NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_APPEND | constants.O_NOFOLLOW;

/** Opens the log. Its first record follows the last whole one of what is there, in a segment of its own. */
export function openAudit({ directory, segmentBytesMax = SEGMENT_BYTES, write = writeSync }: AuditPlace) {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const end = readEnd(directory);
  let segment: { readonly fd: number; size: number } | undefined;
  let grouped = false;
  let problem: Error | null = null;

  const sync = (): void => {
    grouped = false;
    if (segment !== undefined) fdatasync(segment.fd, (error) => (problem = error ?? problem));
  };
  const retire = ({ fd }: { readonly fd: number }): void => {
    sync();
    setTimeout(() => closeSync(fd), CLOSE_MS).unref();
    segment = undefined;
  };
  const put = (bytes: Buffer): void => {
    if (segment !== undefined && segment.size + bytes.length > segmentBytesMax) retire(segment);
    if (segment === undefined) {
      const name = `${String(end.segment + 1).padStart(8, '0')}.jsonl`;
      segment = { fd: openSync(join(directory, name), NEW, 0o600), size: 0 };
      end.segment += 1;
    }
    let wrote = 0;
    try {
      while (wrote < bytes.length) wrote += write(segment.fd, bytes.subarray(wrote));
      segment.size += wrote;
    } catch (error) {
      try {
        ftruncateSync(segment.fd, segment.size);
      } catch {
        end.torn += wrote; // the next segment's first record tells of it
        retire(segment);
      }
      throw error;
    }
  };

  return {
    /** Writes a record and gives its SHA-256. Throws what the file system answers (ENOSPC), then nothing was written, or did to an earlier group. */
    append: (entry: Readonly<Record<string, unknown>>): Buffer => {
      const earlier = problem;
      problem = null;
      if (earlier !== null) throw earlier;
      const torn = end.torn > 0 ? { torn: end.torn } : {};
      const line = canonicalJson({ ...entry, ...torn, number: end.number + 1, previous: end.last });
      put(Buffer.from(line));
      if (!grouped) setTimeout(sync, GROUP_MS).unref();
      grouped = true;
      Object.assign(end, { number: end.number + 1, last: recordHash(line.trimEnd()), torn: 0 });
      return Buffer.from(end.last, 'hex');
    },
    /** Brings all to disk. */
    flush: (): void => {
      if (segment !== undefined) fdatasyncSync(segment.fd);
    },
  };
}

/** Where the log ends: its last whole record, and what is left of one that a crash cut short. */
function readEnd(directory: string): { segment: number; number: number; last: string; torn: number } {
  const names = readdirSync(directory).filter((name) => /^\d{8}\.jsonl$/.test(name));
  names.sort().reverse();
  const segment = Number.parseInt(names[0] ?? '0', 10);
  let torn = 0;
  for (const name of names) {
    const bytes = readFileSync(join(directory, name));
    const end = bytes.lastIndexOf(10);
    torn += bytes.length - (end + 1);
    if (end < 0) continue;
    const line = bytes.subarray(bytes.subarray(0, end).lastIndexOf(10) + 1, end);
    // A record that somebody spoiled does not keep the helper from going on: the chain tells of it for ever.
    const number = /"number":(\d{1,15})[,}]/.exec(line.toString())?.[1];
    return { segment, number: Number(number ?? 0), last: recordHash(line), torn };
  }
  return { segment, number: 0, last: FIRST_PREVIOUS, torn };
}
