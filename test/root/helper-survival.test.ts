// Helper and keeper are killed while containers run: the containers go on, and afterwards every byte and every exit code is there, and nothing else.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Launch } from '../../proto/gen/berth/helper/v1/plan.ts';
import {
  type Client,
  descriptorsOf,
  importTar,
  launchedOf,
  launchOf,
  newId,
  type PrivateHelper,
  processOf,
  readAll,
  readNow,
  startHelper,
} from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';
import { busybox, root, suite } from '../kit/need.ts';

const LINES = 20_000;

function pipesOf(pid: number): number {
  return descriptorsOf(pid).filter((link) => link.startsWith('pipe:')).length;
}

suite('helper survival', [root, busybox], () => {
  let helper: PrivateHelper;
  let client: Client;
  let layer: string;
  /** Pipes of helper and keeper when nothing was started yet. */
  let pipes: number[];

  beforeEach(async () => {
    helper = await startHelper();
    client = await helper.client();
    layer = await importTar(client, busyboxTar(), helper.directory);
    pipes = [helper.pids().helper, helper.pids().keeper].map(pipesOf);
  });
  afterEach(async () => {
    if (process.env['BERTH_SHOW_LOG']) console.log(helper.log());
    await helper[Symbol.asyncDispose]();
  });

  const shell = (script: string, change: Partial<Launch> = {}): Launch =>
    launchOf([layer], ['/bin/sh', '-c', script], change);
  /** Kills with SIGKILL, waits for another helper and connects to it. */
  const killAndReconnect = async (...which: ('helper' | 'keeper')[]) => {
    const pids = helper.pids();
    for (const one of which) process.kill(pids[one], 'SIGKILL');
    await helper.another(pids.helper);
    client = await helper.client();
    return helper.pids();
  };
  const attach = async (container: string, exec = ''): Promise<number[]> =>
    (await client.done({ $case: 'attach', value: { container, exec } }, { wantFds: true })).fds;

  /** A container that prints without pause; what it has printed is read from its pipe all the time, as an engine would. */
  const printing = async () => {
    const launch = shell(`i=0; while [ $i -lt ${LINES} ]; do echo $i; i=$((i+1)); done; exit 42`);
    const { fds } = await client.done({ $case: 'launch', value: launch }, { wantFds: true });
    return { id: launch.id, out: fds[0] ?? -1 };
  };
  const expectAll = (text: string) => expect(text).toBe(Array.from({ length: LINES }, (_, i) => `${i}\n`).join(''));
  const expectNothingLeft = async () => {
    const { helper: pid, keeper } = helper.pids();
    expect(readdirSync(join(helper.directory, 'lib/helper/containers'))).toEqual([]);
    const groups = readdirSync(`/sys/fs/cgroup/pids/berth-${helper.slot()}`, { withFileTypes: true });
    expect(groups.filter((entry) => entry.isDirectory())).toEqual([]);
    expect([pid, keeper].map(pipesOf)).toEqual(pipes);
  };

  test.each([
    ['the helper', ['helper']],
    ['the keeper', ['keeper']],
    ['the keeper, then the helper', ['keeper', 'helper']],
  ] as const)('%s is killed: every byte and the exit code are there', async (_, which) => {
    const { id, out } = await printing();
    for (const one of which) {
      await sleep(50);
      const before = helper.pids();
      const after = await killAndReconnect(one);
      if (one === 'keeper') expect(after.keeper).toBe(before.helper);
    }
    const [again = -1] = await attach(id);
    const texts = await Promise.all([readAll(out), client.exited(id)]);
    const rest = readNow(again);
    expectAll(texts[0] + rest);
    expect(texts[1]).toMatchObject({ status: 42 << 8 });
    await client.done({ $case: 'remove', value: { container: id } });
    await expectNothingLeft();
  });

  test('what ends while no helper runs is told by the next one, with its output', async () => {
    const launch = shell('sleep 0.5; echo late; exit 9');
    await client.done({ $case: 'launch', value: launch }, { wantFds: true });
    const exec = {
      container: launch.id,
      id: newId(),
      process: processOf(['/bin/sh', '-c', 'sleep 0.2; echo exec; exit 4']),
      hardening: { seccomp: 1, maskedPaths: [], readOnlyPaths: [], sysctls: [] },
      stdio: { tty: false, stdin: false, columns: 0, rows: 0 },
    } as const;
    await client.done({ $case: 'exec', value: exec }, { wantFds: true });
    const { helper: pid } = helper.pids();
    process.kill(pid, 'SIGSTOP');
    await sleep(1000);
    await killAndReconnect('helper');
    expect(await client.exited(launch.id)).toMatchObject({ status: 9 << 8 });
    expect(await client.exited(launch.id, exec.id)).toMatchObject({ status: 4 << 8 });
    expect(readNow((await attach(launch.id))[0] ?? -1)).toBe('late\n');
    expect(readNow((await attach(launch.id, exec.id))[0] ?? -1)).toBe('exec\n');
    await client.done({ $case: 'remove', value: { container: launch.id } });
    await expectNothingLeft();
  });

  test('a terminal and a frozen container are taken up again', async () => {
    const launch = shell('while read x; do echo got:$x; done', {
      stdio: { tty: true, stdin: true, columns: 80, rows: 24 },
    });
    await client.done({ $case: 'launch', value: launch }, { wantFds: true });
    const frozen = shell('while :; do sleep 0.1; done');
    await client.done({ $case: 'launch', value: frozen });
    await client.done({ $case: 'pause', value: { container: frozen.id, frozen: true } });
    await killAndReconnect('helper');
    const snapshots = client.events.flatMap(({ event }) => (event?.$case === 'snapshot' ? [event.value] : []));
    expect(snapshots.find(({ container }) => container === frozen.id)).toMatchObject({ frozen: true });
    expect(snapshots.find(({ container }) => container === launch.id)).toMatchObject({ tty: true, stdin: true });
    const fds = await attach(launch.id);
    expect(fds.length).toBe(4);
    for (const id of [launch.id, frozen.id]) {
      await client.done({ $case: 'signal', value: { container: id, exec: '', signal: 9, all: true } });
      expect(await client.exited(id)).toMatchObject({ status: 9 });
      await client.done({ $case: 'remove', value: { container: id } });
    }
    await expectNothingLeft();
  });

  test('the helper is killed at every moment of a start: the start is there or it can be asked again, and nothing is left', async () => {
    for (let round = 0; round < 12; round++) {
      const launch = shell('sleep 100');
      const asked = client.ask({ $case: 'launch', value: launch }, { wantFds: true }).catch(() => undefined);
      await sleep(round * 2);
      await killAndReconnect('helper');
      await asked;
      launchedOf(await client.done({ $case: 'launch', value: launch }, { wantFds: true }));
      await client.done({ $case: 'signal', value: { container: launch.id, exec: '', signal: 9, all: true } });
      await client.exited(launch.id);
      await client.done({ $case: 'remove', value: { container: launch.id } });
    }
    await expectNothingLeft();
  }, 60_000);

  test('keeper and helper are killed at once: the next start takes up what runs and learns how it ends', async () => {
    const launch = shell('sleep 1.5; exit 6');
    const { pid } = launchedOf(await client.done({ $case: 'launch', value: launch }));
    const { helper: one, keeper } = helper.pids();
    process.kill(keeper, 'SIGSTOP');
    process.kill(one, 'SIGKILL');
    process.kill(keeper, 'SIGKILL');
    await sleep(200);
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    client.close();
    helper = await startHelper({}, helper.directory);
    client = await helper.client();
    // 255 where the kernel does not remember the ends of others' children (before Linux 6.15).
    expect([6 << 8, 255 << 8]).toContain((await client.exited(launch.id)).status);
    await client.done({ $case: 'remove', value: { container: launch.id } });
  });

  test('a stop ends every container and leaves no process, group or socket', async () => {
    const launches = [shell('sleep 100'), shell('while :; do :; done')];
    const pids: number[] = [];
    for (const launch of launches) pids.push(launchedOf(await client.done({ $case: 'launch', value: launch })).pid);
    await client.done({ $case: 'pause', value: { container: launches[0]?.id ?? '', frozen: true } });
    const slot = helper.slot();
    await helper.down();
    for (const pid of pids) expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(existsSync(`/sys/fs/cgroup/pids/berth-${slot}`)).toBe(false);
    expect(readdirSync(join(helper.directory, 'run'))).toEqual(['0']);
  });
});
