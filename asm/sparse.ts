// Sparse files: the map of every form (old GNU, pax 0.0, 0.1, 1.0) becomes a list of (offset, length) pairs.
// The image points into the tar by blocks, so a map that is not aligned to 512 bytes is refused, not read wrongly.
import { E_ALIGN, E_PAX, E_SEGMENTS, E_SPARSE, fail, HAS_MAP, pending, segments, SEGMENTS_MAX } from './memory';
import { decimal, field } from './number';

/** First half of a segment; addSegment() completes it. */
export function setOffset(offset: u64): void {
  pending.has |= HAS_MAP;
  if (pending.openSegment != 0) return fail(E_SPARSE);
  if (pending.segments == SEGMENTS_MAX) return fail(E_SEGMENTS);
  store<u64>(segments + pending.segments * 16, offset);
  pending.openSegment = 1;
}

/** Completes a segment. */
export function addSegment(length: u64): void {
  if (pending.openSegment == 0) return fail(E_SPARSE);
  store<u64>(segments + pending.segments * 16 + 8, length);
  pending.segments++;
  pending.openSegment = 0;
}

/** "offset,length,offset,length…" of form 0.1. */
export function readMap(at: u32, length: u32): void {
  pending.has |= HAS_MAP;
  let start: u32 = 0;
  for (let i: u32 = 0; i <= length; i++) {
    if (i < length && load<u8>(at + i) != 0x2c) continue;
    const value = <u64>decimal(at + start, i - start);
    if (pending.openSegment != 0) addSegment(value);
    else setOffset(value);
    if (pending.error != 0) return;
    start = i + 1;
  }
}

/** Segments of an old GNU header or extension; an empty offset field ends them. */
export function readOldSegments(at: u32, count: u32): void {
  for (let i: u32 = 0; i < count && pending.error == 0; i++) {
    const q = at + i * 24;
    if (load<u8>(q) == 0) return;
    const offset = field(q, 12);
    const length = field(q + 12, 12);
    if (offset < 0 || length < 0) return fail(E_SPARSE);
    setOffset(<u64>offset);
    addSegment(<u64>length);
  }
}

// The map of form 1.0 stands before the data as lines of digits: the count of segments, then offset and length of each.
let numbersLeft: i64 = -1;
let value: i64 = 0;
let digits: u32 = 0;

/** Begins the map of form 1.0. */
export function beginMap(): void {
  numbersLeft = -1;
  value = 0;
  digits = 0;
}

/** Reads one block of that map; true when it was the last one. */
export function readMapBlock(at: u32): bool {
  for (let i: u32 = 0; i < 512; i++) {
    const c = load<u8>(at + i);
    if (c >= 0x30 && c <= 0x39 && digits < 15) {
      value = value * 10 + (c - 0x30);
      digits++;
      continue;
    }
    if (c != 0x0a || digits == 0) {
      fail(E_SPARSE);
      return true;
    }
    if (numbersLeft < 0) {
      if (value > <i64>SEGMENTS_MAX) {
        fail(E_SEGMENTS);
        return true;
      }
      numbersLeft = value * 2;
    } else {
      if (pending.openSegment != 0) addSegment(<u64>value);
      else setOffset(<u64>value);
      numbersLeft--;
    }
    value = 0;
    digits = 0;
    if (numbersLeft == 0 || pending.error != 0) return true;
  }
  return false;
}

/** Checks the finished map against the file's size and the bytes stored, and drops empty segments. */
export function checkMap(size: u64, stored: u64): void {
  if (pending.openSegment != 0) return fail(E_SPARSE);
  let kept: u32 = 0;
  let end: u64 = 0;
  let sum: u64 = 0;
  let ragged = false;
  for (let i: u32 = 0; i < pending.segments; i++) {
    const offset = load<u64>(segments + i * 16);
    const length = load<u64>(segments + i * 16 + 8);
    if (offset < end || offset + length > size) return fail(E_SPARSE);
    end = offset + length;
    sum += length;
    if (length == 0) continue;
    if (ragged || (offset & 511) != 0) return fail(E_ALIGN);
    ragged = (length & 511) != 0;
    store<u64>(segments + kept * 16, offset);
    store<u64>(segments + kept * 16 + 8, length);
    kept++;
  }
  if (sum != stored) return fail(E_SPARSE);
  if (ragged && end != size) return fail(E_ALIGN);
  pending.segments = kept;
}
