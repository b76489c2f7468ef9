// May this caller ask this? From the cheapest question to the dearest, each answered before the next is looked at, all in one synchronous step from
// the size of the bytes to the audit record: nothing another request does comes between.
import { createHash } from 'node:crypto';
import { Envelope, type Reason } from '../../proto/gen/berth/helper/v1/request.ts';
import { evaluate } from '../../proto/policy/evaluate.ts';
import { Malformed } from '../../proto/policy/form.ts';
import { isSignedBy } from '../../proto/sign/envelope.ts';
import { decodeCanonical, decodeRequest, REQUEST_BYTES_MAX } from '../decode/request.ts';
import type { AuditPlace } from './audit.ts';
import { openBook, withQuota, words } from './book.ts';
import { type Caller, findCaller, mayConnect, principalsOf } from './caller.ts';
import { type Facts, openDiary } from './diary.ts';
import { openBuckets, type Pace } from '../../core/base/rate.ts';
import type { Gate, Granted, Look, Refused } from './verdict.ts';

export type GateParts = {
  /** `/etc/berth`. */
  readonly directory: string;
  readonly audit: AuditPlace;
  /** Random at each start of the helper, 16 bytes; Hello tells it. */
  readonly instance: Uint8Array;
  readonly look: Look;
  readonly nowMs: () => number;
  readonly pace?: Pace;
};

export const ENVELOPE_BYTES_MAX = REQUEST_BYTES_MAX + 512;
const PACE: Pace = { burst: 1000, perSecond: 500 };
// Over all uids: a user with subordinate uids could come as many.
const ENROL_PACE: Pace = { burst: 32, perSecond: 0.1 };
const EVERYBODY = 0;

class Stop extends Error {
  readonly refused: Refused;
  constructor(code: Refused['code'], reasons: readonly Reason[]) {
    super(code);
    this.refused = { kind: 'refused', code, reasons };
  }
}

type Rule = readonly [code: Refused['code'], rule: string];
/** Stops where it does not hold. Rules of the gate judge the field of the same name. */
function need(held: boolean, [code, rule]: Rule, [asked, allowed]: readonly [string, string]): asserts held {
  if (!held) throw new Stop(code, [{ rule, field: rule, asked, allowed }]);
}

/** Opens the gate of one start of the helper. */
export function openGate(parts: GateParts): Gate {
  const state = openState(parts);
  return {
    judge: (bytes, peer) => {
      const facts: Facts = { peer };
      try {
        return judge(state, bytes, facts);
      } catch (error) {
        const refused = asRefused(error);
        if (facts.dryRun !== true) state.diary.denied(facts, refused.reasons);
        return refused;
      }
    },
    profilesOf: (uid) =>
      principalsOf(state.book.read(), uid).flatMap(({ name, profiles }) => profiles.map((one) => `${name}/${one}`)),
    close: state.diary.close,
  };
}

function openState(parts: GateParts) {
  const diary = openDiary(parts.audit, parts.instance, parts.nowMs);
  return {
    ...parts,
    diary,
    book: openBook(parts.directory, diary.unreadable),
    mayAsk: openBuckets(parts.pace ?? PACE, parts.nowMs),
    mayEnrol: openBuckets(ENROL_PACE, parts.nowMs),
    /** The last number of each key. */
    sequences: new Map<string, bigint>(),
  };
}
type State = ReturnType<typeof openState>;

