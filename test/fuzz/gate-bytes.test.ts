// No bytes but the signed ones pass the gate: every flipped bit, every byte put in or left out, every other way to write the same message.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Envelope, Request } from '../../proto/gen/berth/helper/v1/request.ts';
import { ALICE, type Desk, ID, newKey, openDesk, principal, request, ruleOf, seal } from '../unit/gate/desk.ts';

const key = newKey();
const long = process.env['BERTH_LONG'] === '1';
let desk: Desk;
beforeAll(() => {
  desk = openDesk({ pace: { burst: 1e9, perSecond: 1e9 } });
  desk.write({}, { alice: principal(1000, key) });
});
afterAll(() => desk.close());
const judge = (bytes: Uint8Array): string => ruleOf(desk.gate.judge(bytes, ALICE));

const payload = Buffer.from(
  Request.encode(
    request({
      sequence: 2n ** 40n,
      ticket: Buffer.alloc(16, 3),
      verb: { $case: 'attach', value: { container: ID, exec: '' } },
    }),
  ).finish(),
);
const whole = seal(key, payload, { publicKey: key.publicKey });

describe('a full envelope', () => {
  test('with one bit flipped is refused, wherever', () => {
    const granted: number[] = [];
    let count = 0;
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bytes = Buffer.from(whole);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      if (judge(bytes) === 'granted') granted.push(bit);
      count += 1;
    }
    expect(granted).toEqual([]);
    expect(count).toBe(whole.length * 8);
    expect(whole.length).toBeGreaterThan(200);
  });

  test('with one byte put in or left out is refused, wherever', () => {
    const values = long ? Array.from({ length: 256 }, (_, i) => i) : [0, 1, 8, 10, 0x7f, 0x80, 0xff];
    const granted: string[] = [];
    let count = 0;
    for (let at = 0; at <= whole.length; at++) {
      const [head, tail] = [whole.subarray(0, at), whole.subarray(at)];
      for (const value of values) {
        if (judge(Buffer.concat([head, Buffer.from([value]), tail])) === 'granted') granted.push(`+${value} at ${at}`);
        count += 1;
      }
      if (at === whole.length) continue;
      if (judge(Buffer.concat([head, tail.subarray(1)])) === 'granted') granted.push(`- at ${at}`);
      count += 1;
    }
    expect(granted).toEqual([]);
    expect(count).toBe((whole.length + 1) * values.length + whole.length);
  });

  test('cut short anywhere is refused', () => {
    const signed = seal(key, payload); // the public half, which need not be there, would be at the end
    const ends = Array.from({ length: signed.length }, (_, end) => end);
    expect(ends.filter((end) => judge(signed.subarray(0, end)) === 'granted')).toEqual([]);
  });
});

/** The fields of a message as they stand on the wire: tag and what follows. */
function fields(bytes: Uint8Array): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const varint = (): number => {
      let [value, shift] = [0, 1];
      for (let byte = 0x80; byte & 0x80; shift *= 128) {
        byte = bytes[at++] ?? 0;
        value += (byte & 0x7f) * shift;
      }
      return value;
    };
    const wire = varint() & 7;
    const value = varint();
    if (wire === 2) at += value;
    out.push(Buffer.from(bytes.subarray(start, at)));
  }
  return out;
}

const join = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
const split = fields(payload);
const [instance = join(), sequence = join(), ...others] = split;

describe('a payload that is signed, but written another way, is refused', () => {
  test.each<[string, Buffer]>([
    ['an unknown field at its end', join(payload, Buffer.from([0xa0, 0x1f, 1]))],
    ['an unknown field at its start', join(Buffer.from([0xa0, 0x1f, 1]), payload)],
    ['an unknown group', join(payload, Buffer.from([0xa3, 0x1f, 0xa4, 0x1f]))],
    ['an unknown field within its verb', withVerb((verb) => join(verb, Buffer.from([0x50, 1])))],
    ['a field twice, equal', join(instance, instance, sequence, ...others)],
    ['a field twice, the last one differing', join(instance, Buffer.from([0x10, 1]), sequence, ...others)],
    ['fields in another order', join(sequence, instance, ...others)],
    [
      'a default on the wire',
      join(instance, sequence, ...others.slice(0, 2), Buffer.from([0x28, 0]), ...others.slice(2)),
    ],
    ['a number longer than need be', join(instance, longer(sequence), ...others)],
    ['a tag longer than need be', join(Buffer.from([0x8a, 0]), instance.subarray(1), sequence, ...others)],
    ['a length longer than need be', join(Buffer.from([0x0a, 0x90, 0]), instance.subarray(2), sequence, ...others)],
    [
      'two verbs',
      join(
        payload,
        new BinaryWriter()
          .uint32((21 << 3) | 2)
          .bytes(Buffer.concat([Buffer.from([0x0a, 64]), Buffer.from(ID)]))
          .finish(),
      ),
    ],
    ['its verb in two parts', withVerbTwice()],
    ['text that is not UTF-8', withVerb((verb) => verb.fill(0xff, 2, 3))],
    [
      'text with a byte order mark',
      join(instance, sequence, new BinaryWriter().uint32(26).string('\ufeffalice').finish(), ...others.slice(1)),
    ],
    ['a field of another wire type', join(instance, Buffer.from([0x12, 1, 5]), ...others)],
    ['zeros at its end', join(payload, Buffer.from([0, 0]))],
    ['an end group', join(payload, Buffer.from([0x0c]))],
  ])('with %s', (_name, bytes) => {
    expect(judge(seal(key, bytes))).toBe('malformed:form');
  });

  test('and an envelope written another way is refused before its signature is looked at', () => {
    const parts = fields(whole);
    const ways = [
      parts.toReversed(),
      [...parts, parts[2] ?? join()],
      [...parts, Buffer.from([0x38, 1])],
      [...parts, Buffer.from([0x22, 0])],
    ];
    expect(ways.map((way) => judge(join(...way)))).toEqual(ways.map(() => 'malformed:form'));
  });

  test('the payload itself, signed the same way, is granted', () => {
    expect(join(...split)).toEqual(payload);
    expect(Envelope.decode(whole).payload).toEqual(payload);
    expect(judge(whole)).toBe('granted');
    expect(judge(whole)).toBe('denied:sequence');
  });
});

/** The payload with its last field, the verb, rewritten. */
function withVerb(change: (verb: Buffer) => Buffer): Buffer {
  const verb = change(fieldBody(split.at(-1) ?? join()));
  return join(
    ...split.slice(0, -1),
    new BinaryWriter()
      .uint32((22 << 3) | 2)
      .bytes(verb)
      .finish(),
  );
}

function withVerbTwice(): Buffer {
  return join(
    payload,
    new BinaryWriter()
      .uint32((22 << 3) | 2)
      .bytes(Buffer.alloc(0))
      .finish(),
  );
}

function fieldBody(field: Buffer): Buffer {
  return Buffer.from(field.subarray(3)); // two bytes of tag, one of length
}

function longer(field: Buffer): Buffer {
  const bytes = Buffer.from(field);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
  return join(bytes, Buffer.from([0]));
}
