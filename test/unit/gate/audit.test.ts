import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openAudit } from '../../../helper/gate/audit.ts';
import { recordHash } from '../../../proto/sign/chain.ts';
import { verifyChain } from '../../../proto/sign/verify-chain.ts';
import { ALICE, ID, newKey, openDesk, principal, readLog, ruleOf, sealed, segments } from './desk.ts';

let log: string;
beforeEach(() => {
  log = mkdtempSync(join(tmpdir(), 'berth-audit-'));
});
afterEach(() => rmSync(log, { recursive: true }));
const write = (count: number, segmentBytesMax = 4 << 20): Buffer[] => {
  const audit = openAudit({ directory: log, segmentBytesMax });
  return Array.from({ length: count }, (_, i) => audit.append({ kind: 'test', i }));
};

describe('openAudit()', () => {
  test('chains its records, and gives the hash of each line', () => {
    const hashes = write(5).map((hash) => hash.toString('hex'));
    const lines = segments(log).flatMap(({ bytes }) => bytes.toString().trimEnd().split('\n'));
    expect(lines.map(recordHash)).toEqual(hashes);
    expect(verifyChain(segments(log))).toEqual({ records: 5, last: hashes.at(-1), tornBytes: 0, broken: undefined });
  });

  test('goes on in a new segment when one is full and at each start, in one chain', () => {
    write(20, 500);
    write(20, 500);
    const all = segments(log);
    expect(all.length).toBe(10);
    expect(Math.max(...all.map(({ bytes }) => bytes.length))).toBeLessThanOrEqual(500);
    expect(verifyChain(all).records).toBe(40);
  });

  test('a record that was cut short is told of by the next start', () => {
    write(3);
    appendFileSync(join(log, '00000001.jsonl'), '{"number":4,"prev');
    expect(verifyChain(segments(log))).toMatchObject({ records: 3, tornBytes: 17, broken: undefined });
    write(1);
    expect(readLog(log).at(-1)).toMatchObject({ number: 4, torn: 17 });
    appendFileSync(join(log, '00000001.jsonl'), 'x');
    expect(verifyChain(segments(log)).broken).toBe('00000002.jsonl:1: tells of 17 bytes cut short, there are 18');
  });

  test('a segment that holds nothing but half a record does not end the chain', () => {
    write(2);
    writeFileSync(join(log, '00000002.jsonl'), '{"num');
    write(1);
    expect(segments(log).map(({ name }) => name)).toEqual(['00000001.jsonl', '00000002.jsonl', '00000003.jsonl']);
    expect(readLog(log).at(-1)).toMatchObject({ number: 3, torn: 5 });
  });

  test('goes on after a last record that somebody spoiled, and the chain tells of it', () => {
    write(2);
    appendFileSync(join(log, '00000001.jsonl'), '{"reasons":["\\"number\\":7,"]}\n');
    write(1);
    expect(segments(log).at(-1)?.bytes.toString()).toContain('"number":1,');
    expect(verifyChain(segments(log)).broken).toBe('00000001.jsonl:3: is number undefined, should be 3');
  });

  test('a write that fails half way leaves nothing behind', () => {
    let room = 300;
    const audit = openAudit({
      directory: log,
      write: (fd, bytes) => {
        if (room === 0) throw new Error('ENOSPC');
        const part = bytes.subarray(0, Math.min(room, bytes.length));
        room -= part.length;
        appendFileSync(fd, part);
        return part.length;
      },
    });
    const tried = Array.from({ length: 5 }, (_, i) => {
      try {
        audit.append({ kind: 'test', i });
        return 'written';
      } catch {
        return 'refused';
      }
    });
    expect(tried).toEqual(['written', 'written', 'refused', 'refused', 'refused']);
    expect(verifyChain(segments(log))).toMatchObject({ records: 2, tornBytes: 0, broken: undefined });
    room = 10_000;
    audit.append({ kind: 'test', i: 9 });
    expect(readLog(log).map((record) => record['i'])).toEqual([0, 1, 9]);
  });
});

describe('verifyChain()', () => {
  test('finds every flipped bit of every record but the last', () => {
    write(4);
    const [first] = segments(log);
    if (first === undefined) throw new Error('no segment');
    const body = first.bytes.lastIndexOf(10, first.bytes.length - 2) + 1;
    let found = 0;
    for (let bit = 0; bit < body * 8; bit++) {
      const bytes = Buffer.from(first.bytes);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      if (verifyChain([{ name: 'x', bytes }]).broken !== undefined) found += 1;
    }
    expect(found).toBe(body * 8);
  });

  test.each<[string, (lines: string[]) => string[]]>([
    ['a record left out', (lines) => lines.toSpliced(2, 1)],
    ['the first record left out', (lines) => lines.slice(1)],
    ['two records exchanged', (lines) => lines.with(1, lines[2] ?? '').with(2, lines[1] ?? '')],
    ['a record put in', (lines) => lines.toSpliced(2, 0, lines[1] ?? '')],
    ['an empty line', (lines) => lines.toSpliced(2, 0, '')],
    [
      'a changed last record followed by a new one',
      (lines) => lines.with(-1, (lines.at(-1) ?? '').replace('test', 'best')).concat(lines[0] ?? ''),
    ],
  ])('finds %s', (_name, change) => {
    write(5);
    const lines = readFileSync(join(log, '00000001.jsonl'), 'utf8').trimEnd().split('\n');
    const bytes = Buffer.from(`${change(lines).join('\n')}\n`);
    expect(verifyChain([{ name: 'x', bytes }]).broken).toMatch(/^x:\d+: /);
  });

  test('finds a segment that is missing between two', () => {
    write(20, 500);
    expect(verifyChain(segments(log).toSpliced(3, 1)).broken).toBeDefined();
  });

  test('a log that lost its end is found by whoever kept a later hash', () => {
    const hashes = write(5);
    truncateSync(join(log, '00000001.jsonl'), readFileSync(join(log, '00000001.jsonl')).lastIndexOf('{'));
    const chain = verifyChain(segments(log));
    expect(chain.broken).toBeUndefined();
    expect(chain.last).not.toBe(hashes.at(-1)?.toString('hex'));
  });
});

