import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type ContainerRecord, openRecords } from '../../../helper/ops/records.ts';

let top: string;
let root: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'berth-records-'));
  root = join(top, 'containers');
});
afterEach(() => rmSync(top, { recursive: true }));

const ID = 'a'.repeat(64);
const record = (id: string, principal = 'ada'): ContainerRecord => ({
  id,
  principal,
  firstId: 5,
  blocks: 1,
  namespaces: 0,
  layers: [],
  state: 'exited',
  frozen: false,
  execs: {},
});

test('a record is there for the next helper, under its principal only', async () => {
  (await openRecords(root)).save(record(ID));
  const next = await openRecords(root);
  expect(next.find('ada', ID)).toEqual(record(ID));
  expect(next.find('bob', ID)).toBeUndefined();
  expect([next.has(ID), next.has('b'.repeat(64))]).toEqual([true, false]);
});

test('a container that was removed is gone with its files, at once or at the next start', async () => {
  const records = await openRecords(root);
  records.save(record(ID));
  mkdirSync(join(root, ID, 'upper/deep'), { recursive: true });
  await records.remove(ID);
  expect([records.has(ID), readdirSync(root)]).toEqual([false, []]);
  mkdirSync(join(`${root}.gone`, 'x/upper'), { recursive: true }); // as a helper leaves it that is killed meanwhile
  await openRecords(root);
  expect(readdirSync(`${root}.gone`)).toEqual([]);
});

test('a change that was cut off leaves what was before it, and the next one counts', async () => {
  (await openRecords(root)).save(record(ID));
  appendFileSync(join(root, ID, 'record.json'), `\n{"id":"${ID}","principal":"ada","st`);
  const next = await openRecords(root);
  expect(next.find('ada', ID)).toEqual(record(ID));
  next.save({ ...record(ID), frozen: true });
  expect((await openRecords(root)).find('ada', ID)?.frozen).toBe(true);
});

test('a record that changes again and again stays small', async () => {
  const records = await openRecords(root);
  for (let change = 0; change < 1000; change++) records.save({ ...record(ID), firstId: change });
  const size = (): number => statSync(join(root, ID, 'record.json')).size;
  expect(size()).toBeGreaterThan(1 << 16);
  await vi.waitFor(() => expect(size()).toBeLessThan(1 << 10), { timeout: 5000 });
  expect((await openRecords(root)).find('ada', ID)?.firstId).toBe(999);
});

test('an id that is removed twice while its files are still going leaves nothing', async () => {
  const records = await openRecords(root);
  records.save(record(ID));
  const first = records.remove(ID);
  records.save(record(ID));
  expect(records.has(ID)).toBe(true);
  await Promise.all([first, records.remove(ID)]);
  expect([readdirSync(root), readdirSync(`${root}.gone`)]).toEqual([[], []]);
});

test.each([
  ['cut off', '{"id":"a'],
  ['empty', ''],
  ['of another container', JSON.stringify(record('b'.repeat(64)))],
])('a record that is %s does not cost the files', async (_, text) => {
  mkdirSync(join(root, ID, 'upper'), { recursive: true });
  writeFileSync(join(root, ID, 'upper/work'), 'hours of it');
  writeFileSync(join(root, ID, 'record.json'), text);
  expect((await openRecords(root)).has(ID)).toBe(false);
  const [lost = ''] = readdirSync(`${root}.lost`);
  expect(existsSync(join(`${root}.lost`, lost, 'upper/work'))).toBe(true);
  expect(readdirSync(root)).toEqual([]);
});
