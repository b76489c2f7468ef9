import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openStore } from '../../../helper/ops/store.ts';

type Facts = { readonly bytes: number };
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'berth-store-'));
});
afterEach(async () => {
  (await open()).seal(false);
  rmSync(root, { recursive: true });
});

const open = () => openStore<Facts>(root, 'things');
const fillWith =
  (bytes: number) =>
  async (directory: string): Promise<Facts> => {
    writeFileSync(join(directory, 'tar'), 'x'.repeat(bytes));
    return { bytes };
  };
const left = () => [readdirSync(join(root, 'things')), readdirSync(join(root, 'tmp'))];

test('what was made is there for the next helper, for those with a right to it only', async () => {
  const store = await open();
  await store.make('one', 'ada', fillWith(3));
  store.give('one', 'cyd');
  for (const each of [store, await open()]) {
    expect(each.find('one', 'ada')).toEqual({ bytes: 3 });
    expect(each.find('one', 'cyd')).toEqual({ bytes: 3 });
    expect(each.find('one', 'bob')).toBeUndefined();
    expect(each.find('two', 'ada')).toBeUndefined();
  }
});

test('two who make the same at the same time share what was there first', async () => {
  const store = await open();
  await Promise.all([store.make('one', 'ada', fillWith(3)), store.make('one', 'bob', fillWith(3))]);
  expect([...(store.kept.get('one')?.rights ?? [])].sort()).toEqual(['ada', 'bob']);
  expect(left()).toEqual([['one'], []]);
});

test('only the last right that is taken is the last one, and only once', async () => {
  const store = await open();
  await store.make('one', 'ada', fillWith(3));
  store.give('one', 'bob');
  expect([store.take('one', 'ada'), store.take('one', 'ada'), store.take('one', 'cyd')]).toEqual([false, false, false]);
  expect([store.take('one', 'bob'), store.take('one', 'bob')]).toEqual([true, false]);
  await store.remove('one');
  expect(left()).toEqual([[], []]);
  expect(() => store.give('one', 'ada')).toThrow(/dropped meanwhile/);
});

test('a fill that fails leaves nothing, and its error is told', async () => {
  const store = await open();
  const fill = async (directory: string): Promise<Facts> => {
    writeFileSync(join(directory, 'tar'), 'half');
    throw new Error('no more bytes');
  };
  await expect(store.make('one', 'ada', fill)).rejects.toThrow('no more bytes');
  expect([left(), store.kept.size]).toEqual([[[], []], 0]);
});

test.each([
  ['a removal after the last right was taken', (path: string) => rmSync(join(path, 'rights/ada'))],
  ['what has no facts', (path: string) => rmSync(join(path, 'facts'))],
])('%s goes on at the next start', async (_, damage) => {
  const store = await open();
  await store.make('one', 'ada', fillWith(3));
  damage(join(root, 'things/one'));
  mkdirSync(join(root, 'tmp/half')); // a filling that was cut off
  expect((await open()).kept.size).toBe(0);
  expect(left()).toEqual([[], []]);
  expect(existsSync(join(root, 'things/one'))).toBe(false);
});
