// Streaming index of a tar: ustar, pax (also global headers), GNU long names and links, base-256 numbers, sparse files, whiteouts.
// The host copies at most IN_BYTES to input(), calls feed(), then takes the records and the pool. A record is 96 bytes, laid out as REC in
// core/spec/layer-index.ts; core/hot/tar-twin.ts is the same in TypeScript, and a fuzz test compares their bytes.
// Where formats leave room this follows Go's archive/tar, because docker, podman and containerd read layers with it.
import {
  cleanLink, cleanName, clearPending, E_AFTER, E_CHECKSUM, E_CUT, E_DEVICE, E_ID, E_LINK_EMPTY, E_LINK_LONG, E_META_SIZE, E_NUMBER,
  E_ROOT, E_SIZE, E_SPARSE, E_TYPE, E_WHITEOUT, E_ZERO, emptyPool, fail, FROM_GNU, FROM_SPARSE, HAS_GID, HAS_MAP, HAS_META, HAS_MTIME,
  HAS_REAL_SIZE, HAS_SIZE, HAS_SPARSE, HAS_UID, head, hold, IN_BYTES, inBuffer, keep, META_BYTES, NAME_BYTES, pending, pool, poolLength,
  rawLink, rawName, RECORD_BYTES, records, segments, SYMLINK_BYTES, xattrs,
} from './memory';
import { field, SAFE, textLength } from './number';
import { baseStart, cleanPath } from './path';
import { readPax, setLink, setName } from './pax';
import { beginMap, checkMap, readMapBlock, readOldSegments } from './sparse';

const K_FILE: u8 = 1;
const K_DIR: u8 = 2;
const K_SYMLINK: u8 = 3;
const K_HARDLINK: u8 = 4;
const K_CHAR: u8 = 5;
const K_BLOCK: u8 = 6;
const K_FIFO: u8 = 7;
const K_WHITEOUT: u8 = 8;
const K_OPAQUE: u8 = 9;

// What the next block is. Meta bodies use the type letter of their header.
const W_HEADER: u8 = 0;
const W_OLD_SPARSE: u8 = 1;
const W_MAP: u8 = 2;
let want: u8 = W_HEADER;
let need: u32 = 512;
let metaLength: u32 = 0;
let held: u32 = 0;

let position: u64 = 0;
let skip: u64 = 0;
let zeros: u32 = 0;
let count: u32 = 0;
let failedAt: u64 = 0;
let nameLength: u32 = 0;
let stored: u64 = 0;

/** Where the host writes. */
export function input(): u32 {
  return inBuffer;
}
export function inputBytes(): u32 {
  return IN_BYTES;
}
export function recordsAt(): u32 {
  return records;
}
export function recordCount(): u32 {
  return count;
}
export function poolAt(): u32 {
  return pool;
}
export function poolBytes(): u32 {
  return poolLength();
}
/** The host has copied records and pool. */
export function taken(): void {
  count = 0;
  emptyPool();
}
/** 0, or what was refused. */
export function error(): u32 {
  return pending.error;
}
/** Offset of the header that was refused. */
export function errorOffset(): f64 {
  return <f64>failedAt;
}
/** The name of the refused entry as far as it was known. */
export function errorName(): u32 {
  return rawName;
}
export function errorNameBytes(): u32 {
  return min(pending.nameLen, 255);
}

/** Reads bytes of input(); gives how many of the bytes that follow are a file's data, which the host passes over with pass(). */
export function feed(length: u32): f64 {
  if (length > IN_BYTES) unreachable();
  let at = inBuffer;
  const end = inBuffer + length;
  while (at < end && pending.error == 0) {
    const left = end - at;
    if (skip > 0) {
      const step = <u32>min<u64>(skip, left);
      skip -= step;
      position += step;
      at += step;
    } else if (zeros == 2) {
      rest(at, left);
      position += left;
      at = end;
    } else if (held == 0 && left >= need) {
      position += need;
      const block = at;
      at += need;
      body(block);
    } else {
      const step = min(need - held, left);
      memory.copy(hold + held, at, step);
      held += step;
      position += step;
      at += step;
      if (held < need) break;
      held = 0;
      body(hold);
    }
  }
  return <f64>skip;
}

