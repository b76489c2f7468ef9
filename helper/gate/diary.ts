// What goes into the audit log: one record before and one after each thing that is done, refusals up to a rate and then as sums. Where the disk is full
// nothing new is begun, but what stops, kills, removes or frees still works; the next record tells how many went unrecorded.
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
const SUM_MS = 60_000;
const OTHERS = -1;
const UIDS_MAX = 1024;

/** Opens the log and writes that this instance began. */
export function openDiary(place: AuditPlace, instance: Uint8Array, nowMs: () => number): Diary {
  const audit = openAudit(place);
  const take = openBuckets(DENIED_PACE, nowMs);
  const skipped = new Map<number, number>();
  let unrecorded = 0;
  let timer: NodeJS.Timeout | undefined;

  const append = (kind: string, entry: Readonly<Record<string, unknown>>): Buffer => {
    const missed = unrecorded > 0 ? { unrecorded } : {};
    const time = new Date(nowMs()).toISOString();
    const hash = audit.append({ kind, time, instance: Buffer.from(instance).toString('hex'), ...missed, ...entry });
    unrecorded = 0;
    return hash;
  };
  /** For records that nothing waits for. */
  const note = (kind: string, entry: Readonly<Record<string, unknown>>): Buffer => {
    try {
      return append(kind, entry);
    } catch {
      unrecorded += 1; // and said by the next record
      return Buffer.alloc(0);
    }
  };
  const sumUp = (): void => {
    timer = undefined;
    for (const [uid, count] of skipped) note('denied', { uid: uid === OTHERS ? 'others' : uid, count });
    skipped.clear();
  };

  note('start', {});
  return {
    decided: (facts) => {
      const how = facts.verb === undefined ? 'none' : RECORDED[facts.verb];
      return how === 'none' ? Buffer.alloc(0) : (how === 'first' ? append : note)('decision', flat(facts));
    },
    finished: ({ peer }, decision, { kind, detail }) => {
      if (decision.length === 0) return;
      note('outcome', { uid: peer.uid, decision: decision.toString('hex'), outcome: kind, detail });
    },
    enrolled: (facts) => void append('enrol', flat(facts)),
    denied: (facts, reasons) => {
      const { uid } = facts.peer;
      if (take(uid)) return void note('denied', { ...flat(facts), reasons: reasons.map(reasonText) });
      const key = skipped.has(uid) || skipped.size < UIDS_MAX ? uid : OTHERS;
      skipped.set(key, (skipped.get(key) ?? 0) + 1);
      timer ??= setTimeout(sumUp, SUM_MS).unref();
    },
    close: () => {
      clearTimeout(timer);
      sumUp();
      audit.flush();
    },
  };
}

function flat({ peer, dryRun: _, ...rest }: Facts): Readonly<Record<string, unknown>> {
  return { uid: peer.uid, pid: peer.pid, ...rest };
}
