// Numbers of tar headers: octal, base-256 and decimal, each checked for its range.
import { E_NUMBER, E_PAX, fail } from './memory';

/** Largest number the host can hold exactly. */
export const SAFE: i64 = 0x1fffffffffffff;

/** Length up to the first zero byte. */
export function textLength(at: u32, most: u32): u32 {
  let n: u32 = 0;
  while (n < most && load<u8>(at + n) != 0) n++;
  return n;
}

/** A numeric header field: octal text, or base-256 when the first bit is set. Beyond the safe range it fails. Source: Go's archive/tar, parseNumeric. */
export function field(at: u32, length: u32): i64 {
  if (load<u8>(at) & 0x80) return base256(at, length);
  let i: u32 = 0;
  while (i < length && (load<u8>(at + i) == 0x20 || load<u8>(at + i) == 0)) i++;
  let value: i64 = 0;
  for (; i < length; i++) {
    const c = load<u8>(at + i);
    if (c == 0x20 || c == 0) break;
    if (c < 0x30 || c > 0x37) {
      fail(E_NUMBER);
      return 0;
    }
    value = (value << 3) | (c - 0x30);
  }
  return value;
}

function base256(at: u32, length: u32): i64 {
  const flip: u8 = load<u8>(at) & 0x40 ? 0xff : 0;
  let value: i64 = 0;
  for (let i: u32 = 0; i < length; i++) {
    let c: u8 = load<u8>(at + i) ^ flip;
    if (i == 0) c &= 0x7f;
    if (value > SAFE >> 8) {
      fail(E_NUMBER);
      return 0;
    }
    value = (value << 8) | c;
  }
  return flip ? ~value : value;
}

/** Decimal digits and nothing else, at most 2^53 - 1. */
export function decimal(at: u32, length: u32): i64 {
  if (length == 0 || length > 16) {
    fail(E_PAX);
    return 0;
  }
  let value: i64 = 0;
  for (let i: u32 = 0; i < length; i++) {
    const c = load<u8>(at + i);
    if (c < 0x30 || c > 0x39) {
      fail(E_PAX);
      return 0;
    }
    value = value * 10 + (c - 0x30);
  }
  if (value > SAFE) fail(E_PAX);
  return value;
}
