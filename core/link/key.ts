// The engine's Ed25519 key: made at the first start, kept in the user's state directory, 0600. The helper takes it only from its uid.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { BerthError } from '../base/errors.ts';

export type Key = {
  /** The raw 32 bytes. */
  readonly publicKey: Buffer;
  readonly sign: (bytes: Uint8Array) => Buffer;
};

const hint = 'remove it, start again and have the new key enrolled: berth admin enroll';

/** Reads the key of a file (PKCS #8 PEM), or makes one where there is none. Throws store_damaged where the file is somebody else's or open to others. */
export function loadKey(path: string): Key {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    return keyOf(makeKey(path));
  }
  try {
    const stat = fstatSync(fd);
    if (stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0)
      throw new BerthError('store_damaged', `${path}: a key must be a file of uid ${process.getuid?.()} with mode 0600; it is of ${stat.uid} with ${(stat.mode & 0o7777).toString(8)}`, { hint });
    const key = createPrivateKey(readFileSync(fd, 'utf8'));
    if (key.asymmetricKeyType !== 'ed25519') throw new BerthError('store_damaged', `${path}: the key is ${key.asymmetricKeyType}, not ed25519`, { hint });
    return keyOf(key);
  } finally {
    closeSync(fd);
  }
}

function keyOf(key: KeyObject): Key {
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return { publicKey: spki.subarray(spki.length - 32), sign: (bytes) => sign(null, bytes, key) };
}

/** Written aside and renamed: a half-written key is never found. */
function makeKey(path: string): KeyObject {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const { privateKey } = generateKeyPairSync('ed25519');
  const aside = `${path}.${process.pid}`;
  const fd = openSync(aside, 'wx', 0o600);
  try {
    writeSync(fd, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(aside, path);
  return privateKey;
}
