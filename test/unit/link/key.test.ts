// The engine's key file: made once, for the owner alone, and nothing else is taken for one.
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadKey } from '../../../core/link/key.ts';
import { isSignedBy, pae, readPublicKey, REQUEST_TYPE } from '../../../proto/sign/envelope.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-key-'));
afterAll(() => rmSync(directory, { recursive: true }));

test('loadKey() makes a key of mode 0600 and reads the same one again', () => {
  const path = join(directory, 'new/key.pem');
  const made = loadKey(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(loadKey(path).publicKey.equals(made.publicKey)).toBe(true);
  const payload = Buffer.from('payload');
  const key = readPublicKey(made.publicKey);
  expect(key !== undefined && isSignedBy(key, payload, made.sign(pae(REQUEST_TYPE, payload)))).toBe(true);
});

test('loadKey() refuses a file that others may read, and one that is no key', () => {
  const path = join(directory, 'open.pem');
  loadKey(path);
  chmodSync(path, 0o640);
  expect(() => loadKey(path)).toThrow(/must be uid \d+'s with mode 0600; it is uid \d+'s with mode 0640/);
  const other = join(directory, 'other.pem');
  writeFileSync(other, 'nothing\n', { mode: 0o600 });
  expect(() => loadKey(other)).toThrow('this is no Ed25519 key in PEM');
  expect(readFileSync(other, 'utf8')).toBe('nothing\n');
});