/** The host has passed over bytes of a file's data. */
export function pass(bytes: f64): void {
  skip -= <u64>bytes;
  position += <u64>bytes;
}

/** The tar is over: it may end without its two blocks of zeros, but not within an entry. */
export function finish(): void {
  if (pending.error != 0) return;
  failedAt = (pending.has & HAS_META) != 0 ? pending.headOff : position - held;
  if (skip > 0 || held > 0 || want != W_HEADER || (pending.has & HAS_META) != 0) fail(E_CUT);
}

/** After the end only zeros may follow: tar pads to its record size. */
function rest(at: u32, length: u32): void {
  for (let i: u32 = 0; i < length; i++) {
    if (load<u8>(at + i) != 0) {
      failedAt = position + i;
      return fail(E_AFTER);
    }
  }
}

function body(block: u32): void {
  const what = want;
  want = W_HEADER;

  need = 512;
  if (what == W_HEADER) header(block);
  else if (what == W_OLD_SPARSE) oldSparse(block);
  else if (what == W_MAP) map(block);
  else if (what == 0x78) readPax(block, metaLength);
  else if (what == 0x4c) setName(block, textLength(block, metaLength), FROM_GNU);
  else if (what == 0x4b) setLink(block, textLength(block, metaLength), FROM_GNU);
  // A global header ('g') says nothing about entries for docker: it is checked for its size and passed over.
}

/** Whether the header's checksum is right, summed as unsigned or, as some old programs did, as signed bytes. */
function checksum(h: u32): bool {
  let sums = i32x4.splat(0);
  let highs = i32x4.splat(0);
  for (let i: u32 = 0; i < 512; i += 16) {
    const bytes = v128.load(h + i);
    sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(bytes)));
    highs = i32x4.add(highs, i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(i8x16.shr_u(bytes, 7))));
  }
  let sum = i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1) + i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3);
  let high = i32x4.extract_lane(highs, 0) + i32x4.extract_lane(highs, 1) + i32x4.extract_lane(highs, 2) + i32x4.extract_lane(highs, 3);
  for (let i: u32 = 148; i < 156; i++) {
    const c = <i32>load<u8>(h + i);
    sum += 32 - c;
    high -= c >> 7;
  }
  const told = field(h + 148, 8);
  if (pending.error != 0) {
    pending.error = E_CHECKSUM;
    return false;
  }
  return told == sum || told == sum - 256 * high;
}

function isZero(h: u32): bool {
  let all = v128.load(h);
  for (let i: u32 = 16; i < 512; i += 16) all = v128.or(all, v128.load(h + i));
  return !v128.any_true(all);
}

function header(h: u32): void {
  const at = position - 512;
  failedAt = (pending.has & HAS_META) != 0 ? pending.headOff : at;
  if (isZero(h)) {
    if ((pending.has & HAS_META) != 0) return fail(E_CUT);
    zeros++;
    return;
  }
  if (zeros != 0) return fail(E_ZERO);
  if (!checksum(h)) return fail(E_CHECKSUM);
  const type = load<u8>(h + 156);
  if (type != 0x78 && type != 0x67 && type != 0x4c && type != 0x4b) return begin(h, type);
  const size = field(h + 124, 12);
  if (pending.error != 0) return;
  if (size < 0 || size > <i64>META_BYTES) return fail(E_META_SIZE);
  if ((pending.has & HAS_META) == 0 && type != 0x67) {
    pending.headOff = at;
    pending.has |= HAS_META;
  }
  metaLength = <u32>size;
  if (size == 0) return;
  want = type;
  need = (metaLength + 511) & ~511;
}

