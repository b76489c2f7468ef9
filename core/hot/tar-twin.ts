// The tar index in plain TypeScript: the oracle of asm/tar.ts. It is written from the same rules in another style (strings and objects
// instead of buffers), so that a mistake is not made twice. Source of the rules: asm/tar.ts.
import { KIND, REC, RECORD_BYTES } from '../spec/layer-index.ts';
import type { TarCore } from './tar-table.ts';
import { addNumber, checkMap, noPending, type Pending, readOldSegments, readPax, setName } from './twin-pax.ts';
import { cleanPath, E, field, Refusal, text } from './twin-read.ts';

const SIZE_MAX = 2 ** 51 - 1;

type Twin = {
  pending: Pending;
  /** What the next block is: a header, a meta header's body by its letter, part of a sparse map. */
  want: 'header' | 'x' | 'g' | 'L' | 'K' | 'old' | 'map';
  need: number;
  metaLength: number;
  held: Uint8Array;
  position: number;
  skip: number;
  zeros: number;
  failed: { code: number; offset: number; name: Uint8Array } | undefined;
  failedAt: number;
  head: Uint8Array;
  stored: number;
  mapDigits: string;
  mapLeft: number | undefined;
  records: Uint8Array[];
  pool: Uint8Array[];
  poolBytes: number;
};

/** A fresh plain tar index. */
export function twinTarCore(): TarCore {
  const twin: Twin = {
    ...{
      pending: noPending(),
      want: 'header',
      need: 512,
      metaLength: 0,
      held: new Uint8Array(0),
      position: 0,
      skip: 0,
      zeros: 0,
    },
    ...{
      failed: undefined,
      failedAt: 0,
      head: new Uint8Array(512),
      stored: 0,
      mapDigits: '',
      mapLeft: undefined,
      records: [],
      pool: [],
      poolBytes: 0,
    },
  };
  return {
    feed(chunk) {
      guard(twin, () => feed(twin, chunk));
      return twin.skip;
    },
    pass(bytes) {
      twin.skip -= bytes;
      twin.position += bytes;
    },
    finish() {
      const { pending, held, skip, want } = twin;
      if (twin.failed !== undefined) return;
      twin.failedAt = pending.headOff ?? twin.position - held.length;
      const cut = skip > 0 || held.length > 0 || want !== 'header' || pending.headOff !== undefined;
      guard(twin, () => refuseIf(cut, E.cut));
    },
    take() {
      const taken = { records: Buffer.concat(twin.records), pool: Buffer.concat(twin.pool) };
      twin.records = [];
      twin.pool = [];
      return taken;
    },
    failure: () => twin.failed,
  };
}

function refuseIf(bad: boolean, code: number): void {
  if (bad) throw new Refusal(code);
}

function guard(twin: Twin, work: () => void): void {
  if (twin.failed !== undefined) return;
  try {
    work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const name = Buffer.from(twin.pending.name.text.slice(0, 255), 'latin1');
    twin.failed = { code: error.code, offset: twin.failedAt, name };
  }
}

function feed(twin: Twin, chunk: Uint8Array): void {
  for (let at = 0; at < chunk.length; ) {
    const left = chunk.length - at;
    let step: number;
    if (twin.skip > 0) {
      step = Math.min(twin.skip, left);
      twin.skip -= step;
      twin.position += step;
    } else if (twin.zeros === 2) {
      const wrong = chunk.subarray(at).findIndex((byte) => byte !== 0);
      if (wrong >= 0) twin.failedAt = twin.position + wrong;
      refuseIf(wrong >= 0, E.after);
      step = left;
      twin.position += step;
    } else {
      step = Math.min(twin.need - twin.held.length, left);
      twin.held = Buffer.concat([twin.held, chunk.subarray(at, at + step)]);
      twin.position += step;
      if (twin.held.length === twin.need) block(twin);
    }
    at += step;
  }
}

function block(twin: Twin): void {
  const { want, held, pending, metaLength } = twin;
  twin.held = new Uint8Array(0);
  twin.want = 'header';
  twin.need = 512;
  if (want === 'header') header(twin, held);
  else if (want === 'x') readPax(pending, Buffer.from(held.subarray(0, metaLength)).toString('latin1'));
  else if (want === 'L') setName(pending.name, text(held, 0, metaLength), 2);
  else if (want === 'K') setName(pending.link, text(held, 0, metaLength), 2);
  else if (want === 'map') map(twin, held);
  else if (want === 'old') {
    readOldSegments(pending, held, { at: 0, count: 21 });
    moreOldSparse(twin, held[504] !== 0);
  }
}

function checksum(h: Uint8Array): boolean {
  let [unsigned, signed] = [0, 0];
  h.forEach((byte, i) => {
    const c = i >= 148 && i < 156 ? 32 : byte;
    unsigned += c;
    signed += c > 127 ? c - 256 : c;
  });
  try {
    const told = field(h, 148, 8);
    return told === unsigned || told === signed;
  } catch {
    return false; // not a number, so not the sum
  }
}

