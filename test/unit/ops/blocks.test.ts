import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BLOCK_IDS, type Blocks, openBlocks, slotRange } from '../../../helper/ops/blocks.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-blocks-'));
});
afterEach(() => rmSync(directory, { recursive: true }));
const open = (slot = 3): Blocks => openBlocks(join(directory, 'blocks'), slot);

test('slots do not overlap and stay below 2^31', () => {
  const ranges = Array.from({ length: 24 }, (_, slot) => slotRange(slot)).map(({ first, count }) => [
    first,
    first + count * BLOCK_IDS,
  ]);
  for (const [i, [first = 0, end = 0]] of ranges.entries()) {
    expect(first % BLOCK_IDS).toBe(0);
    expect(end).toBeLessThan(2 ** 31);
    for (const [other = 0, otherEnd = 0] of ranges.slice(i + 1)) expect(first >= otherEnd || other >= end).toBe(true);
  }
});

test('a block is one principal’s for good, over restarts', () => {
  const ada = open().take('ada', 1);
  const again = open();
  expect(again.take('bob', 1)).not.toBe(ada);
  expect(again.take('ada', 1)).toBe(ada); // its container’s record was not said to use it
  expect(readFileSync(join(directory, 'blocks'), 'utf8')).toContain(`${ada} ada container\n`);
});

test('a freed block is used again by its principal only, and not while another container shares it', () => {
  const blocks = open();
  const first = blocks.take('ada', 1);
  blocks.use(first, 1);
  blocks.free(first, 1);
  expect(blocks.take('ada', 1)).not.toBe(first);
  blocks.free(first, 1);
  expect(blocks.take('bob', 1)).not.toBe(first);
  expect(blocks.take('ada', 1)).toBe(first);
});

test('the storage range is one for each principal and never a container’s', () => {
  const blocks = open();
  const storage = blocks.storage('ada');
  expect(blocks.storage('ada')).toBe(storage);
  expect(open().storage('ada')).toBe(storage);
  expect(blocks.storage('bob')).not.toBe(storage);
  for (let i = 0; i < 5; i++) expect(blocks.take('ada', 1)).not.toBe(storage);
});

test('when a slot is full the refusal says so, and nothing was given', () => {
  const blocks = open();
  blocks.take('ada', 128);
  expect(() => blocks.take('bob', 1)).toThrow(/no 1 free blocks .* slot 3/);
});

test('a file that cannot be written gives no block', () => {
  const path = join(directory, 'missing', 'blocks');
  const blocks = openBlocks(path, 3);
  expect(() => blocks.take('ada', 1)).toThrow(/ENOENT/);
});

test('whatever is taken and freed, two containers that share nothing never have a block in common', () => {
  const step = fc.record({
    who: fc.constantFrom('ada', 'bob', 'cyd'),
    count: fc.integer({ min: 1, max: 3 }),
    free: fc.boolean(),
    restart: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      writeFileSync(join(directory, 'blocks'), '');
      let blocks = open();
      const held: { who: string; first: number; count: number }[] = [];
      const owner = new Map<number, string>();
      for (const { who, count, free, restart } of steps) {
        if (restart) {
          blocks = open();
          for (const one of held) blocks.use(one.first, one.count);
        }
        const gone = free ? held.shift() : undefined;
        if (gone !== undefined) blocks.free(gone.first, gone.count);
        const first = blocks.take(who, count);
        for (let i = 0; i < count; i++) {
          const block = first + i * BLOCK_IDS;
          expect(owner.get(block) ?? who).toBe(who);
          owner.set(block, who);
          expect(held.some((one) => block >= one.first && block < one.first + one.count * BLOCK_IDS)).toBe(false);
        }
        held.push({ who, first, count });
        if (held.length > 20) {
          const oldest = held.shift();
          if (oldest !== undefined) blocks.free(oldest.first, oldest.count);
        }
      }
    }),
    { numRuns: 60 },
  );
});