/** Size, uid, rate, key, signature; then form, instance, sequence, principal, state, policy, audit. */
function judge(state: State, bytes: Uint8Array, facts: Facts): Granted {
  const { uid } = facts.peer;
  const size = [`${bytes.length} bytes`, `at most ${ENVELOPE_BYTES_MAX}`] as const;
  need(bytes.length <= ENVELOPE_BYTES_MAX, ['malformed', 'size'], size);
  const book = state.book.read();
  const known = state.book.problem() ?? 'those of principals';
  need(mayConnect(book, uid), ['unknown', 'connect'], [`uid ${uid}`, known]);
  need(state.mayAsk(uid), ['busy', 'rate'], ['too many requests', 'fewer, or later']);
  const envelope = decodeCanonical(Envelope, bytes, 'envelope');
  const own = envelope.delegation.length + envelope.delegationSignature.length === 0;
  need(own, ['denied', 'delegation'], ['a request for somebody else', 'none by this version']);
  const caller = findCaller(book, uid, envelope);
  need(caller !== undefined, ['unknown', 'key'], ["a key that is not this uid's", 'an enrolled one']);
  facts.key = envelope.keyId;
  const valid = caller.notAfter === 'never' || state.nowMs() <= Date.parse(caller.notAfter);
  need(valid, ['unknown', 'key'], [`one that was valid until ${caller.notAfter}`, 'a valid one']);
  const signed = isSignedBy(caller.key, envelope.payload, envelope.signature);
  need(signed, ['denied', 'signature'], ['one that is not of this key over this payload', 'a good one']);
  facts.payload = createHash('sha256').update(envelope.payload).digest('hex');

  const request = decodeRequest(envelope.payload);
  Object.assign(facts, { verb: request.verb.$case, dryRun: request.dryRun });
  const ours = Buffer.compare(request.instance, state.instance) === 0;
  need(ours, ['denied', 'instance'], ['another start of the helper', 'the one that Hello tells']);
  const last = state.sequences.get(envelope.keyId) ?? 0n;
  need(request.sequence > last, ['denied', 'sequence'], [String(request.sequence), `above ${last}`]);
  state.sequences.set(envelope.keyId, request.sequence);
  const principal = caller.principals.find((one) => one.name === request.principal);
  need(principal !== undefined, ['denied', 'principal'], [request.principal, 'one that holds this key']);
  const named = principal.profiles.includes(request.profile) ? book.policy.profiles[request.profile] : undefined;
  need(named !== undefined, ['denied', 'profile'], [request.profile, principal.profiles.join(' ') || 'none']);
  Object.assign(facts, { principal: principal.name, profile: request.profile });

  const found = state.look(request, principal.name, facts.peer);
  if (found.kind === 'refused') throw new Stop('denied', found.reasons);
  const profile = withQuota(named, principal.quota);
  const reasons = evaluate(profile, request, found.seen);
  if (reasons.length > 0) throw new Stop('denied', reasons);

  const auditHash = request.dryRun ? Buffer.alloc(0) : record(state, caller, facts);
  const finish: Granted['finish'] = (outcome) => state.diary.finished(facts, auditHash, outcome);
  return { kind: 'granted', request, principal: principal.name, profile, seen: found.seen, auditHash, finish };
}

/** A newcomer's principal, and the record of the decision: nothing is done without it that is not meant to undo. */
function record({ diary, book, mayEnrol }: State, { newcomer }: Caller, facts: Facts): Buffer {
  if (newcomer !== undefined) {
    need(mayEnrol(EVERYBODY), ['busy', 'enrol'], ['a principal of his own', 'later: too many came']);
    written('enrol', () => {
      diary.enrolled(facts);
      book.enrol(facts.peer.uid, newcomer);
    });
  }
  return written('audit', () => diary.decided(facts));
}

function written<T>(rule: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    const allowed = `none while it cannot be written down: ${words(error)}`;
    throw new Stop('denied', [{ rule, field: rule, asked: 'a change', allowed }]);
  }
}

function asRefused(error: unknown): Refused {
  if (error instanceof Stop) return error.refused;
  if (!(error instanceof Malformed)) throw error; // a bug: the caller ends the call, nothing was granted
  const allowed = error.rule.replace(/^must be /, '');
  const reason: Reason = { rule: 'form', field: error.field, asked: 'something else', allowed };
  return { kind: 'refused', code: 'malformed', reasons: [reason] };
}
