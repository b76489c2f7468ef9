// What both tar indexers share: the interface of a core, the sentences of its errors, and the table collected from it.
import { type LayerIndex, latin1, LIMITS, REC, RECORD_BYTES } from '../spec/layer-index.ts';

/** Most bytes one feed() takes. */
export const FEED_BYTES = 1 << 20;

/** One implementation of the index: WebAssembly or its plain twin. */
export type TarCore = {
  /** Reads a chunk of at most FEED_BYTES; gives how many of the bytes that follow are file data, for pass() instead of feed(). */
  feed(chunk: Uint8Array): number;
  pass(bytes: number): void;
  /** The tar is over. */
  finish(): void;
  /** Copies of the records and the pool since the last take. */
  take(): { records: Uint8Array; pool: Uint8Array };
  failure(): { code: number; offset: number; name: Uint8Array } | undefined;
};

// In the order of the E_ numbers in asm/memory.ts.
const SENTENCES = [
  'no error',
  'the checksum of its header is wrong',
  'a pax header or long name of over 1 MiB',
  'a damaged pax header',
  'a number in its header is damaged or too large',
  'its path or link is longer than 4,096 bytes',
  'a name in its path is longer than 255 bytes',
  'entries of this type are not supported',
  'its size is impossible',
  'its uid or gid is not between 0 and 4294967294',
  'the tar ends within an entry',
  'there are bytes after the end of the tar',
  'a lone block of zeros between entries',
  'its sparse map is damaged or of an unknown form',
  'its sparse map is not aligned to 512 bytes',
  'its sparse map has over 65,536 parts',
  'its path or link holds a zero byte',
  'its link has no target',
  'its symbolic link is longer than 4,095 bytes',
  'its device number does not exist',
  'a whiteout of nothing, "." or ".."',
  'an extended attribute with a name over 255 or a value over 65,535 bytes',
  'the root of a layer is a directory, nothing else',
  'two pax headers for one entry',
  'too many names at once',
];

/** A tar that is refused: what is wrong, in which entry, at which byte. */
export class TarError extends Error {
  readonly code: number;
  readonly offset: number;
  readonly entry: string;
  /** Whether it is only too large, not wrong. */
  readonly limit: boolean;
  constructor(where: { code: number; offset: number; entry: string; after?: boolean }, sentence?: string) {
    const what = sentence ?? SENTENCES[where.code] ?? `error ${where.code}`;
    const place = where.entry === '' ? 'tar' : `tar${where.after ? ', in or after' : ''} entry "${where.entry}"`;
    super(`${place}, byte ${where.offset}: ${what}`);
    this.code = where.code;
    this.offset = where.offset;
    this.entry = where.entry;
    this.limit = sentence !== undefined;
  }
}

/** What takes a tar in any chunks and gives, at the end, what its index holds. */
export type TarIndexer = { write(chunk: Uint8Array): void; end(): LayerIndex };

/** Feeds a core and collects its table within LIMITS. write() and end() throw TarError. */
export function collectTar(core: TarCore): TarIndexer {
  const parts: { records: Uint8Array; pool: Uint8Array }[] = [];
  const total = { entries: 0, tarBytes: 0, highestUid: 0, highestGid: 0, droppedXattrs: 0, poolBytes: 0 };
  let pass = 0;
  const collect = (): void => {
    const part = core.take();
    if (part.records.length > 0 || part.pool.length > 0) parts.push(part);
    total.entries += part.records.length / RECORD_BYTES;
    total.poolBytes += part.pool.length;
    countRecords(part.records, total);
    const failure = core.failure();
    if (failure !== undefined) throw new TarError(named(failure, parts));
    const where = { code: 0, offset: total.tarBytes, entry: '' };
    if (total.entries > LIMITS.entries) throw new TarError(where, `more than ${LIMITS.entries} entries`);
    if (total.poolBytes > LIMITS.poolBytes)
      throw new TarError(where, `names and attributes of more than ${LIMITS.poolBytes} bytes`);
  };
  return {
    write(chunk) {
      total.tarBytes += chunk.length;
      for (let at = 0; at < chunk.length; ) {
        if (pass > 0) {
          const step = Math.min(pass, chunk.length - at);
          core.pass(step);
          pass -= step;
          at += step;
        } else {
          const step = Math.min(FEED_BYTES, chunk.length - at);
          pass = core.feed(chunk.subarray(at, at + step));
          at += step;
          collect();
        }
      }
    },
    end() {
      core.finish();
      collect();
      const { poolBytes: _, ...counts } = total;
      return {
        ...counts,
        records: join(parts.map((part) => part.records)),
        pool: join(parts.map((part) => part.pool)),
      };
    },
  };
}

function countRecords(
  records: Uint8Array,
  total: { highestUid: number; highestGid: number; droppedXattrs: number },
): void {
  const view = new DataView(records.buffer, records.byteOffset, records.length);
  for (let at = 0; at < records.length; at += RECORD_BYTES) {
    total.highestUid = Math.max(total.highestUid, view.getUint32(at + REC.uid, true));
    total.highestGid = Math.max(total.highestGid, view.getUint32(at + REC.gid, true));
    total.droppedXattrs += view.getUint8(at + REC.dropped);
  }
}

/** Where an error is: the entry's own name, or the one before it. */
function named(
  failure: { code: number; offset: number; name: Uint8Array },
  parts: { records: Uint8Array; pool: Uint8Array }[],
) {
  const { code, offset } = failure;
  if (failure.name.length > 0) return { code, offset, entry: latin1(failure.name) };
  const last = parts.findLast((part) => part.records.length > 0);
  if (last === undefined) return { code, offset, entry: '' };
  const view = new DataView(
    last.records.buffer,
    last.records.byteOffset + last.records.length - RECORD_BYTES,
    RECORD_BYTES,
  );
  const [from, length] = [view.getUint32(REC.nameOff, true), view.getUint32(REC.nameLen, true)];
  const before = parts.slice(0, parts.indexOf(last)).reduce((sum, part) => sum + part.pool.length, 0);
  return { code, offset, entry: latin1(last.pool.subarray(from - before, from - before + length)), after: true };
}

function join(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
