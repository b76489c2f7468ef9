import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ticketOf } from '../../../core/porter/ticket.ts';
import { Envelope, Request } from '../../../proto/gen/berth/helper/v1/request.ts';

const envelopeOf = (ticket: Uint8Array): Buffer => {
  const request = Request.fromPartial({
    instance: randomBytes(16),
    sequence: 7n,
    principal: '1000',
    profile: 'default',
    dryRun: true,
    ticket: Buffer.from(ticket),
    verb: { $case: 'signal', value: { container: 'a'.repeat(64), exec: '', signal: 9, all: true } },
  });
  const envelope = Envelope.fromPartial({
    keyId: '0123456789abcdef',
    payload: Buffer.from(Request.encode(request).finish()),
  });
  return Buffer.from(Envelope.encode(envelope).finish());
};

test('the ticket is the one that the helper will find', () => {
  const ticket = randomBytes(16);
  expect(Buffer.from(ticketOf(envelopeOf(ticket)) ?? [])).toEqual(ticket);
});

test.each([0, 1, 15, 17, 32])('%i bytes are no ticket', (length) => {
  expect(ticketOf(envelopeOf(randomBytes(length)))).toBeUndefined();
});

test('no bytes throw', () => {
  const whole = envelopeOf(randomBytes(16));
  for (let end = 0; end < whole.length; end++) ticketOf(whole.subarray(0, end));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void ticketOf(bytes)));
});
