// What the layer worker writes: its result (fixed 128 bytes) and the index of one layer. Little-endian; every read is bounds-checked.
//
// Result, on descriptor 6, written once and whole, also after a failure:
//    0  8 bytes "BERTHRES"        32  u64 bytes read (import: blob, hash: file)        72  u32 left out (unpack: devices, capabilities)
//    8  u32 version, 1            40  u64 import: bytes of the tar; else of contents   76  u32 directories (merge, unpack)
//   12  u32 status (STATUS)       48  u64 bytes of the index                           80  16 bytes, zero
//   16  u32 mode (MODE)           56  u64 bytes of the EROFS image (merge)             96  32 bytes SHA-256 (hash; else zero)
//   20  u32 entries               64  u32 layers
//   24  u32 highest uid           68  u32 extended attributes left out (import)
//   28  u32 highest gid
//
// Layer index: a header of 128 bytes, `entries` records of 96 bytes (REC) in the tar's order, a pool of bytes that records point into.
//    0  8 bytes "BERTHLYR"        20  u32 entries         40  u32 highest uid     48  u32 extended attributes left out
//    8  u32 version, 1            24  u64 bytes of tar    44  u32 highest gid     52  zero up to 128
//   12  u32 bytes of header       32  u64 bytes of pool
//   16  u32 bytes of a record
// Extended attributes in the pool: u16 key length, u16 value length, key, value, one after the other; the last of two equal keys counts.
// Sparse files: pairs of u64 (offset in the file, length); their data lie one after the other from dataOff.
import { Buffer } from 'node:buffer';
import { BerthError } from '../base/errors.ts';

export const RESULT_BYTES = 128;
const RESULT_VERSION = 1;

/** How the worker ended. `input`: the blob, tar or index is bad; `limit`: larger than allowed; `io`: a descriptor failed (disk full); `internal`: a bug or a wrong call. */
export const STATUS = { ok: 0, input: 1, limit: 2, io: 3, internal: 4 } as const;
export type Status = keyof typeof STATUS;
export const MODE = { import: 1, hash: 2, merge: 3, unpack: 4 } as const;
export type Mode = keyof typeof MODE;

export type WorkerResult = {
  status: Status;
  mode: Mode;
  entries: number;
  highestUid: number;
  highestGid: number;
  bytesRead: number;
  contentBytes: number;
  indexBytes: number;
  imageBytes: number;
  layers: number;
  droppedXattrs: number;
  leftOut: number;
  directories: number;
  digest: Uint8Array;
};

// Where each number of a result lies.
const WORDS = {
  entries: 20,
  highestUid: 24,
  highestGid: 28,
  layers: 64,
  droppedXattrs: 68,
  leftOut: 72,
  directories: 76,
} as const;
const LONGS = { bytesRead: 32, contentBytes: 40, indexBytes: 48, imageBytes: 56 } as const;
type Word = keyof typeof WORDS;
type Long = keyof typeof LONGS;

/** A result with nothing in it but the mode and how it ended. */
export function emptyResult(mode: Mode, status: Status): WorkerResult {
  const none = { entries: 0, highestUid: 0, highestGid: 0, layers: 0, droppedXattrs: 0, leftOut: 0, directories: 0 };
  return {
    ...none,
    status,
    mode,
    bytesRead: 0,
    contentBytes: 0,
    indexBytes: 0,
    imageBytes: 0,
    digest: new Uint8Array(32),
  };
}

/** The 128 bytes of descriptor 6. */
export function encodeResult(result: WorkerResult): Uint8Array {
  const bytes = new Uint8Array(RESULT_BYTES);
  const view = new DataView(bytes.buffer);
  putText(bytes, 0, 'BERTHRES');
  view.setUint32(8, RESULT_VERSION, true);
  view.setUint32(12, STATUS[result.status], true);
  view.setUint32(16, MODE[result.mode], true);
  for (const key of Object.keys(WORDS) as Word[]) view.setUint32(WORDS[key], result[key], true);
  for (const key of Object.keys(LONGS) as Long[]) view.setBigUint64(LONGS[key], BigInt(result[key]), true);
  bytes.set(result.digest.subarray(0, 32), 96);
  return bytes;
}

/** Reads what came on descriptor 6; undefined when it is not exactly one result of this version. */
export function decodeResult(bytes: Uint8Array): WorkerResult | undefined {
  if (bytes.length !== RESULT_BYTES || !hasText(bytes, 0, 'BERTHRES')) return undefined;
  const view = viewOf(bytes);
  const status = nameOf(STATUS, view.getUint32(12, true));
  const mode = nameOf(MODE, view.getUint32(16, true));
  if (view.getUint32(8, true) !== RESULT_VERSION || status === undefined || mode === undefined) return undefined;
  const result = emptyResult(mode, status);
  for (const key of Object.keys(WORDS) as Word[]) result[key] = view.getUint32(WORDS[key], true);
  for (const key of Object.keys(LONGS) as Long[]) {
    result[key] = Number(view.getBigUint64(LONGS[key], true));
    if (!Number.isSafeInteger(result[key])) return undefined;
  }
  result.digest.set(bytes.subarray(96, 128));
  return result;
}

