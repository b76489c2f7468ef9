// The twin's reader of pax headers and sparse maps.
import { decimal, E, field, Refusal } from './twin-read.ts';

/** What meta headers said about the entry that follows; names carry where they come from: 1 pax, 2 GNU, 3 GNU.sparse. */
export type Pending = {
  headOff?: number;
  name: { text: string; from: number };
  link: { text: string; from: number };
  size?: number;
  realSize?: number;
  mtime?: { seconds: number; nsec: number };
  uid?: number;
  gid?: number;
  xattrs: string;
  dropped: number;
  pax: boolean;
  sparse: boolean;
  map: boolean;
  major: number;
  minor: number;
  numbers: number[];
};

/** Nothing known yet. */
export function noPending(): Pending {
  const [name, link] = [noName(), noName()];
  return { name, link, xattrs: '', dropped: 0, pax: false, sparse: false, map: false, major: 0, minor: 0, numbers: [] };
}

function noName(): { text: string; from: number } {
  return { text: '', from: 0 };
}

/** Takes a name or link unless a stronger source gave one. */
export function setName(slot: { text: string; from: number }, text: string, from: number): void {
  if (text.length > 8192) throw new Refusal(E.path);
  if (text.includes('\0')) throw new Refusal(E.nul);
  if (from < slot.from) return;
  slot.text = text;
  slot.from = from;
}

/** Reads the records of a local pax header, given with a character per byte. */
export function readPax(pending: Pending, body: string): void {
  if (pending.pax) throw new Refusal(E.twice);
  pending.pax = true;
  for (let at = 0; at < body.length; ) {
    const digits = /^[0-9]{1,8} /.exec(body.slice(at, at + 9))?.[0].length ?? 0;
    const size = Number(body.slice(at, at + digits));
    if (digits === 0 || size < digits + 3 || size > body.length - at || body[at + size - 1] !== '\n')
      throw new Refusal(E.pax);
    const record = body.slice(at + digits, at + size - 1);
    const equals = record.indexOf('=');
    if (equals < 1 || record.slice(0, equals).includes('\0')) throw new Refusal(E.pax);
    readRecord(pending, record.slice(0, equals), record.slice(equals + 1));
    at += size;
  }
}

function readRecord(pending: Pending, key: string, value: string): void {
  if (key.startsWith('SCHILY.xattr.')) readXattr(pending, key.slice(13), value);
  else if (value === '') return;
  else if (key.startsWith('GNU.sparse.')) readSparse(pending, key.slice(11), value);
  else if (key === 'path') setName(pending.name, value, 1);
  else if (key === 'linkpath') setName(pending.link, value, 1);
  else if (key === 'size') pending.size = decimal(value);
  else if (key === 'mtime') pending.mtime = time(value);
  else if (key === 'uid') pending.uid = id(value);
  else if (key === 'gid') pending.gid = id(value);
}

function id(value: string): number {
  const number = decimal(value);
  if (number > 0xfffffffe) throw new Refusal(E.id);
  return number;
}

function time(value: string): { seconds: number; nsec: number } {
  const [, minus, whole = '', , fraction = ''] = /^(-?)([^.]*)(\.([\s\S]*))?$/.exec(value) ?? [];
  const seconds = decimal(whole);
  if (!/^[0-9]*$/.test(fraction)) throw new Refusal(E.pax);
  const nsec = Number(fraction.slice(0, 9).padEnd(9, '0'));
  if (minus === '') return { seconds, nsec };
  return nsec === 0 ? { seconds: -seconds, nsec } : { seconds: -seconds - 1, nsec: 1_000_000_000 - nsec };
}

function readXattr(pending: Pending, name: string, value: string): void {
  const user =
    name.startsWith('user.') && name.length > 5 && !name.startsWith('user.overlay.') && !name.startsWith('user.berth.');
  if (name !== 'security.capability' && !user) {
    pending.dropped = Math.min(255, pending.dropped + 1);
    return;
  }
  if (name.length > 255 || value.length > 65535) throw new Refusal(E.xattr);
  const sizes = [name.length, value.length].map((n) => String.fromCharCode(n & 0xff, n >> 8));
  pending.xattrs += sizes.join('') + name + value;
}

function readSparse(pending: Pending, key: string, value: string): void {
  pending.sparse = true;
  if (key === 'name') setName(pending.name, value, 3);
  else if (key === 'size' || key === 'realsize') pending.realSize = decimal(value);
  else if (key === 'major') pending.major = Math.min(9, decimal(value));
  else if (key === 'minor') pending.minor = Math.min(9, decimal(value));
  else if (key === 'map') {
    pending.map = true;
    for (const part of value.split(',')) addNumber(pending, decimal(part));
  } else if (key === 'offset' || key === 'numbytes') {
    const number = decimal(value);
    if (key === 'offset') pending.map = true;
    if (pending.numbers.length % 2 !== (key === 'offset' ? 0 : 1)) throw new Refusal(E.sparse);
    addNumber(pending, number);
  }
}

/** One more number of the map: an offset, then its length. */
export function addNumber(pending: Pending, value: number): void {
  if (pending.numbers.length === 131072) throw new Refusal(E.segments);
  pending.numbers.push(value);
}

/** Segments of an old GNU header (4) or extension (21). */
export function readOldSegments(pending: Pending, bytes: Uint8Array, where: { at: number; count: number }): void {
  for (let q = where.at; q < where.at + where.count * 24 && bytes[q] !== 0; q += 24) {
    const [offset, length] = [field(bytes, q, 12), field(bytes, q + 12, 12)];
    if (offset < 0 || length < 0) throw new Refusal(E.sparse);
    addNumber(pending, offset);
    addNumber(pending, length);
  }
}

/** Checks the map against the file's size and the bytes stored; gives the segments that are not empty. */
export function checkMap(pending: Pending, stored: number): number[] {
  const { numbers, realSize = 0 } = pending;
  if (numbers.length % 2 !== 0) throw new Refusal(E.sparse);
  const kept: number[] = [];
  let [end, sum, ragged] = [0, 0, false];
  for (let i = 0; i < numbers.length; i += 2) {
    const [offset = 0, length = 0] = numbers.slice(i, i + 2);
    if (offset < end || offset + length > realSize) throw new Refusal(E.sparse);
    end = offset + length;
    sum += length;
    if (length === 0) continue;
    if (ragged || offset % 512 !== 0) throw new Refusal(E.align);
    ragged = length % 512 !== 0;
    kept.push(offset, length);
  }
  if (sum !== stored) throw new Refusal(E.sparse);
  if (ragged && end !== realSize) throw new Refusal(E.align);
  return kept;
}
