// What goes into the audit log: one record before and one after each thing that is done; refusals up to a rate, then as a sum in the next record.
// Where the disk is full nothing new is begun, but what stops, kills, removes or frees still works, and the next record tells how many went unrecorded.
import type { Reason, Request } from '../../proto/gen/berth/helper/v1/request.ts';
import { reasonText } from '../../proto/policy/evaluate.ts';
import { openAudit, type AuditPlace } from './audit.ts';
import { openBuckets } from './rate.ts';
import type { Outcome, Peer } from './verdict.ts';

type VerbName = NonNullable<Request['verb']>['$case'];
/** What is known of a request so far. */
export type Facts = {
  readonly peer: Peer;
  key?: string;
  principal?: string;
  profile?: string;
  verb?: VerbName;
  dryRun?: boolean;
  /** SHA-256 of the payload. */
  payload?: string;
};
export type Diary = {
  /** The record before; its SHA-256, or nothing where the verb needs none. Throws what the disk answered where that keeps the verb from being done. */
  readonly decided: (facts: Facts) => Buffer;
  readonly finished: (facts: Facts, decision: Buffer, outcome: Outcome) => void;
  readonly enrolled: (facts: Facts) => void;
  /** The policy's files cannot be read; what was in force before still is. */
  readonly unreadable: (problem: string) => void;
  readonly denied: (facts: Facts, reasons: readonly Reason[]) => void;
  readonly close: () => void;
};

/** `first`: not done without its record. `also`: done even where it cannot be recorded. `none`: changes nothing. */
const RECORDED: Readonly<Record<VerbName, 'first' | 'also' | 'none'>> = {
  launch: 'first',
  exec: 'first',
  signal: 'also',
  pause: 'also',
  update: 'first',
  remove: 'also',
  attach: 'none',
  importLayer: 'first',
  mergeImage: 'first',
  dropLayer: 'also',
  dropImage: 'also',
  watch: 'none',
  forget: 'none',
};
const DENIED_PACE = { burst: 20, perSecond: 0.2 };
const REASONS_MAX = 16;
const TEXT_MAX = 400;

/** Opens the log and writes that this instance began. */
export function openDiary(place: AuditPlace, instance: Uint8Array, nowMs: () => number): Diary {
  const audit = openAudit(place);
  const take = openBuckets(DENIED_PACE, nowMs);
  // Since the last record: what could not be written, and refusals too many to write.
  const sums = { unrecorded: 0, denied: 0 };

  const append = (kind: string, entry: Readonly<Record<string, unknown>>): Buffer => {
    const since = sums.unrecorded + sums.denied > 0 ? { since: { ...sums } } : {};
    const time = new Date(nowMs()).toISOString();
    const hash = audit.append({ kind, time, instance: Buffer.from(instance).toString('hex'), ...since, ...entry });
    Object.assign(sums, { unrecorded: 0, denied: 0 });
    return hash;
  };
  /** For records that nothing waits for. */
  const note = (kind: string, entry: Readonly<Record<string, unknown>>): Buffer => {
    try {
      return append(kind, entry);
    } catch {
      sums.unrecorded += 1; // and said by the next record
      return Buffer.alloc(0);
    }
  };

  note('start', {});
  return {
    decided: (facts) => {
      const how = facts.verb === undefined ? 'none' : RECORDED[facts.verb];
      return how === 'none' ? Buffer.alloc(0) : (how === 'first' ? append : note)('decision', flat(facts));
    },
    finished: ({ peer }, decision, { kind, detail }) => {
      if (decision.length === 0) return;
      note('outcome', {
        uid: peer.uid,
        decision: decision.toString('hex'),
        outcome: kind,
        detail: detail.slice(0, TEXT_MAX),
      });
    },
    enrolled: (facts) => void append('enrol', flat(facts)),
    unreadable: (problem) => void note('policy', { detail: problem }),
    denied: (facts, reasons) => {
      const lines = reasons.slice(0, REASONS_MAX).map((reason) => reasonText(reason).slice(0, TEXT_MAX));
      if (take(facts.peer.uid)) note('denied', { ...flat(facts), reasons: lines });
      else sums.denied += 1;
    },
    close: () => {
      note('end', {});
      audit.flush();
    },
  };
}

function flat({ peer, dryRun: _, ...rest }: Facts): Readonly<Record<string, unknown>> {
  return { uid: peer.uid, pid: peer.pid, ...rest };
}
