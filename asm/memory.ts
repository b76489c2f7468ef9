// Fixed buffers in linear memory and what is known of the next entry before its own header comes. Nothing grows: the host takes the
// records after each feed, so memory is bounded whatever the tar says.

/** Bytes the host may hand over at once. */
export const IN_BYTES: u32 = 1 << 20;
/** Largest pax header, long name or long link. */
export const META_BYTES: u32 = 1 << 20;
/** Longest path before it is cleaned, and after. */
export const RAW_PATH_BYTES: u32 = 8192;
export const PATH_BYTES: u32 = 4096;
export const NAME_BYTES: u32 = 255;
/** Longest symbolic link: PATH_MAX without its zero. */
export const SYMLINK_BYTES: u32 = 4095;
export const SEGMENTS_MAX: u32 = 65536;
export const RECORD_BYTES: u32 = 96;
const RECORDS_MAX: u32 = (IN_BYTES >> 9) + 2;
const POOL_BYTES: u32 = 8 << 20;

/** What is refused; core/hot/tar-table.ts has the sentences in the same order. */
export const E_CHECKSUM: u32 = 1;
export const E_META_SIZE: u32 = 2;
export const E_PAX: u32 = 3;
export const E_NUMBER: u32 = 4;
export const E_PATH: u32 = 5;
export const E_NAME: u32 = 6;
export const E_TYPE: u32 = 7;
export const E_SIZE: u32 = 8;
export const E_ID: u32 = 9;
export const E_CUT: u32 = 10;
export const E_AFTER: u32 = 11;
export const E_ZERO: u32 = 12;
export const E_SPARSE: u32 = 13;
export const E_ALIGN: u32 = 14;
export const E_SEGMENTS: u32 = 15;
export const E_NUL: u32 = 16;
export const E_LINK_EMPTY: u32 = 17;
export const E_LINK_LONG: u32 = 18;
export const E_DEVICE: u32 = 19;
export const E_WHITEOUT: u32 = 20;
export const E_XATTR: u32 = 21;
export const E_ROOT: u32 = 22;
export const E_TWICE: u32 = 23;
export const E_POOL: u32 = 24;

/** Bits of Pending.has. */
export const HAS_SIZE: u32 = 1;
export const HAS_MTIME: u32 = 2;
export const HAS_UID: u32 = 4;
export const HAS_GID: u32 = 8;
export const HAS_PAX: u32 = 16;
export const HAS_REAL_SIZE: u32 = 32;
/** A sparse map came in the header (forms 0.0 and 0.1). */
export const HAS_MAP: u32 = 64;
/** Some GNU.sparse key came. */
export const HAS_SPARSE: u32 = 128;
/** Some meta header came: headOff is its offset. */
export const HAS_META: u32 = 256;

/** Where a pending name comes from; a higher one wins. Source: Go's archive/tar, which docker uses. */
export const FROM_PAX: u32 = 1;
export const FROM_GNU: u32 = 2;
export const FROM_SPARSE: u32 = 3;

/** What meta headers said about the entry that follows, and the first error. */
@unmanaged
export class Pending {
  has: u32;
  error: u32;
  headOff: u64;
  size: u64;
  realSize: u64;
  mtime: i64;
  nsec: u32;
  uid: u32;
  gid: u32;
  nameFrom: u32;
  nameLen: u32;
  linkFrom: u32;
  linkLen: u32;
  xattrLen: u32;
  dropped: u32;
  segments: u32;
  /** GNU.sparse.offset waits for its GNU.sparse.numbytes. */
  openSegment: u32;
  major: u32;
  minor: u32;
}

export const pending: Pending = changetype<Pending>(memory.data(128, 8));

let top: u32 = 0;
function take(bytes: u32): u32 {
  if (top == 0) top = <u32>__heap_base;
  const at = (top + 15) & ~15;
  top = at + bytes;
  const pages = <i32>((top + 0xffff) >>> 16) - memory.size();
  if (pages > 0 && memory.grow(pages) < 0) unreachable();
  return at;
}

export const inBuffer: u32 = take(IN_BYTES);
export const hold: u32 = take(META_BYTES + 512);
export const head: u32 = take(512);
export const rawName: u32 = take(RAW_PATH_BYTES);
export const rawLink: u32 = take(RAW_PATH_BYTES);
export const cleanName: u32 = take(PATH_BYTES + 512);
export const cleanLink: u32 = take(PATH_BYTES + 512);
export const xattrs: u32 = take(META_BYTES);
export const segments: u32 = take(SEGMENTS_MAX * 16);
export const records: u32 = take(RECORDS_MAX * RECORD_BYTES);
export const pool: u32 = take(POOL_BYTES);

let poolUsed: u32 = 0;
let poolBase: u32 = 0;

/** Puts bytes into the pool and gives their offset, counted over the whole tar; 0 for no bytes. */
export function keep(from: u32, bytes: u32): u32 {
  if (bytes == 0) return 0;
  if (bytes > POOL_BYTES - poolUsed) {
    fail(E_POOL);
    return 0;
  }
  memory.copy(pool + poolUsed, from, bytes);
  poolUsed += bytes;
  return poolBase + poolUsed - bytes;
}

export function poolLength(): u32 {
  return poolUsed;
}

/** The host has taken the pool: it starts anew. */
export function emptyPool(): void {
  poolBase += poolUsed;
  poolUsed = 0;
}

/** Notes the first error. */
export function fail(code: u32): void {
  if (pending.error == 0) pending.error = code;
}

/** Forgets what was pending; the entry it belonged to is done. */
export function clearPending(): void {
  memory.fill(changetype<usize>(pending), 0, offsetof<Pending>());
}