function header(twin: Twin, h: Uint8Array): void {
  const { pending } = twin;
  twin.failedAt = pending.headOff ?? twin.position - 512;
  if (h.every((byte) => byte === 0)) {
    refuseIf(pending.headOff !== undefined, E.cut);
    twin.zeros++;
    return;
  }
  refuseIf(twin.zeros !== 0, E.zero);
  refuseIf(!checksum(h), E.checksum);
  const type = String.fromCharCode(h[156] ?? 0);
  if (type !== 'x' && type !== 'g' && type !== 'L' && type !== 'K') {
    begin(twin, h, type);
    return;
  }
  const size = field(h, 124, 12);
  refuseIf(size < 0 || size > 1 << 20, E.metaSize);
  if (type !== 'g') pending.headOff ??= twin.position - 512;
  if (size === 0) return;
  twin.want = type;
  twin.metaLength = size;
  twin.need = Math.ceil(size / 512) * 512;
}

function begin(twin: Twin, h: Uint8Array, type: string): void {
  const { pending } = twin;
  twin.head = h;
  pending.headOff ??= twin.position - 512;
  if (pending.name.from === 0) pending.name.text = headerName(h);
  const size = field(h, 124, 12);
  refuseIf(size < 0, E.size);
  twin.stored = pending.size ?? size;
  refuseIf(twin.stored > SIZE_MAX, E.size);
  if (type === 'S') {
    refuseIf(text(h, 257, 8) !== 'ustar  ' || h[264] !== 0 || pending.sparse, E.sparse);
    pending.realSize = field(h, 483, 12);
    refuseIf(pending.realSize < 0, E.sparse);
    readOldSegments(pending, h, { at: 386, count: 4 });
    moreOldSparse(twin, h[482] !== 0);
    return;
  }
  if (!pending.sparse) {
    entry(twin, type, []);
    return;
  }
  const plain = type === '0' || type === '\0' || type === '7';
  const form = `${pending.major}.${pending.minor}`;
  if (plain && form === '1.0' && !pending.map && pending.realSize !== undefined) {
    twin.want = 'map';
    return;
  }
  refuseIf(!plain || (form !== '0.0' && form !== '0.1') || !pending.map || pending.realSize === undefined, E.sparse);
  entry(twin, type, checkMap(pending, twin.stored));
}

function moreOldSparse(twin: Twin, more: boolean): void {
  if (more) twin.want = 'old';
  else entry(twin, 'S', checkMap(twin.pending, twin.stored));
}

/** One more block of the map of form 1.0: lines of digits, the count of segments first. */
function map(twin: Twin, bytes: Uint8Array): void {
  refuseIf(twin.stored < 512, E.sparse);
  twin.stored -= 512;
  for (const c of Buffer.from(bytes).toString('latin1')) {
    if (c >= '0' && c <= '9' && twin.mapDigits.length < 15) {
      twin.mapDigits += c;
      continue;
    }
    refuseIf(c !== '\n' || twin.mapDigits === '', E.sparse);
    const value = Number(twin.mapDigits);
    twin.mapDigits = '';
    if (twin.mapLeft === undefined) {
      refuseIf(value > 65536, E.segments);
      twin.mapLeft = value * 2;
    } else {
      addNumber(twin.pending, value);
      twin.mapLeft--;
    }
    if (twin.mapLeft === 0) {
      entry(twin, '0', checkMap(twin.pending, twin.stored));
      return;
    }
  }
  twin.want = 'map';
}

function headerName(h: Uint8Array): string {
  const ustar = text(h, 257, 6) === 'ustar' && h[262] === 0;
  const prefix = ustar ? text(h, 345, Buffer.from(h.subarray(508)).toString('latin1') === 'tar\0' ? 131 : 155) : '';
  return prefix === '' ? text(h, 0, 100) : `${prefix}/${text(h, 0, 100)}`;
}

const KINDS: Readonly<Record<string, number>> = {
  ...{ '0': KIND.file, '7': KIND.file, S: KIND.file, '\0': KIND.file },
  ...{ '1': KIND.hardlink, '2': KIND.symlink, '3': KIND.char, '4': KIND.block, '5': KIND.dir, '6': KIND.fifo },
};

