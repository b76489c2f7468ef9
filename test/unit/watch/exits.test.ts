import { appendFileSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ENTRY_BYTES, openExits } from '../../../helper/watch/exits.ts';

let path: string;
beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), 'berth-exits-')), 'exits');
});
afterEach(() => rmSync(join(path, '..'), { recursive: true }));

test.each([
  ['exit code 0', 0],
  ['exit code 137', 137 << 8],
  ['SIGKILL', 9],
  ['SIGSEGV with a core', 11 | 0x80],
])('%s is read as it was written, by another reader too', (_, status) => {
  const entry = { pid: 4711, status, bootNs: 123_456_789_012_345n };
  openExits(path).append(entry);
  expect(openExits(path).find(4711, 0n)).toEqual(entry);
});

test('the first entry for a pid after its process was started is its own', () => {
  const exits = openExits(path);
  for (const bootNs of [100n, 200n, 300n]) exits.append({ pid: 7, status: Number(bootNs), bootNs });
  expect(exits.find(7, 150n)?.bootNs).toBe(200n);
  expect(exits.find(7, 301n)).toBeUndefined();
  expect(exits.find(8, 0n)).toBeUndefined();
});

test('entries that come while it is read are found later, an entry that is not whole yet is not', () => {
  const [reader, writer] = [openExits(path), openExits(path)];
  expect(reader.find(1, 0n)).toBeUndefined();
  for (let pid = 1; pid <= 1000; pid++) writer.append({ pid, status: 0, bootNs: 1n });
  expect(reader.find(1000, 0n)).toBeDefined();
  appendFileSync(path, Buffer.alloc(ENTRY_BYTES - 1, 1));
  expect(reader.find(1001, 0n)).toBeUndefined();
});

test('a cleared file is empty and goes on', () => {
  const exits = openExits(path);
  exits.append({ pid: 1, status: 0, bootNs: 1n });
  expect(exits.find(1, 0n)).toBeDefined();
  exits.clear();
  expect([statSync(path).size, exits.find(1, 0n)]).toEqual([0, undefined]);
  exits.append({ pid: 2, status: 0, bootNs: 1n });
  expect(exits.find(2, 0n)).toBeDefined();
});
