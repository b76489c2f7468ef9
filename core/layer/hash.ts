// Mode "hash": the SHA-256 of a whole file. It runs in a process of its own that parses nothing, so what hostile bytes may do to the
// importing process cannot change the digest the helper compares.
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { emptyResult, type WorkerResult } from '../spec/layer-index.ts';
import { CHUNK_BYTES, FD } from './descriptor.ts';

/** Hashes descriptor 3 from its beginning to its end. */
export function hashFile(): WorkerResult {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let at = 0;
  for (;;) {
    const count = readSync(FD.blob, chunk, 0, chunk.length, at);
    if (count === 0) break;
    hash.update(chunk.subarray(0, count));
    at += count;
  }
  return { ...emptyResult('hash', 'ok'), bytesRead: at, digest: hash.digest() };
}
