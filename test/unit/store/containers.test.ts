import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ContainerId } from '../../../core/base/brand.ts';
import { findContainer, removeContainer, saveContainer } from '../../../core/store/containers.ts';
import { openStore } from '../../../core/store/open.ts';
import { readSetting, writeSetting } from '../../../core/store/settings.ts';

const id = (start: string): ContainerId => start.padEnd(64, '0') as ContainerId;
let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-store-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

describe('containers', () => {
  test('are there after closing and opening again', () => {
    {
      using store = openStore(dir);
      saveContainer(store, { id: id('aa'), name: 'web', document: { state: 'created' } });
      saveContainer(store, { id: id('ab'), name: 'db', document: { state: 'created' } });
      saveContainer(store, { id: id('aa'), name: 'www', document: { state: 'running' } });
      removeContainer(store, id('ab'));
      writeSetting(store, 'id', 'x');
      writeSetting(store, 'id', 'y');
    }
    using store = openStore(dir);
    expect([...store.containers.values()]).toEqual([{ id: id('aa'), name: 'www', document: { state: 'running' } }]);
    expect([...store.names]).toEqual([['www', id('aa')]]);
    expect([readSetting(store, 'id'), readSetting(store, 'nothing')]).toEqual(['y', undefined]);
  });

  test('a name belongs to one container, until it is renamed or removed', () => {
    using store = openStore(dir);
    saveContainer(store, { id: id('aa'), name: 'web', document: 1 });
    const second = { id: id('bb'), name: 'web', document: 2 };
    expect(() => saveContainer(store, second)).toThrow(
      expect.objectContaining({
        code: 'name_in_use',
        message: `Conflict. The container name "/web" is already in use by container "${id('aa')}". You have to remove (or rename) that container to be able to reuse that name.`,
      }),
    );
    expect([...store.containers.keys()]).toEqual([id('aa')]);
    saveContainer(store, { id: id('aa'), name: 'old', document: 1 });
    saveContainer(store, second);
    removeContainer(store, id('bb'));
    saveContainer(store, { id: id('cc'), name: 'web', document: 3 });
    expect(findContainer(store, 'web').document).toBe(3);
  });

  test('findContainer() takes full ids, names with and without slash, and beginnings of ids, in this order', () => {
    using store = openStore(dir);
    saveContainer(store, { id: id('abc1'), name: 'one', document: 0 });
    saveContainer(store, { id: id('abc2'), name: 'two', document: 0 });
    saveContainer(store, { id: id('fff'), name: 'abc1', document: 0 });
    const found = (ref: string): string => findContainer(store, ref).name;
    expect([found(id('abc1')), found('/two'), found('two'), found('abc2'), found('f')]).toEqual([
      'one',
      'two',
      'two',
      'two',
      'abc1',
    ]);
    expect(found('abc1')).toBe('abc1'); // a name goes before the beginning of an id
    expect(() => found('abc')).toThrow(
      expect.objectContaining({ code: 'bad_parameter', message: 'Multiple IDs found with provided prefix: abc' }),
    );
    for (const nothing of ['x', '', 'ABC1', 'abc3', id('ee'), '//two']) {
      expect(() => found(nothing)).toThrow(
        expect.objectContaining({ code: 'container_not_found', message: `No such container: ${nothing}` }),
      );
    }
  });

  test('a full disk changes nothing in memory or on disk', () => {
    {
      using store = openStore(dir);
      saveContainer(store, { id: id('aa'), name: 'web', document: 'small' });
      store.db.exec('PRAGMA max_page_count = 16');
      const large = { id: id('aa'), name: 'other', document: 'x'.repeat(1 << 20) };
      expect(() => saveContainer(store, large)).toThrow(expect.objectContaining({ code: 'no_space' }));
      expect(findContainer(store, 'web').document).toBe('small');
      expect(() => findContainer(store, 'other')).toThrow('No such container');
    }
    using store = openStore(dir);
    expect([...store.containers.values()].map(({ name, document }) => [name, document])).toEqual([['web', 'small']]);
  });
});

describe('openStore()', () => {
  test('refuses a second holder, by name', () => {
    using _first = openStore(dir);
    expect(() => openStore(dir)).toThrow(
      expect.objectContaining({ code: 'conflict', message: expect.stringContaining('in use by another engine') }),
    );
  });

  test('refuses a database of a newer version', () => {
    openStore(dir)[Symbol.dispose]();
    const db = new DatabaseSync(join(dir, 'engine.db'));
    db.exec('PRAGMA user_version = 99');
    db.close();
    expect(() => openStore(dir)).toThrow(
      expect.objectContaining({ code: 'store_damaged', message: expect.stringContaining('schema 99') }),
    );
  });

  test('refuses what is no database', () => {
    writeFileSync(join(dir, 'engine.db'), 'x'.repeat(8192));
    expect(() => openStore(dir)).toThrow(
      expect.objectContaining({ code: 'store_damaged', hint: expect.stringContaining('move it away') }),
    );
  });
});

test('what a killed process had acknowledged is there, and nothing half-made', async () => {
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'writer.ts'), join(dir, `${round}`)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.on('data', (bytes: Buffer) => {
      printed += bytes.toString();
      if (printed.split('\n').length > 40 + round * 97) child.kill('SIGKILL');
    });
    await new Promise((done) => child.once('close', done));
    const last = Number(printed.trimEnd().split('\n').at(-1));
    using store = openStore(join(dir, `${round}`));
    const steps = [...store.containers.values()].map((record) => (record.document as { step: number }).step);
    // Step i + 1 removes the record of step i where i % 3 is 2; whether the last, unacknowledged step did is open.
    const acknowledged = Array.from({ length: last }, (_, i) => i + 1).filter((i) => i % 3 !== 2 || i < last);
    expect(acknowledged.filter((i) => steps.includes(i))).toEqual(acknowledged.filter((i) => i % 3 !== 2));
    expect(steps.length).toBeGreaterThan(20);
    expect(store.names.size).toBe(store.containers.size);
  }
});
