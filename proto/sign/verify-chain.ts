// Follows the audit log's chain from its first record to its last. For `berth audit --verify` and the tests; the helper only writes.
import { FIRST_PREVIOUS, recordHash } from './chain.ts';

export type Segment = { readonly name: string; readonly bytes: Buffer };
export type Chain = {
  readonly records: number;
  readonly last: string;
  /** What is left of a record that a crash cut short, at the very end. */
  readonly tornBytes: number;
  /** Where the chain breaks, in words; undefined where it holds. */
  readonly broken: string | undefined;
};

/** Follows the chain over all segments in order. Half a record is accepted at the end of a segment only where the next record tells of it. */
export function verifyChain(segments: readonly Segment[]): Chain {
  let [records, last, torn] = [0, FIRST_PREVIOUS, 0];
  for (const { name, bytes } of segments) {
    let line = 0;
    for (let at = 0, end = bytes.indexOf(10); end >= 0; at = end + 1, end = bytes.indexOf(10, at)) {
      const broken = recordProblem(bytes.subarray(at, end), { number: records + 1, previous: last, torn });
      line += 1;
      if (broken !== undefined) return { records, last, tornBytes: 0, broken: `${name}:${line}: ${broken}` };
      [records, last, torn] = [records + 1, recordHash(bytes.subarray(at, end)), 0];
    }
    torn += bytes.length - (bytes.lastIndexOf(10) + 1);
  }
  return { records, last, tornBytes: torn, broken: undefined };
}

function recordProblem(bytes: Buffer, want: { number: number; previous: string; torn: number }): string | undefined {
  let record: { number?: unknown; previous?: unknown; torn?: unknown };
  try {
    record = JSON.parse(bytes.toString());
  } catch {
    return 'is no record';
  }
  if (record?.number !== want.number) return `is number ${record?.number}, should be ${want.number}`;
  if (record.previous !== want.previous)
    return `follows ${record.previous}, but the record before it is ${want.previous}`;
  if ((record.torn ?? 0) !== want.torn) return `tells of ${record.torn ?? 0} bytes cut short, there are ${want.torn}`;
  return undefined;
}
