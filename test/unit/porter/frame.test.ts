import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ENVELOPE_BYTES_MAX, encodeFrame, type Frame, frameReader, TICKET_BYTES } from '../../../proto/porter/frame.ts';

const read = (chunks: readonly Buffer[]): Frame[] => {
  const frames: Frame[] = [];
  const reader = frameReader((frame) => void frames.push({ ...frame, body: Buffer.from(frame.body) }));
  for (const chunk of chunks) reader(chunk);
  return frames;
};
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const frame = fc.record({
  kind: fc.integer({ min: 0, max: 255 }),
  flag: fc.integer({ min: 0, max: 255 }),
  descriptors: fc.integer({ min: 0, max: 65_535 }),
  id: u32,
  of: u32,
  body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

test('what is encoded is read, however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), fc.integer({ min: 1, max: 400 }), (frames, size) => {
      const all = Buffer.concat(frames.map((one) => encodeFrame(one)));
      const chunks = Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
        all.subarray(i * size, (i + 1) * size),
      );
      expect(read(chunks)).toEqual(frames);
    }),
  );
});

test('the longest body is taken, one byte more is not, and nothing is allocated for it', () => {
  const most = TICKET_BYTES + ENVELOPE_BYTES_MAX;
  expect(read([encodeFrame({ kind: 1, id: 1, body: Buffer.alloc(most) })])[0]?.body.length).toBe(most);
  const header = encodeFrame({ kind: 1, id: 1 });
  header.writeUInt32LE(most + 1, 12);
  expect(() => read([header])).toThrow(/a frame of/);
});
