// One user asks for as much as he can, of everything: connections, streams, headers, descriptors on the lane, containers and execs that he never forgets.
// The helper refuses what is over, and the other user is served meanwhile.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FLOODS } from '../kit/flood.ts';
import { canonicalJson } from '../../proto/policy/canonical.ts';
import { DEFAULT_PROFILE, type Profile } from '../../proto/policy/profile.ts';
import { DEFAULT_POLICY } from '../../proto/policy/schema.ts';
import { ADA, execOf, type Lab, openLab } from '../kit/attack.ts';
import { launchOf } from '../kit/helper.ts';
import { root, suite, tool } from '../kit/need.ts';

/** A start and an end take a tenth of a second on an idle machine. */
const WAIT_MS = 4000;

suite('floods', [root, tool('gcc')], () => {
  let lab: Lab;
  let layer: string;
  beforeAll(async () => {
    lab = await openLab();
    layer = await lab.layer();
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
  });

  const allow = (change: Partial<Profile>): void =>
    writeFileSync(
      join(lab.helper.directory, 'etc/policy.json'),
      canonicalJson({ ...DEFAULT_POLICY, profiles: { default: { ...DEFAULT_PROFILE, ...change } } }),
      { mode: 0o644 },
    );
  const fields = async (asked: ReturnType<Lab['ada']['ask']>): Promise<string[]> =>
    (await asked).result.reasons.map(({ rule, allowed }) => `${rule}: ${allowed}`);

  test('execs that ended and are not forgotten count: their output is still kept', async () => {
    allow({ execsMax: 3 });
    const { id } = await lab.stay();
    const run = async (): Promise<string> => {
      const value = execOf(id, ['/inside', 'uid']);
      await lab.ada.done({ $case: 'exec', value });
      await lab.ada.exited(id, value.id);
      return value.id;
    };
    const [first = ''] = [await run(), await run(), await run()];
    const more = (): ReturnType<Lab['ada']['ask']> =>
      lab.ada.ask({ $case: 'exec', value: execOf(id, ['/inside', 'uid']) }, { dryRun: true });
    expect(await fields(more())).toEqual(['execsMax: at most 3']);
    await lab.ada.done({ $case: 'forget', value: { container: id, exec: first } });
    expect(await fields(more())).toEqual([]);
    await lab.end(id);
  });

  test('containers, running or not, and layers count', async () => {
    const [one, two] = [await lab.stay(), await lab.stay()];
    allow({ containersMax: 2, layersBytesMax: 10 });
    const third = (): ReturnType<Lab['ada']['ask']> =>
      lab.ada.ask({ $case: 'launch', value: launchOf([layer], ['/inside']) }, { dryRun: true });
    expect(await fields(third())).toEqual(['containersMax: at most 2']);
    await lab.ada.done({ $case: 'signal', value: { container: one.id, exec: '', signal: 9, all: true } });
    await lab.ada.exited(one.id);
    expect(await fields(third())).toEqual(['containersMax: at most 2']);
    const importing = { $case: 'importLayer', value: { diffId: layer, sizeBytesMax: 1n } } as const;
    const fd = openSync(process.execPath, 'r');
    expect((await fields(lab.ada.ask(importing, { fds: [fd], dryRun: true }))).join()).toMatch(/^layersBytesMax/);
    closeSync(fd);
    await lab.ada.done({ $case: 'remove', value: { container: one.id } });
    expect(await fields(third())).toEqual([]);
    allow({});
    await lab.end(two.id);
  });

  const path = (name: string): string => join(lab.helper.directory, 'run', name);
  /** How long BOB waits for a container that starts and ends, milliseconds. */
  const served = async (): Promise<number> => {
    const begun = performance.now();
    expect(await lab.inside(['uid'], { client: lab.bob })).toEqual(['uid=0:0']);
    return performance.now() - begun;
  };
  const count = (): number => readdirSync(`/proc/${lab.helper.pids().helper}/fd`).length;

  /** MiB. */
  const rss = (): number =>
    Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${lab.helper.pids().helper}/status`, 'utf8'))?.[1]) / 1024;
  test.each(Object.keys(FLOODS))(
    '%s: the other user is served',
    async (name) => {
      const script = new URL('../kit/flood.ts', import.meta.url).pathname;
      const before = { rss: rss(), fds: count(), ms: await served() };
      const child = spawn(process.execPath, [script, path('helper.sock'), name], {
        uid: ADA,
        gid: ADA,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await sleep(500);
      const waits = [await served(), await served(), await served()];
      const grownMb = rss() - before.rss;
      child.kill('SIGKILL');
      expect(Math.max(...waits), `it was ${before.ms} ms`).toBeLessThan(WAIT_MS);
      expect(grownMb).toBeLessThan(100);
      await expect.poll(count, { timeout: 20_000 }).toBeLessThan(before.fds + 20);
    },
    60_000,
  );
});
