// A disk that is full: the container waits, nothing it printed is lost, and the engine says so; after there is room it goes on.
import { execFileSync } from 'node:child_process';
import { statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RESERVED_UID } from '../../core/cli/place.ts';
import { type PrivateEngine, startEngine } from '../kit/engine.ts';
import { busybox, root, suite } from '../kit/need.ts';

suite('a full disk', [root, busybox], () => {
  let engine: PrivateEngine;
  let logs: string;
  beforeAll(async () => {
    engine = await startEngine();
    logs = join(engine.state, 'logs');
    execFileSync('mount', [
      '-t',
      'tmpfs',
      '-o',
      `size=1m,mode=700,uid=${RESERVED_UID},gid=${RESERVED_UID}`,
      'berth-test',
      logs,
    ]);
  });
  afterAll(async () => {
    execFileSync('umount', ['-l', logs]);
    await engine[Symbol.asyncDispose]();
  });

  test('output waits for room', async () => {
    const lines = 600_000;
    const id = await engine.run(['seq', '1', String(lines)], {
      HostConfig: { LogConfig: { Type: 'json-file', Config: { 'max-size': '100m' } } },
    });
    await expect
      .poll(async () => (await engine.client.inspectContainer(id)).State.Error, { timeout: 10_000 })
      .toMatch(/no space left on device; the container waits, nothing is lost/);
    expect(statfsSync(logs).bavail).toBe(0);
    expect((await engine.client.inspectContainer(id)).State.Running).toBe(true);
    expect((await engine.logs(id, { tail: 1 })).out.length).toBeGreaterThan(1);
    // The engine killed just then must not lose it either.
    await engine.kill();
    await engine.start();
    execFileSync('mount', ['-o', 'remount,size=64m', logs]);
    expect(await engine.ended(id)).toBe(0);
    await expect.poll(async () => (await engine.logs(id)).out.length, { timeout: 10_000 }).toBe(4_088_895);
    const { out } = await engine.logs(id);
    expect(out.endsWith('599999\n600000\n')).toBe(true);
    expect(out.split('\n').findIndex((line, i) => i < lines && line !== String(i + 1))).toBe(-1);
    await engine.client.removeContainer(id, {});
  }, 60_000);

  test('two containers: one is stuck, the other too, both go on', async () => {
    execFileSync('mount', ['-o', 'remount,size=1m', logs]);
    writeFileSync(join(logs, 'ballast'), Buffer.alloc(900 << 10));
    const ids = await Promise.all([1, 2].map(() => engine.run(['sh', '-c', 'seq 1 60000; echo end'])));
    await expect
      .poll(
        async () =>
          (await Promise.all(ids.map((id) => engine.client.inspectContainer(id)))).filter(
            (one) => one.State.Error !== '',
          ).length,
        { timeout: 10_000 },
      )
      .toBeGreaterThan(0);
    execFileSync('rm', [join(logs, 'ballast')]);
    for (const id of ids) {
      expect(await engine.ended(id)).toBe(0);
      await expect.poll(async () => (await engine.logs(id)).out.endsWith('\nend\n'), { timeout: 10_000 }).toBe(true);
      expect((await engine.logs(id)).out.length).toBe(348_898);
    }
  }, 60_000);
});
