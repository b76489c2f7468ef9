// Whole reads and writes on the descriptors the worker was given. A short write is continued, a full disk is an error.
import { fstatSync, readSync, writeSync } from 'node:fs';
import { LayerFault } from './fault.ts';

/** The worker's fixed descriptors; the layers' indexes follow from `first`, then the layers' tars. */
export const FD = { blob: 3, out: 4, index: 5, result: 6, first: 7 } as const;
/** How much is read at once; gunzip and SHA-256 lose speed below 128 KiB. */
export const CHUNK_BYTES = 1 << 20;

/** Writes all bytes at the descriptor's position. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
}

/** The bytes of a file up to `limit`, from its beginning. */
export function readWhole(fd: number, limit: number, what: string): Uint8Array {
  const { size } = fstatSync(fd);
  if (size > limit) throw new LayerFault('limit', `${what} has ${size} bytes, more than ${limit}`);
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const count = readSync(fd, bytes, at, size - at, at);
    if (count === 0) throw new LayerFault('input', `${what} ends at byte ${at} of ${size}`);
    at += count;
  }
  return bytes;
}

/** Refuses anything but a new, empty file: what is written must be all there is in it. */
export function needEmptyFile(fd: number, what: string): void {
  const stat = fstatSync(fd);
  if (!stat.isFile() || stat.size !== 0)
    throw new LayerFault('internal', `descriptor ${fd} (${what}) is not a new, empty file`);
}