/** A real entry's header: everything but what a sparse file still has to say. */
function begin(h: u32, type: u8): void {
  memory.copy(head, h, 512);
  if ((pending.has & HAS_META) == 0) pending.headOff = position - 512;
  if (pending.nameFrom == 0) headerName(h);
  const size = field(h + 124, 12);
  if (pending.error != 0) return;
  if (size < 0) return fail(E_SIZE);
  stored = pending.has & HAS_SIZE ? pending.size : <u64>size;
  if (stored > <u64>SAFE >> 2) return fail(E_SIZE);
  if (type == 0x53) return beginOldSparse(h);
  if ((pending.has & HAS_SPARSE) == 0) return entry(type);
  const plain = type == 0x30 || type == 0 || type == 0x37;
  if (plain && pending.major == 1 && pending.minor == 0 && (pending.has & (HAS_MAP | HAS_REAL_SIZE)) == HAS_REAL_SIZE) {
    want = W_MAP;
    return beginMap();
  }
  if (!plain || pending.major != 0 || pending.minor > 1 || (pending.has & HAS_MAP) == 0 || (pending.has & HAS_REAL_SIZE) == 0) {
    return fail(E_SPARSE);
  }
  checkMap(pending.realSize, stored);
  entry(type);
}

function beginOldSparse(h: u32): void {
  const gnu = load<u64>(h + 257) == 0x0020207261747375;
  if (!gnu || (pending.has & HAS_SPARSE) != 0) return fail(E_SPARSE);
  const real = field(h + 483, 12);
  if (real < 0) return fail(E_SPARSE);
  pending.realSize = <u64>real;
  pending.has |= HAS_REAL_SIZE;
  readOldSegments(h + 386, 4);
  if (load<u8>(h + 482) != 0) want = W_OLD_SPARSE;
  else endOldSparse();
}

function oldSparse(block: u32): void {
  readOldSegments(block, 21);
  if (load<u8>(block + 504) != 0) want = W_OLD_SPARSE;
  else endOldSparse();
}

function endOldSparse(): void {
  if (pending.error != 0) return;
  checkMap(pending.realSize, stored);
  entry(0x53);
}

/** A block of the map that form 1.0 puts before the data. */
function map(block: u32): void {
  if (stored < 512) return fail(E_SPARSE);
  stored -= 512;
  if (!readMapBlock(block)) {
    want = W_MAP;
    return;
  }
  if (pending.error != 0) return;
  checkMap(pending.realSize, stored);
  entry(0x30);
}

/** Name and prefix of the header itself. */
function headerName(h: u32): void {
  let length: u32 = 0;
  if (load<u32>(h + 257) == 0x61747375 && load<u16>(h + 261) == 0x0072) {
    const star = load<u32>(h + 508) == 0x00726174;
    length = textLength(h + 345, star ? 131 : 155);
    memory.copy(rawName, h + 345, length);
    if (length > 0) store<u8>(rawName + length++, 0x2f);
  }
  const name = textLength(h, 100);
  memory.copy(rawName + length, h, name);
  pending.nameLen = length + name;
}

function kindOf(type: u8): u8 {
  if (type == 0x30 || type == 0x37 || type == 0x53) return K_FILE;
  if (type == 0) return pending.nameLen > 0 && load<u8>(rawName + pending.nameLen - 1) == 0x2f ? K_DIR : K_FILE;
  if (type == 0x31) return K_HARDLINK;
  if (type == 0x32) return K_SYMLINK;
  if (type == 0x33) return K_CHAR;
  if (type == 0x34) return K_BLOCK;
  if (type == 0x35) return K_DIR;
  if (type == 0x36) return K_FIFO;
  return 0;
}

/** Writes the record of the entry whose header is in `head`. */
function entry(type: u8): void {
  if (pending.error != 0) return;
  let kind = kindOf(type);
  if (kind == 0) return fail(E_TYPE);
  const data: u64 = kind == K_FILE ? stored : 0;
  nameLength = cleanPath(rawName, pending.nameLen, cleanName);
  kind = whiteout(kind);
  if (nameLength == 0 && kind != K_DIR && kind != K_OPAQUE) return fail(E_ROOT);
  if (pending.error != 0) return;
  const q = records + count * RECORD_BYTES;
  memory.fill(q, 0, RECORD_BYTES);
  numbers(q, kind);
  if (kind == K_FILE) file(q);
  if (kind == K_CHAR || kind == K_BLOCK) device(q);
  if (kind == K_HARDLINK || kind == K_SYMLINK) link(q, kind);
  if (pending.error != 0) return;
  store<u8>(q + 30, kind);
  store<u8>(q + 31, <u8>pending.dropped);
  store<u32>(q + 48, keep(cleanName, nameLength));
  store<u32>(q + 52, nameLength);
  if (kind == K_FILE || kind == K_DIR) {
    store<u32>(q + 64, keep(xattrs, pending.xattrLen));
    store<u32>(q + 68, pending.xattrLen);
  }
  store<u64>(q + 80, pending.headOff);
  if (pending.error != 0) return;
  count++;
  skip = (data + 511) & ~(<u64>511);
  clearPending();
}