test('a helper killed while it writes leaves a chain that holds to its last whole record', async () => {
  const audit = join(import.meta.dirname, '../../../helper/gate/audit.ts');
  const program = `import(${JSON.stringify(audit)}).then(({ openAudit }) => {
    const audit = openAudit({ directory: ${JSON.stringify(log)}, segmentBytesMax: 20000 });
    audit.append({ kind: 'test' });
    process.send?.('ready');
    for (let i = 0; ; i++) audit.append({ kind: 'test', i, fill: 'x'.repeat(i % 700) });
  });`;
  let records = 0;
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await new Promise((resolve) => child.once('message', resolve));
    await new Promise((resolve) => setTimeout(resolve, 5 + 11 * round));
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    const chain = verifyChain(segments(log));
    expect(chain.broken).toBeUndefined();
    expect(chain.records).toBeGreaterThan(records);
    records = chain.records;
  }
});

describe('what the gate records', () => {
  const key = newKey();
  const open = (full = (): boolean => false) => {
    const desk = openDesk({ full });
    desk.write({}, { alice: principal(1000, key) });
    return desk;
  };

  test('one record before and one after, the answer names the first', () => {
    const desk = open();
    const verdict = desk.gate.judge(sealed(key), ALICE);
    if (verdict.kind !== 'granted') throw new Error('refused');
    verdict.finish({ kind: 'failed', detail: 'mount /proc: EPERM' });
    const [start, decision, outcome] = desk.records();
    expect(start).toMatchObject({
      kind: 'start',
      number: 1,
      time: '2026-01-01T00:00:00.000Z',
      instance: '07'.repeat(16),
    });
    expect(decision).toMatchObject({
      kind: 'decision',
      uid: 1000,
      pid: 10,
      principal: 'alice',
      profile: 'default',
      verb: 'remove',
    });
    expect(decision?.['payload']).toMatch(/^[0-9a-f]{64}$/);
    expect(decision?.['key']).toMatch(/^[0-9a-f]{16}$/);
    const hash = verdict.auditHash.toString('hex');
    expect(outcome).toMatchObject({
      kind: 'outcome',
      previous: hash,
      decision: hash,
      outcome: 'failed',
      detail: 'mount /proc: EPERM',
    });
    desk.close();
  });

  test('a dry run and verbs that change nothing leave no record', () => {
    const desk = open();
    const verdicts = [
      sealed(key, { dryRun: true }),
      sealed(key, { verb: { $case: 'watch', value: {} } }),
      sealed(key, { verb: { $case: 'forget', value: { container: ID, exec: ID } } }),
      sealed(key, { dryRun: true, profile: 'host' }),
    ].map((bytes) => desk.gate.judge(bytes, ALICE));
    expect(verdicts.map(ruleOf)).toEqual(['granted', 'granted', 'granted', 'denied:profile']);
    for (const verdict of verdicts) if (verdict.kind === 'granted') expect(verdict.auditHash.length).toBe(0);
    for (const verdict of verdicts) if (verdict.kind === 'granted') verdict.finish({ kind: 'done', detail: '' });
    expect(desk.records().map((record) => record['kind'])).toEqual(['start']);
    desk.close();
  });

  test('refusals are recorded up to a rate, then counted in the next record', () => {
    const desk = open();
    for (let i = 0; i < 100; i++) desk.gate.judge(sealed(newKey()), ALICE);
    expect(desk.records().filter((record) => record['kind'] === 'denied').length).toBe(20);
    desk.gate.judge(sealed(key), ALICE);
    expect(desk.records().at(-1)).toMatchObject({ kind: 'decision', since: { denied: 80, unrecorded: 0 } });
    const denied = desk.records()[1];
    expect(denied).toMatchObject({
      kind: 'denied',
      uid: 1000,
      reasons: ["key: asked for a key that is not this uid's, allowed is an enrolled one (rule key)"],
    });
    desk.close();
  });

  test('on a full disk nothing is begun, but what stops, kills, removes and frees still works', () => {
    let full = false;
    const desk = open(() => full);
    full = true;
    const id = { container: ID };
    const verbs: NonNullable<Parameters<typeof sealed>[1]>['verb'][] = [
      { $case: 'mergeImage', value: { layers: [`sha256:${ID}`] } },
      { $case: 'signal', value: { ...id, exec: '', signal: 15, all: false } },
      { $case: 'pause', value: { ...id, frozen: false } },
      { $case: 'remove', value: id },
      { $case: 'dropLayer', value: { diffId: `sha256:${ID}` } },
      { $case: 'dropImage', value: { layers: [`sha256:${ID}`] } },
      { $case: 'watch', value: {} },
    ];
    const rules = verbs.map((verb) => ruleOf(desk.gate.judge(sealed(key, { verb }), ALICE)));
    expect(rules).toEqual(['denied:audit', ...Array(6).fill('granted')]);
    full = false;
    expect(ruleOf(desk.gate.judge(sealed(key, { verb: verbs[0] }), ALICE))).toBe('granted');
    expect(desk.records().at(-1)).toMatchObject({ kind: 'decision', verb: 'mergeImage', since: { unrecorded: 6 } });
    desk.close();
  });
});
