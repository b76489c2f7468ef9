// The exact bytes that are signed, for both sides. Ed25519 over the pre-authentication encoding of DSSE, so that a signature for one type of payload
// never passes for another. Sources: DSSE v1.0.2, protocol.md; RFC 8032.
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';

export const REQUEST_TYPE = 'application/vnd.berth.request.v1';
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** What is signed in place of the payload: its type and itself, each with its length before it. */
export function pae(type: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** How envelopes and the audit log call a key: the first 16 hexadecimal digits of the SHA-256 of its raw public half. */
export function keyId(publicKey: Uint8Array): string {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 16);
}

/** Reads a raw public key of 32 bytes; undefined where it is none. */
export function readPublicKey(raw: Uint8Array): KeyObject | undefined {
  if (raw.length !== PUBLIC_KEY_BYTES) return undefined;
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

/** Whether the signature is the key's over this payload of this type. */
export function isSignedBy(key: KeyObject, payload: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES) return false;
  return verify(null, pae(REQUEST_TYPE, payload), key, signature);
}
