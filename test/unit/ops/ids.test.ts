import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BLOCK_IDS, type Blocks, openBlocks, slotRange, type Taken } from '../../../helper/ops/ids.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-blocks-'));
});
afterEach(() => rmSync(directory, { recursive: true }));
const open = (used: readonly Taken[] = []): Blocks => openBlocks(join(directory, 'blocks'), 3, () => used);

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
  expect(readFileSync(join(directory, 'blocks'), 'utf8')).toContain(
    JSON.stringify({ first: ada, principal: 'ada', storage: false }),
  );
});

test('a freed block is used again by its principal only, and not while another container shares it', () => {
  const used: Taken[] = [];
  const blocks = open(used);
  const first = blocks.take('ada', 1);
  used.push({ firstId: first, blocks: 1 }, { firstId: first, blocks: 1 });
  used.pop();
  expect(blocks.take('ada', 1)).not.toBe(first);
  used.pop();
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
  const used: Taken[] = [];
  const blocks = open(used);
  used.push({ firstId: blocks.take('ada', 128), blocks: 128 });
  expect(() => blocks.take('bob', 1)).toThrow(/no 1 free blocks .* slot 3/);
});

test('a file that cannot be written gives no block', () => {
  const path = join(directory, 'missing', 'blocks');
  const blocks = openBlocks(path, 3, () => []);
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
      rmSync(join(directory, 'blocks'), { force: true });
      const held: Taken[] = [];
      let blocks = open(held);
      const owner = new Map<number, string>();
      for (const { who, count, free, restart } of steps) {
        if (restart) blocks = open(held);
        if (free) held.shift();
        const first = blocks.take(who, count);
        for (let i = 0; i < count; i++) {
          const block = first + i * BLOCK_IDS;
          expect(owner.get(block) ?? who).toBe(who);
          owner.set(block, who);
          expect(held.some((one) => block >= one.firstId && block < one.firstId + one.blocks * BLOCK_IDS)).toBe(false);
        }
        held.push({ firstId: first, blocks: count });
        if (held.length > 20) held.shift();
      }
    }),
    { numRuns: 60 },
  );
});

test('a file that is damaged, or of another version, is named', () => {
  writeFileSync(join(directory, 'blocks'), '1879048192 ada container\n');
  expect(() => open()).toThrow(expect.objectContaining({ step: `read ${join(directory, 'blocks')}` }));
});
