// A user's signing key as a file: PKCS #8 in PEM, which openssl reads as well. Made once, read by his engine alone.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export type KeyFile = {
  /** The raw public half, 32 bytes. */
  readonly publicKey: Buffer;
  readonly sign: (bytes: Uint8Array) => Buffer;
};

/** A new key as the text of its file. */
export function newKeyFile(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** The key of a file's text; undefined where it holds no Ed25519 key. */
export function readKeyFile(text: string): KeyFile | undefined {
  let secret: KeyObject;
  try {
    secret = createPrivateKey(text);
  } catch {
    return undefined; // not PEM, or encrypted
  }
  if (secret.asymmetricKeyType !== 'ed25519') return undefined;
  const publicKey = Buffer.from(createPublicKey(secret).export({ format: 'jwk' }).x ?? '', 'base64url');
  return { publicKey, sign: (bytes) => sign(null, bytes, secret) };
}