function entry(twin: Twin, type: string, segments: number[]): void {
  const { pending } = twin;
  const kind = type === '\0' && pending.name.text.endsWith('/') ? KIND.dir : KINDS[type];
  if (kind === undefined) throw new Refusal(E.type);
  const clean = hidden(cleanPath(pending.name.text), kind);
  refuseIf(clean.name === '' && clean.kind !== KIND.dir && clean.kind !== KIND.opaque, E.root);
  const record = new DataView(new ArrayBuffer(RECORD_BYTES));
  numbers(twin, record, clean.kind);
  if (clean.kind === KIND.file) file(twin, record);
  if (clean.kind === KIND.char || clean.kind === KIND.block) device(twin.head, record);
  const link = linkOf(twin, clean.kind);
  if (segments.length > 0 && clean.kind === KIND.file) {
    const bytes = Buffer.alloc(segments.length * 8);
    segments.forEach((value, i) => void bytes.writeBigUInt64LE(BigInt(value), i * 8));
    keep(twin, record, { offset: REC.segOff, length: REC.segCount, bytes });
    record.setUint32(REC.segCount, segments.length / 2, true);
  }
  keep(twin, record, { offset: REC.linkOff, length: REC.linkLen, bytes: Buffer.from(link, 'latin1') });
  keep(twin, record, { offset: REC.nameOff, length: REC.nameLen, bytes: Buffer.from(clean.name, 'latin1') });
  if (clean.kind === KIND.file || clean.kind === KIND.dir) {
    keep(twin, record, { offset: REC.xattrOff, length: REC.xattrLen, bytes: Buffer.from(pending.xattrs, 'latin1') });
  }
  record.setUint8(REC.kind, clean.kind);
  record.setUint8(REC.dropped, pending.dropped);
  record.setBigUint64(REC.headOff, BigInt(pending.headOff ?? 0), true);
  twin.records.push(new Uint8Array(record.buffer));
  twin.skip = kind === KIND.file ? Math.ceil(twin.stored / 512) * 512 : 0;
  twin.pending = noPending();
  twin.mapLeft = undefined;
}

function keep(twin: Twin, record: DataView, part: { offset: number; length: number; bytes: Uint8Array }): void {
  if (part.bytes.length === 0) return;
  record.setUint32(part.offset, twin.poolBytes, true);
  record.setUint32(part.length, part.bytes.length, true);
  twin.pool.push(part.bytes);
  twin.poolBytes += part.bytes.length;
}

/** What a name with the prefix .wh. hides. */
function hidden(name: string, kind: number): { name: string; kind: number } {
  const slash = name.lastIndexOf('/');
  const base = name.slice(slash + 1);
  if (!base.startsWith('.wh.')) return { name, kind };
  if (base === '.wh..wh..opq') return { name: slash < 0 ? '' : name.slice(0, slash), kind: KIND.opaque };
  refuseIf(base === '.wh.' || base === '.wh..' || base === '.wh...', E.whiteout);
  return { name: name.slice(0, slash + 1) + base.slice(4), kind: KIND.whiteout };
}

function numbers(twin: Twin, record: DataView, kind: number): void {
  const { pending, head } = twin;
  const mode = field(head, 100, 8);
  const uid = pending.uid ?? field(head, 108, 8);
  const gid = pending.gid ?? field(head, 116, 8);
  const mtime = pending.mtime ?? { seconds: field(head, 136, 12), nsec: 0 };
  refuseIf(Math.min(uid, gid) < 0 || Math.max(uid, gid) > 0xfffffffe, E.id);
  refuseIf(!Number.isSafeInteger(mtime.seconds), E.number);
  if (kind === KIND.whiteout || kind === KIND.opaque) return;
  record.setBigInt64(REC.mtime, BigInt(mtime.seconds), true);
  record.setUint32(REC.nsec, mtime.nsec, true);
  record.setUint16(REC.mode, kind === KIND.symlink ? 0o777 : Number(BigInt(mode) & 0xfffn), true);
  record.setUint32(REC.uid, uid, true);
  record.setUint32(REC.gid, gid, true);
}

function file(twin: Twin, record: DataView): void {
  const { realSize } = twin.pending;
  record.setBigUint64(REC.dataOff, BigInt(twin.position), true);
  record.setBigUint64(REC.size, BigInt(realSize ?? twin.stored), true);
  record.setBigUint64(REC.stored, BigInt(twin.stored), true);
  refuseIf(realSize !== undefined && realSize > SIZE_MAX, E.size);
}

function device(head: Uint8Array, record: DataView): void {
  if (text(head, 257, 5) !== 'ustar') return;
  const [major, minor] = [field(head, 329, 8), field(head, 337, 8)];
  refuseIf(major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff, E.device);
  record.setUint32(REC.major, major, true);
  record.setUint32(REC.minor, minor, true);
}

function linkOf(twin: Twin, kind: number): string {
  if (kind !== KIND.hardlink && kind !== KIND.symlink) return '';
  const { link } = twin.pending;
  const target = link.from === 0 ? text(twin.head, 157, 100) : link.text;
  refuseIf(target === '', E.linkEmpty);
  if (kind === KIND.symlink) {
    refuseIf(target.length > 4095, E.linkLong);
    return target;
  }
  const clean = cleanPath(target);
  refuseIf(clean === '', E.root);
  return clean;
}
