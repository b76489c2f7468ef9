// The audit log's chain: each record is one line of canonical JSON that holds its number and the SHA-256 of the line before it. A record that is
// changed, left out, put in or moved breaks the chain; one that was cut off at the end is missed by whoever kept its hash from a result.
import { createHash } from 'node:crypto';

export const FIRST_PREVIOUS = '0'.repeat(64);

/** The hash that the next record holds, of a line without its end. */
export function recordHash(line: string | Uint8Array): string {
  return createHash('sha256').update(line).digest('hex');
}
