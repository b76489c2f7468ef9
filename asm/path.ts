// Path rules, the same as docker's: cleaned as text, `..` stops at the root, an absolute path begins there too.
import { cleanLink, cleanName, E_NAME, E_PATH, fail, NAME_BYTES, PATH_BYTES } from './memory';

/** Writes the clean form of a path ("a/b", "" for the root) and gives its length. */
export function cleanPath(from: u32, length: u32, to: u32): u32 {
  let read: u32 = 0;
  let written: u32 = 0;
  while (read < length) {
    while (read < length && load<u8>(from + read) == 0x2f) read++;
    const start = read;
    while (read < length && load<u8>(from + read) != 0x2f) read++;
    const name = from + start;
    const bytes = read - start;
    if (bytes == 0 || (bytes == 1 && load<u8>(name) == 0x2e)) continue;
    if (bytes == 2 && load<u16>(name) == 0x2e2e) {
      while (written > 0 && load<u8>(to + written - 1) != 0x2f) written--;
      if (written > 0) written--;
      continue;
    }
    if (bytes > NAME_BYTES) {
      fail(E_NAME);
      return written;
    }
    if (written + bytes + 1 > PATH_BYTES) {
      fail(E_PATH);
      return written;
    }
    if (written > 0) store<u8>(to + written++, 0x2f);
    memory.copy(to + written, name, bytes);
    written += bytes;
  }
  return written;
}

/** Where the last component of a clean path begins. */
export function baseStart(at: u32, length: u32): u32 {
  let start = length;
  while (start > 0 && load<u8>(at + start - 1) != 0x2f) start--;
  return start;
}
