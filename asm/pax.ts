// The records of a pax header: "LENGTH KEY=VALUE\n". Only what docker honours is used; attributes go through the allow-list.
// Source: POSIX pax, Go's archive/tar parsePAX and mergePAX.
import {
  E_ID, E_NUL, E_PATH, E_PAX, E_TWICE, E_XATTR, fail, FROM_PAX, FROM_SPARSE, HAS_GID, HAS_MTIME, HAS_PAX, HAS_REAL_SIZE, HAS_SIZE,
  HAS_SPARSE, HAS_UID, pending, RAW_PATH_BYTES, rawLink, rawName, xattrs,
} from './memory';
import { decimal } from './number';
import { addSegment, readMap, setOffset } from './sparse';

const LAST_ID: i64 = 0xfffffffe;

/** Reads all records of a local pax header into `pending`. */
export function readPax(at: u32, length: u32): void {
  if (pending.has & HAS_PAX) return fail(E_TWICE);
  pending.has |= HAS_PAX;
  const end = at + length;
  while (at < end && pending.error == 0) {
    let digits: u32 = 0;
    let size: u32 = 0;
    while (at + digits < end && digits < 8) {
      const c = <u32>load<u8>(at + digits) - 0x30;
      if (c > 9) break;
      size = size * 10 + c;
      digits++;
    }
    if (digits == 0 || at + digits >= end || load<u8>(at + digits) != 0x20 || size < digits + 4 || size > end - at
      || load<u8>(at + size - 1) != 0x0a) {
      fail(E_PAX);
      return;
    }
    readRecord(at + digits + 1, at + size - 1);
    at += size;
  }
}

function readRecord(key: u32, end: u32): void {
  let equals = key;
  while (equals < end && load<u8>(equals) != 0x3d) {
    if (load<u8>(equals) == 0) {
      fail(E_PAX);
      return;
    }
    equals++;
  }
  if (equals == end || equals == key) {
    fail(E_PAX);
    return;
  }
  const keyLength = equals - key;
  const value = equals + 1;
  const length = end - value;
  if (isKey(key, keyLength, 'SCHILY.xattr.', true)) readXattr(key + 13, keyLength - 13, value, length);
  else if (length == 0) return; // an empty value keeps the header's own
  else if (isKey(key, keyLength, 'GNU.sparse.', true)) readSparse(key + 11, keyLength - 11, value, length);
  else readPlain(key, keyLength, value, length);
}

function readPlain(key: u32, keyLength: u32, value: u32, length: u32): void {
  if (isKey(key, keyLength, 'path', false)) setName(value, length, FROM_PAX);
  else if (isKey(key, keyLength, 'linkpath', false)) setLink(value, length, FROM_PAX);
  else if (isKey(key, keyLength, 'size', false)) {
    pending.size = <u64>decimal(value, length);
    pending.has |= HAS_SIZE;
  } else if (isKey(key, keyLength, 'mtime', false)) readTime(value, length);
  else if (isKey(key, keyLength, 'uid', false)) {
    pending.uid = readId(value, length);
    pending.has |= HAS_UID;
  } else if (isKey(key, keyLength, 'gid', false)) {
    pending.gid = readId(value, length);
    pending.has |= HAS_GID;
  }
}

function readId(at: u32, length: u32): u32 {
  const id = decimal(at, length);
  if (id > LAST_ID) fail(E_ID);
  return <u32>id;
}

/** Remembers a name unless one from a stronger source is there. */
export function setName(at: u32, length: u32, from: u32): void {
  if (length > RAW_PATH_BYTES) return fail(E_PATH);
  if (hasZero(at, length)) return fail(E_NUL);
  if (from < pending.nameFrom) return;
  memory.copy(rawName, at, length);
  pending.nameLen = length;
  pending.nameFrom = from;
}

/** The same for a link's target. */
export function setLink(at: u32, length: u32, from: u32): void {
  if (length > RAW_PATH_BYTES) return fail(E_PATH);
  if (hasZero(at, length)) return fail(E_NUL);
  if (from < pending.linkFrom) return;
  memory.copy(rawLink, at, length);
  pending.linkLen = length;
  pending.linkFrom = from;
}

function hasZero(at: u32, length: u32): bool {
  for (let i: u32 = 0; i < length; i++) if (load<u8>(at + i) == 0) return true;
  return false;
}

/** Seconds with a fraction; a negative time counts its nanoseconds forward. */
function readTime(at: u32, length: u32): void {
  const minus = load<u8>(at) == 0x2d;
  let i: u32 = minus ? 1 : 0;
  const start = i;
  while (i < length && load<u8>(at + i) != 0x2e) i++;
  let seconds = decimal(at + start, i - start);
  let nanos: u32 = 0;
  let places: u32 = 0;
  for (i++; i < length; i++) {
    const c = <u32>load<u8>(at + i) - 0x30;
    if (c > 9) return fail(E_PAX);
    if (places < 9) {
      nanos = nanos * 10 + c;
      places++;
    }
  }
  for (; places < 9; places++) nanos *= 10;
  if (minus) {
    seconds = -seconds;
    if (nanos > 0) {
      seconds -= 1;
      nanos = 1000000000 - nanos;
    }
  }
  pending.mtime = seconds;
  pending.nsec = nanos;
  pending.has |= HAS_MTIME;
}

/** Keeps security.capability and user.*, but not the names with a meaning for overlay or for us. Source: SECURITY, attack row "tar". */
function readXattr(name: u32, nameLength: u32, value: u32, length: u32): void {
  const allowed = isKey(name, nameLength, 'security.capability', false)
    || (nameLength > 5 && isKey(name, nameLength, 'user.', true)
      && !isKey(name, nameLength, 'user.overlay.', true) && !isKey(name, nameLength, 'user.berth.', true));
  if (!allowed) {
    if (pending.dropped < 255) pending.dropped++;
    return;
  }
  if (nameLength > 255 || length > 65535) return fail(E_XATTR);
  const at = xattrs + pending.xattrLen;
  store<u16>(at, <u16>nameLength);
  store<u16>(at + 2, <u16>length);
  memory.copy(at + 4, name, nameLength);
  memory.copy(at + 4 + nameLength, value, length);
  pending.xattrLen += 4 + nameLength + length;
}

function readSparse(key: u32, keyLength: u32, value: u32, length: u32): void {
  pending.has |= HAS_SPARSE;
  if (isKey(key, keyLength, 'name', false)) setName(value, length, FROM_SPARSE);
  else if (isKey(key, keyLength, 'size', false) || isKey(key, keyLength, 'realsize', false)) {
    pending.realSize = <u64>decimal(value, length);
    pending.has |= HAS_REAL_SIZE;
  } else if (isKey(key, keyLength, 'major', false)) pending.major = version(value, length);
  else if (isKey(key, keyLength, 'minor', false)) pending.minor = version(value, length);
  else if (isKey(key, keyLength, 'map', false)) readMap(value, length);
  else if (isKey(key, keyLength, 'offset', false)) setOffset(<u64>decimal(value, length));
  else if (isKey(key, keyLength, 'numbytes', false)) addSegment(<u64>decimal(value, length));
}

function version(at: u32, length: u32): u32 {
  const value = decimal(at, length);
  return value > 9 ? 9 : <u32>value;
}

/** Whether a key is (or begins with) this ASCII text. */
function isKey(at: u32, length: u32, text: string, prefix: bool): bool {
  const n = <u32>text.length;
  if (prefix ? length < n : length != n) return false;
  for (let i: u32 = 0; i < n; i++) if (<u32>load<u8>(at + i) != <u32>text.charCodeAt(i)) return false;
  return true;
}
