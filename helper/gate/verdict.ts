// What the gate is asked, what it needs of the rest of the helper, and what it answers.
import type { Reason } from '../../proto/gen/berth/helper/v1/request.ts';
import type { Profile } from '../../proto/policy/profile.ts';
import type { Seen } from '../../proto/policy/seen.ts';
import type { CheckedRequest } from '../decode/checked.ts';

/** Who is at the other end of the socket, by the kernel's word (SO_PEERCRED). */
export type Peer = { readonly uid: number; readonly pid: number };

/**
 * The helper's records and the ticket's descriptors, read once the caller is known: whether the verb goes with the object's state, and the facts
 * policy judges by. An object of somebody else and an unknown one must get the same reasons. Does not wait.
 */
export type Look = (
  request: CheckedRequest,
  principal: string,
  peer: Peer,
) => { readonly kind: 'seen'; readonly seen: Seen } | { readonly kind: 'refused'; readonly reasons: readonly Reason[] };

/** `busy`: over a rate, ask again later. `unknown`: no such key for this uid. The others say in their reasons what to change. */
export type Refused = {
  readonly kind: 'refused';
  readonly code: 'busy' | 'unknown' | 'malformed' | 'denied';
  readonly reasons: readonly Reason[];
};

/** How it ended, for the second audit record. `detail` is one line; empty where all is said. */
export type Outcome = { readonly kind: 'done' | 'failed'; readonly detail: string };

export type Granted = {
  readonly kind: 'granted';
  readonly request: CheckedRequest;
  readonly principal: string;
  readonly profile: Profile;
  readonly seen: Seen;
  /** SHA-256 of the audit record of the decision; empty for a dry run and for verbs that change nothing. */
  readonly auditHash: Buffer;
  /** To be called once, when the request was performed or failed. */
  readonly finish: (outcome: Outcome) => void;
};

export type Verdict = Refused | Granted;

export type Gate = {
  /** Judges the bytes of an Envelope. Synchronous from the first check to the audit record. */
  readonly judge: (envelope: Uint8Array, peer: Peer) => Verdict;
  /** `principal/profile` of all that this uid may ask as, most usual first: what Hello tells. */
  readonly profilesOf: (uid: number) => readonly string[];
  readonly close: () => void;
};