function nameOf<T extends Record<string, number>>(table: T, value: number): (keyof T & string) | undefined {
  for (const name of Object.keys(table)) if (table[name] === value) return name;
  return undefined;
}

const LAYER_HEADER_BYTES = 128;
export const RECORD_BYTES = 96;
const LAYER_VERSION = 1;
/** A layer has at most so many entries and so large a pool, an image so many inodes and layers; a path and a name so many bytes. */
export const LIMITS = {
  entries: 1 << 20,
  inodes: 1 << 21,
  poolBytes: 1 << 28,
  pathBytes: 4096,
  nameBytes: 255,
  layers: 256,
} as const;

/** What a record is. `whiteout` names what it removes, `opaque` the directory whose lower contents it hides. */
export const KIND = {
  file: 1,
  dir: 2,
  symlink: 3,
  hardlink: 4,
  char: 5,
  block: 6,
  fifo: 7,
  whiteout: 8,
  opaque: 9,
} as const;

/** Offsets within a record; asm/tar.ts writes the same. `dataOff`: the file's first byte in the tar; `headOff`: its first header; `stored`: bytes its data take in the tar. */
export const REC = {
  dataOff: 0,
  size: 8,
  mtime: 16,
  nsec: 24,
  mode: 28,
  kind: 30,
  dropped: 31,
  uid: 32,
  gid: 36,
  major: 40,
  minor: 44,
  nameOff: 48,
  nameLen: 52,
  linkOff: 56,
  linkLen: 60,
  xattrOff: 64,
  xattrLen: 68,
  segOff: 72,
  segCount: 76,
  headOff: 80,
  stored: 88,
} as const;

/** One record, with names as latin1 strings (a character per byte: names need not be UTF-8). */
export type LayerEntry = {
  kind: number;
  name: string;
  link: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: bigint;
  nsec: number;
  major: number;
  minor: number;
  dataOff: number;
  headOff: number;
  stored: number;
  xattrs: Uint8Array;
  segments: Uint8Array;
};

export type LayerIndex = {
  entries: number;
  tarBytes: number;
  highestUid: number;
  highestGid: number;
  droppedXattrs: number;
  records: Uint8Array;
  pool: Uint8Array;
};

const damaged = (what: string): BerthError =>
  new BerthError('store_damaged', `layer index is damaged: ${what}`, { hint: 'remove the image and pull it again' });

const NOTHING = new Uint8Array(0);

/** The header of a layer's index; records and pool follow it as they are. */
export function encodeLayerHeader(index: LayerIndex): Uint8Array {
  const bytes = new Uint8Array(LAYER_HEADER_BYTES);
  const view = viewOf(bytes);
  putText(bytes, 0, 'BERTHLYR');
  view.setUint32(8, LAYER_VERSION, true);
  view.setUint32(12, LAYER_HEADER_BYTES, true);
  view.setUint32(16, RECORD_BYTES, true);
  view.setUint32(20, index.entries, true);
  view.setBigUint64(24, BigInt(index.tarBytes), true);
  view.setBigUint64(32, BigInt(index.pool.length), true);
  view.setUint32(40, index.highestUid, true);
  view.setUint32(44, index.highestGid, true);
  view.setUint32(48, index.droppedXattrs, true);
  return bytes;
}

/** Reads a layer's index; the records are looked at one by one by layerEntry(). Throws store_damaged. */
export function decodeLayerIndex(bytes: Uint8Array): LayerIndex {
  if (bytes.length < LAYER_HEADER_BYTES || !hasText(bytes, 0, 'BERTHLYR'))
    throw damaged('it does not begin with its mark');
  const view = viewOf(bytes);
  const word = (at: number): number => view.getUint32(at, true);
  if (word(8) !== LAYER_VERSION || word(12) !== LAYER_HEADER_BYTES || word(16) !== RECORD_BYTES) {
    throw damaged(`version ${word(8)} is not ${LAYER_VERSION}`);
  }
  const entries = word(20);
  const tarBytes = Number(view.getBigUint64(24, true));
  const poolBytes = Number(view.getBigUint64(32, true));
  const poolAt = LAYER_HEADER_BYTES + entries * RECORD_BYTES;
  if (entries > LIMITS.entries || poolBytes > LIMITS.poolBytes || !Number.isSafeInteger(tarBytes))
    throw damaged('a number is too large');
  if (bytes.length !== poolAt + poolBytes)
    throw damaged(`it has ${bytes.length} bytes instead of ${poolAt + poolBytes}`);
  return {
    entries,
    tarBytes,
    highestUid: word(40),
    highestGid: word(44),
    droppedXattrs: word(48),
    records: bytes.subarray(LAYER_HEADER_BYTES, poolAt),
    pool: bytes.subarray(poolAt),
  };
}

