import { closeSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { openLayerStream } from '../../../core/engine/layer-stream.ts';
import { makePipe } from '../../../core/sys/pipe.ts';

const part = (from: number, size: number): Buffer =>
  Buffer.from(Array.from({ length: size }, (_, i) => (from + i) % 251));

/** All that comes out of the pipe. */
async function drain(fd: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of new Socket({ fd, readable: true, writable: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

test('a stream gives every byte once, in order, whatever is told again after a break', async () => {
  const { read, write } = makePipe();
  const got = drain(read);
  const stream = openLayerStream(
    write,
    got.then(() => {}),
  );
  const whole = part(0, 3_000_000);
  await stream.write(whole.subarray(0, 1_000_000), 0);
  await stream.write(whole.subarray(500_000, 1_500_000), 500_000);
  await stream.write(whole.subarray(0, 1_000_000), 0);
  await stream.write(whole.subarray(1_000_000, 3_000_000), 1_000_000);
  stream.end(true);
  await stream.taken;
  expect(Buffer.compare(await got, whole)).toBe(0);
});

test('a stream whose reader is gone takes what comes and waits for nobody', async () => {
  const { read, write } = makePipe();
  const failed = Promise.reject(new Error('the helper was killed'));
  const stream = openLayerStream(write, failed);
  closeSync(read);
  for (let i = 0; i < 40; i++) await stream.write(part(i, 1 << 20), i << 20);
  stream.end(true);
  await expect(stream.taken).rejects.toThrow('the helper was killed');
});

test('a stream that is given up in the middle ends the pipe early', async () => {
  const { read, write } = makePipe();
  const stream = openLayerStream(write, new Promise(() => {}));
  await stream.write(part(0, 1000), 0);
  await stream.write(part(1000, 10), 1000);
  stream.end(false);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const bytes = Buffer.alloc(4000);
  expect(readSync(read, bytes)).toBeLessThanOrEqual(1010);
  expect(readSync(read, bytes)).toBe(0);
  closeSync(read);
});
