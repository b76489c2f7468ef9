// May this caller ask this? From the cheapest question to the dearest, each answered before the next is looked at, all in one synchronous step from
// the size of the bytes to the audit record: nothing another request does comes between.
import { createHash } from 'node:crypto';
import { Envelope, type Reason } from '../../proto/gen/berth/helper/v1/request.ts';
import { evaluate } from '../../proto/policy/evaluate.ts';
import { isSignedBy } from '../../proto/sign/envelope.ts';
import { decodeCanonical } from '../decode/request.ts';
import { Malformed } from '../../proto/policy/form.ts';
import { decodeRequest, REQUEST_BYTES_MAX } from '../decode/request.ts';
import type { AuditPlace } from './audit.ts';
import { type Book, openBook, withQuota } from './book.ts';
import { type Caller, findCaller, mayConnect, principalsOf } from './caller.ts';
import { type Facts, openDiary } from './diary.ts';
import { openBuckets, type Pace } from './rate.ts';
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
  readonly code: Refused['code'];
  readonly reasons: readonly Reason[];
  constructor(code: Refused['code'], reasons: readonly Reason[]) {
    super(code);
    this.code = code;
    this.reasons = reasons;
  }
}

/** The refusal to throw. Rules of the gate judge the field of the same name. */
function stop(code: Refused['code'], rule: string, [asked, allowed]: readonly [asked: string, allowed: string]): Stop {
  return new Stop(code, [{ rule, field: rule, asked, allowed }]);
}

/** Opens the gate of one start of the helper. */
export function openGate(parts: GateParts): Gate {
  const state = openState(parts);
  return {
    judge: (bytes, peer) => {
      const facts: Facts = { peer };
      try {
        return grant(state, verify(state, bytes, facts), facts);
      } catch (error) {
        return refusal(state, facts, error);
      }
    },
    profilesOf: (uid) => {
      const names = principalsOf(state.book.read(), uid).map((one) =>
        one.profiles.map((profile) => `${one.name}/${profile}`),
      );
      return names.flat();
    },
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
type Verified = { readonly book: Book; readonly caller: Caller; readonly payload: Uint8Array };

/** Size, uid, rate, key, signature. */
function verify(state: State, bytes: Uint8Array, facts: Facts): Verified {
  const { uid } = facts.peer;
  if (bytes.length > ENVELOPE_BYTES_MAX) {
    throw stop('malformed', 'size', [`${bytes.length} bytes`, `at most ${ENVELOPE_BYTES_MAX}`]);
  }
  const book = state.book.read();
  if (!mayConnect(book, uid))
    throw stop('unknown', 'connect', [`uid ${uid}`, state.book.problem() ?? 'those of principals']);
  if (!state.mayAsk(uid)) throw stop('busy', 'rate', ['too many requests', 'fewer, or later']);
  const envelope = decodeCanonical(Envelope, bytes, 'envelope');
  if (envelope.delegation.length + envelope.delegationSignature.length > 0) {
    throw stop('denied', 'delegation', ['a request for somebody else', 'none by this version']);
  }
  const caller = findCaller(book, uid, envelope);
  if (caller === undefined) throw stop('unknown', 'key', ["a key that is not this uid's", 'an enrolled one']);
  facts.key = envelope.keyId;
  if (caller.notAfter !== 'never' && state.nowMs() > Date.parse(caller.notAfter)) {
    throw stop('unknown', 'key', [`one that was valid until ${caller.notAfter}`, 'a valid one']);
  }
  if (!isSignedBy(caller.key, envelope.payload, envelope.signature)) {
    throw stop('denied', 'signature', ['one that is not of this key over this payload', 'a good one']);
  }
  facts.payload = createHash('sha256').update(envelope.payload).digest('hex');
  return { book, caller, payload: envelope.payload };
}

/** Form, instance, sequence, principal, state, policy, audit. */
function grant(state: State, { book, caller, payload }: Verified, facts: Facts): Granted {
  const request = decodeRequest(payload);
  Object.assign(facts, { verb: request.verb.$case, dryRun: request.dryRun });
  if (Buffer.compare(request.instance, state.instance) !== 0) {
    throw stop('denied', 'instance', ['another start of the helper', 'the one that Hello tells']);
  }
  const last = state.sequences.get(caller.keyId) ?? 0n;
  if (request.sequence <= last) throw stop('denied', 'sequence', [String(request.sequence), `above ${last}`]);
  state.sequences.set(caller.keyId, request.sequence);
  const principal = caller.principals.find((one) => one.name === request.principal);
  if (principal === undefined) throw stop('denied', 'principal', [request.principal, 'one that holds this key']);
  const named = principal.profiles.includes(request.profile) ? book.policy.profiles[request.profile] : undefined;
  if (named === undefined) throw stop('denied', 'profile', [request.profile, principal.profiles.join(' ') || 'none']);
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
function record(state: State, { newcomer }: Caller, facts: Facts): Buffer {
  if (newcomer !== undefined) {
    if (!state.mayEnrol(EVERYBODY)) throw stop('busy', 'enrol', ['a principal of his own', 'later: too many came']);
    written('enrol', () => state.diary.enrolled(facts));
    written('enrol', () => state.book.enrol(facts.peer.uid, newcomer));
  }
  return written('audit', () => state.diary.decided(facts));
}

function written<T>(rule: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw stop('denied', rule, ['a change', `none while it cannot be written down: ${why}`]);
  }
}

function refusal({ diary }: State, facts: Facts, error: unknown): Refused {
  const refused = asRefused(error);
  if (facts.dryRun !== true) diary.denied(facts, refused.reasons);
  return refused;
}

function asRefused(error: unknown): Refused {
  if (error instanceof Stop) return { kind: 'refused', code: error.code, reasons: error.reasons };
  if (!(error instanceof Malformed)) throw error; // a bug: the caller ends the call, nothing was granted
  const allowed = error.rule.replace(/^must be /, '');
  return {
    kind: 'refused',
    code: 'malformed',
    reasons: [{ rule: 'form', field: error.field, asked: 'something else', allowed }],
  };
}