/** Record number `i` with all it points to. Throws store_damaged when a range leaves the pool or the tar. */
export function layerEntry(index: LayerIndex, i: number): LayerEntry {
  if (!Number.isInteger(i) || i < 0 || i >= index.entries) throw damaged(`there is no record ${i}`);
  const view = new DataView(index.records.buffer, index.records.byteOffset + i * RECORD_BYTES, RECORD_BYTES);
  const word = (at: number): number => view.getUint32(at, true);
  const long = (at: number): number => {
    const value = Number(view.getBigUint64(at, true));
    if (!Number.isSafeInteger(value)) throw damaged(`record ${i} has a number over 2^53`);
    return value;
  };
  const part = (at: number, length: number): Uint8Array => {
    if (length === 0) return NOTHING;
    if (at + length > index.pool.length) throw damaged(`record ${i} points outside the pool`);
    return index.pool.subarray(at, at + length);
  };
  const [dataOff, stored, kind] = [long(REC.dataOff), long(REC.stored), view.getUint8(REC.kind)];
  if (dataOff + stored > index.tarBytes) throw damaged(`record ${i} points outside the tar`);
  if (kind < KIND.file || kind > KIND.opaque) throw damaged(`record ${i} is of unknown kind ${kind}`);
  return {
    kind,
    name: latin1(part(word(REC.nameOff), word(REC.nameLen))),
    link: latin1(part(word(REC.linkOff), word(REC.linkLen))),
    mode: view.getUint16(REC.mode, true) & 0o7777,
    uid: word(REC.uid),
    gid: word(REC.gid),
    size: long(REC.size),
    mtime: view.getBigInt64(REC.mtime, true),
    nsec: word(REC.nsec),
    major: word(REC.major),
    minor: word(REC.minor),
    dataOff,
    headOff: long(REC.headOff),
    stored,
    xattrs: part(word(REC.xattrOff), word(REC.xattrLen)),
    segments: part(word(REC.segOff), word(REC.segCount) * 16),
  };
}

/** A stretch of a file's bytes: where in the file, how many, where in its layer's tar. What no extent covers is a hole of zeros. */
export type Extent = { offset: number; length: number; tarOffset: number };

/** The extents of a file, in order. Throws store_damaged when they do not lie within the file and its stored bytes. */
export function extentsOf(file: { size: number; stored: number; dataOff: number; segments: Uint8Array }): Extent[] {
  const { size, stored, dataOff, segments } = file;
  if (segments.length === 0) {
    if (stored !== 0 && stored !== size) throw damaged('the size of a file is not what is stored of it');
    return stored === 0 ? [] : [{ offset: 0, length: size, tarOffset: dataOff }];
  }
  const view = viewOf(segments);
  const extents: Extent[] = [];
  let tarOffset = dataOff;
  let end = 0;
  for (let at = 0; at < segments.length; at += 16) {
    const [offset, length] = [Number(view.getBigUint64(at, true)), Number(view.getBigUint64(at + 8, true))];
    if (offset < end || length === 0 || offset + length > size) throw damaged('a sparse map is out of order');
    extents.push({ offset, length, tarOffset });
    tarOffset += length;
    end = offset + length;
  }
  if (tarOffset !== dataOff + stored) throw damaged('a sparse map does not add up');
  return extents;
}

/** The extended attributes of an entry by name (latin1), the last of two equal names winning. Throws store_damaged. */
export function xattrsOf(bytes: Uint8Array): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length; ) {
    if (at + 4 > bytes.length) throw damaged('extended attributes are cut short');
    const keyEnd = at + 4 + view.getUint16(at, true);
    const end = keyEnd + view.getUint16(at + 2, true);
    if (end > bytes.length) throw damaged('extended attributes are cut short');
    found.set(latin1(bytes.subarray(at + 4, keyEnd)), bytes.subarray(keyEnd, end));
    at = end;
  }
  return found;
}

/** A string with one character per byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/** The bytes of a string made by latin1(). */
export function latin1Bytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

/** Writes text of one byte per character. */
export function putText(bytes: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}

/** Whether the text of one byte per character stands there. */
export function hasText(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** A view of exactly these bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