/** Turns a name with the prefix .wh. into what it hides. The prefix counts whatever the entry's type is, as in docker. */
function whiteout(kind: u8): u8 {
  const start = baseStart(cleanName, nameLength);
  const base = cleanName + start;
  const bytes = nameLength - start;
  if (bytes < 4 || load<u32>(base) != 0x2e68772e) return kind;
  if (bytes == 12 && load<u64>(base + 4) == 0x71706f2e2e68772e) {
    nameLength = start > 0 ? start - 1 : 0;
    return K_OPAQUE;
  }
  if (bytes == 4 || (bytes == 5 && load<u8>(base + 4) == 0x2e) || (bytes == 6 && load<u16>(base + 4) == 0x2e2e)) fail(E_WHITEOUT);
  memory.copy(base, base + 4, bytes - 4);
  nameLength -= 4;
  return K_WHITEOUT;
}

function numbers(q: u32, kind: u8): void {
  const mode = field(head + 100, 8);
  const uid = pending.has & HAS_UID ? <i64>pending.uid : field(head + 108, 8);
  const gid = pending.has & HAS_GID ? <i64>pending.gid : field(head + 116, 8);
  const mtime = pending.has & HAS_MTIME ? pending.mtime : field(head + 136, 12);
  if (uid < 0 || gid < 0 || uid > 0xfffffffe || gid > 0xfffffffe) return fail(E_ID);
  if (mtime > SAFE || mtime < -SAFE) return fail(E_NUMBER);
  if (kind == K_WHITEOUT || kind == K_OPAQUE) return;
  store<i64>(q + 16, mtime);
  store<u32>(q + 24, pending.nsec);
  store<u16>(q + 28, kind == K_SYMLINK ? <u16>0o777 : <u16>(mode & 0xfff)); // links have no mode of their own on Linux
  store<u32>(q + 32, <u32>uid);
  store<u32>(q + 36, <u32>gid);
}

function file(q: u32): void {
  const sparse = (pending.has & HAS_REAL_SIZE) != 0;
  store<u64>(q, position);
  store<u64>(q + 8, sparse ? pending.realSize : stored);
  store<u64>(q + 88, stored);
  if (!sparse) return;
  if (pending.realSize > <u64>SAFE >> 2) return fail(E_SIZE);
  store<u32>(q + 72, keep(segments, pending.segments * 16));
  store<u32>(q + 76, pending.segments);
}

/** Device numbers; only headers with a magic have them. The bounds are the kernel's (include/linux/kdev_t.h, new_encode_dev). */
function device(q: u32): void {
  if (load<u32>(head + 257) != 0x61747375 || load<u8>(head + 261) != 0x72) return;
  const major = field(head + 329, 8);
  const minor = field(head + 337, 8);
  if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) return fail(E_DEVICE);
  store<u32>(q + 40, <u32>major);
  store<u32>(q + 44, <u32>minor);
}

function link(q: u32, kind: u8): void {
  if (pending.linkFrom == 0) setLink(head + 157, textLength(head + 157, 100), FROM_GNU);
  const length = pending.linkLen;
  if (length == 0) return fail(E_LINK_EMPTY);
  if (kind == K_SYMLINK) {
    if (length > SYMLINK_BYTES) return fail(E_LINK_LONG);
    store<u32>(q + 56, keep(rawLink, length));
    store<u32>(q + 60, length);
    return;
  }
  const clean = cleanPath(rawLink, length, cleanLink);
  if (clean == 0) return fail(E_ROOT);
  store<u32>(q + 56, keep(cleanLink, clean));
  store<u32>(q + 60, clean);
}
