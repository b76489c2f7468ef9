// Who signed: the principals of the peer's uid that hold the envelope's key. The uid is the kernel's word; a key of somebody else is an unknown key.
import type { KeyObject } from 'node:crypto';
import type { Envelope } from '../../proto/gen/berth/helper/v1/request.ts';
import { keyId, readPublicKey } from '../../proto/sign/envelope.ts';
import type { Book, Named } from './book.ts';

export type Caller = {
  readonly key: KeyObject;
  /** Those he may act as. */
  readonly principals: readonly Named[];
  /** RFC 3339, or `never`. */
  readonly notAfter: string;
  /** The raw key of a user who has no principal yet and may become one. */
  readonly newcomer: Uint8Array | undefined;
};

// Uids that stand for nobody in particular: the overflow uid, which the kernel gives for those a user namespace does not map, and the blocks of
// containers. Neither may become a principal by itself.
const OVERFLOW_UID = 65_534;
const BLOCKS = { from: 0x7000_0000, to: 0x8000_0000 };

/** Whether this uid may send a request at all. Root always may, so that the administrator learns why he is refused. */
export function mayConnect({ policy, principals }: Book, uid: number): boolean {
  return uid === 0 || isNewcomer(policy.selfEnrol, uid) || principals.some((one) => one.uid === uid);
}

function isNewcomer(selfEnrol: boolean, uid: number): boolean {
  return selfEnrol && uid !== OVERFLOW_UID && !(uid >= BLOCKS.from && uid < BLOCKS.to);
}

/** Those a uid has, or would have after its first request. */
export function principalsOf({ policy, principals }: Book, uid: number): readonly Named[] {
  const own = principals.filter((one) => one.uid === uid);
  if (own.length > 0 || !isNewcomer(policy.selfEnrol, uid)) return own;
  return [{ name: String(uid), uid, keys: [], profiles: policy.selfEnrolProfiles, quota: {} }];
}

/** The caller; undefined for a key that is not known, not this uid's, or a broker's, whose delegations are not accepted yet. */
export function findCaller(book: Book, uid: number, envelope: Envelope): Caller | undefined {
  const id = envelope.keyId;
  if (envelope.publicKey.length > 0 && keyId(envelope.publicKey) !== id) return undefined;
  const own = principalsOf(book, uid);
  const isThis = (one: Named['keys'][number]): boolean => one.role === 'user' && keyId(fromHex(one.key)) === id;
  const principals = own.filter((one) => one.keys.some(isThis));
  const known = principals.flatMap((one) => one.keys).find(isThis);
  const isOld = known !== undefined || book.principals.some((one) => one.uid === uid);
  const newcomer = isOld ? undefined : envelope.publicKey;
  const raw = known === undefined ? newcomer : fromHex(known.key);
  const key = raw && readPublicKey(raw);
  return key && { key, principals: known ? principals : own, notAfter: known?.notAfter ?? 'never', newcomer };
}

const fromHex = (text: string): Buffer => Buffer.from(text, 'hex');
