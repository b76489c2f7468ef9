// What goes into the audit log: one record before and one after each thing that is done; refusals up to a rate, then as a sum in the next record.
// Where the disk is full nothing new is begun, but what stops, kills, removes or frees still works, and the next record tells how many went unrecorded.
import type { Reason } from '../../proto/gen/berth/helper/v1/request.ts';
import { reasonText } from '../../proto/policy/evaluate.ts';
import type { CheckedVerb } from '../decode/checked.ts';
import { openAudit, type AuditPlace } from './audit.ts';
import { openBuckets } from '../../core/base/rate.ts';
import type { Outcome, Peer } from './verdict.ts';

/** What is known of a request so far. */
export type Facts = {
  readonly peer: Peer;
  key?: string;
  principal?: string;
  profile?: string;
  verb?: CheckedVerb['$case'];
  dryRun?: boolean;
  /** SHA-256 of the payload. */
  payload?: string;
};
type Entry = Readonly<Record<string, unknown>>;
type Verbs = readonly Facts['verb'][];

/** Verbs that change nothing, and those that are done even where they cannot be recorded. The others are not done without their record. */
const UNRECORDED: Verbs = ['attach', 'watch', 'forget'];
const DONE_ANYWAY: Verbs = ['signal', 'pause', 'remove', 'dropLayer', 'dropImage'];
const DENIED_PACE = { burst: 20, perSecond: 0.2 };
const REASONS_MAX = 16;
const TEXT_MAX = 400;

/** Opens the log and writes that this instance began. */
export function openDiary(place: AuditPlace, instance: Uint8Array, nowMs: () => number) {
  const audit = openAudit(place);
  const take = openBuckets(DENIED_PACE, nowMs);
  // Since the last record: what could not be written, and refusals too many to write.
  const sums = { unrecorded: 0, denied: 0 };

  const append = (kind: string, entry: Entry): Buffer => {
    const since = sums.unrecorded + sums.denied > 0 ? { since: { ...sums } } : {};
    const time = new Date(nowMs()).toISOString();
    const hash = audit.append({ kind, time, instance: Buffer.from(instance).toString('hex'), ...since, ...entry });
    Object.assign(sums, { unrecorded: 0, denied: 0 });
    return hash;
  };
  /** For records that nothing waits for. */
  const note = (kind: string, entry: Entry): Buffer => {
    try {
      return append(kind, entry);
    } catch {
      sums.unrecorded += 1; // and said by the next record
      return Buffer.alloc(0);
    }
  };

  note('start', {});
  return {
    /** The record before; its SHA-256, or nothing where the verb needs none. Throws what the disk answered where that keeps the verb from being done. */
    decided: (facts: Facts): Buffer => {
      if (UNRECORDED.includes(facts.verb)) return Buffer.alloc(0);
      return (DONE_ANYWAY.includes(facts.verb) ? note : append)('decision', flat(facts));
    },
    finished: ({ peer }: Facts, decision: Buffer, { kind, detail }: Outcome): void => {
      const entry = { uid: peer.uid, decision: decision.toString('hex'), outcome: kind };
      if (decision.length > 0) note('outcome', { ...entry, detail: detail.slice(0, TEXT_MAX) });
    },
    enrolled: (facts: Facts): void => void append('enrol', flat(facts)),
    /** The policy's files cannot be read; what was in force before still is. */
    unreadable: (problem: string): void => void note('policy', { detail: problem }),
    denied: (facts: Facts, reasons: readonly Reason[]): void => {
      const lines = reasons.slice(0, REASONS_MAX).map((reason) => reasonText(reason).slice(0, TEXT_MAX));
      if (take(facts.peer.uid)) note('denied', { ...flat(facts), reasons: lines });
      else sums.denied += 1;
    },
    close: (): void => {
      note('end', {});
      audit.flush();
    },
  };
}

function flat({ peer, dryRun: _, ...rest }: Facts): Entry {
  return { uid: peer.uid, pid: peer.pid, ...rest };
}
