import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeRequest } from '../../../helper/decode/request.ts';
import { Envelope } from '../../../proto/gen/berth/helper/v1/request.ts';
import { isSignedBy, keyId, pae, REQUEST_TYPE, readPublicKey } from '../../../proto/sign/envelope.ts';
import { newKeyFile, readKeyFile } from '../../../proto/sign/key.ts';

type Vectors = {
  payload_type: string;
  pae: { source: string; type: string; payload: string; pae: string }[];
  keys: { name: string; secret: string; public: string; key_id: string }[];
  requests: { name: string; key: string; payload: string; pae: string; signature: string; envelope: string }[];
};
const vectors: Vectors = JSON.parse(readFileSync(new URL('../../vectors/sign.json', import.meta.url), 'utf8'));
const hex = (text: string): Buffer => Buffer.from(text, 'hex');
/** PKCS #8 around a raw Ed25519 seed. Source: RFC 8410, 7. */
const secretOf = (seed: string) =>
  createPrivateKey({
    key: Buffer.concat([hex('302e020100300506032b657004220420'), hex(seed)]),
    format: 'der',
    type: 'pkcs8',
  });
const keyNamed = (name: string) => {
  const key = vectors.keys.find((one) => one.name === name);
  if (key === undefined) throw new Error(`no key ${name}`);
  return key;
};

test('the vectors are there', () => {
  expect(vectors.payload_type).toBe(REQUEST_TYPE);
  expect([vectors.pae.length, vectors.keys.length, vectors.requests.length]).toEqual([3, 2, 5]);
  expect(hex(vectors.pae[0]?.pae ?? '').toString()).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
});

test.each(vectors.pae)('pae() gives the bytes of: $source', (one) => {
  expect(pae(one.type, hex(one.payload)).toString('hex')).toBe(one.pae);
});

test.each(vectors.keys)('keyId() and the public half of $name', (one) => {
  expect(keyId(hex(one.public))).toBe(one.key_id);
  expect(createPublicKey(secretOf(one.secret)).export({ format: 'jwk' }).x).toBe(hex(one.public).toString('base64url'));
});

describe.each(vectors.requests)('request $name', (one) => {
  const { secret, public: raw, key_id } = keyNamed(one.key);
  const key = readPublicKey(hex(raw));
  if (key === undefined) throw new Error('no key');

  test('is signed as written', () => {
    expect(pae(REQUEST_TYPE, hex(one.payload)).toString('hex')).toBe(one.pae);
    expect(sign(null, hex(one.pae), secretOf(secret)).toString('hex')).toBe(one.signature);
    expect(isSignedBy(key, hex(one.payload), hex(one.signature))).toBe(true);
  });

  test('is a request, and the envelope holds it', () => {
    expect(decodeRequest(hex(one.payload)).principal).toBe('alice');
    const envelope = Envelope.decode(hex(one.envelope));
    expect([
      envelope.keyId,
      envelope.payload.toString('hex'),
      envelope.signature.toString('hex'),
      envelope.publicKey.toString('hex'),
    ]).toEqual([key_id, one.payload, one.signature, raw]);
    expect(Buffer.from(Envelope.encode(envelope).finish()).toString('hex')).toBe(one.envelope);
  });

  test('with any bit of the signature flipped is not signed', () => {
    const signature = hex(one.signature);
    const good = Array.from({ length: 512 }, (_, bit) => {
      const bad = Buffer.from(signature);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return isSignedBy(key, hex(one.payload), bad);
    });
    expect(good).toEqual(Array(512).fill(false));
  });
});

describe('isSignedBy()', () => {
  const [one] = vectors.requests;
  if (one === undefined) throw new Error('no vector');
  const key = readPublicKey(hex(keyNamed(one.key).public));
  if (key === undefined) throw new Error('no key');

  test.each([0, 63, 65, 128])('is false for a signature of %i bytes', (length) => {
    expect(
      isSignedBy(key, hex(one.payload), Buffer.concat([hex(one.signature), Buffer.alloc(64)]).subarray(0, length)),
    ).toBe(false);
  });

  test('is false for the same signature with the order of the group added to its number', () => {
    const order = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;
    const bytes = hex(one.signature);
    const s = BigInt(`0x${Buffer.from(bytes.subarray(32)).reverse().toString('hex')}`) + order;
    const other = Buffer.concat([bytes.subarray(0, 32), hex(s.toString(16).padStart(64, '0')).reverse()]);
    expect(isSignedBy(key, hex(one.payload), other)).toBe(false);
  });
});

describe('key files', () => {
  test('a new key reads back and signs what its public half verifies', () => {
    const text = newKeyFile();
    expect(text).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    const file = readKeyFile(text);
    const key = readPublicKey(file?.publicKey ?? Buffer.alloc(0));
    expect(key && file && isSignedBy(key, Buffer.from('x'), file.sign(pae(REQUEST_TYPE, Buffer.from('x'))))).toBe(true);
    expect(readKeyFile(newKeyFile())?.publicKey).not.toEqual(file?.publicKey);
  });

  test.each([
    ['nothing', ''],
    ['another text', 'hello'],
    [
      'a key of another kind',
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    ],
    ['a public key', generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString()],
  ])('%s is no key', (_name, text) => {
    expect(readKeyFile(text)).toBeUndefined();
  });

  test.each([0, 31, 33])('%i bytes are no public key', (length) => {
    expect(readPublicKey(Buffer.alloc(length))).toBeUndefined();
  });
});
