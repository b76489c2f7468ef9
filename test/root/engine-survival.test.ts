// Engine and helper killed at any time: containers run on, no byte of output and no exit code is lost, a restart puts everything right.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PrivateEngine, somebody, startEngine } from '../kit/engine.ts';
import { busybox, suite } from '../kit/need.ts';

const KILLS = process.env['BERTH_LONG'] ? 25 : 6;
const LINES = process.env['BERTH_LONG'] ? 600_000 : 150_000;
/** Keeps all of it. */
const roomy = { LogConfig: { Type: 'json-file', Config: { 'max-size': '100m' } } };

/** Prints 1 to N, one write(2) each, without pause. */
const count = (n: number): string[] => ['sh', '-c', `i=0; while [ $i -lt ${n} ]; do i=$((i+1)); echo $i; done`];

function expectCount(text: string, n: number): void {
  const lines = text.split('\n');
  expect(lines.pop()).toBe('');
  expect(lines.length).toBe(n);
  expect(lines.findIndex((line, i) => line !== String(i + 1))).toBe(-1);
}

suite('survival of the engine', [somebody, busybox], () => {
  let engine: PrivateEngine;
  beforeAll(async () => {
    engine = await startEngine();
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
  });

  test(`killed ${KILLS} times while a container prints ${LINES} lines: every line is there once, in order`, async () => {
    const id = await engine.run(count(LINES), { HostConfig: roomy });
    const { Pid } = (await engine.client.inspectContainer(id)).State;
    for (let i = 0; i < KILLS; i++) {
      await sleep(20 + Math.random() * 150);
      await engine.kill();
      await engine.start();
      const { State } = await engine.client.inspectContainer(id);
      if (State.Running) expect(State.Pid).toBe(Pid);
    }
    expect(await engine.ended(id)).toBe(0);
    expectCount((await engine.logs(id)).out, LINES);
  }, 180_000);

  test('a terminal, killed while it prints: every line is there once', async () => {
    const lines = 30_000;
    const id = await engine.run(count(lines), { Tty: true, HostConfig: roomy });
    for (let i = 0; i < 4; i++) {
      await sleep(20 + Math.random() * 100);
      await engine.kill();
      await engine.start();
    }
    expect(await engine.ended(id)).toBe(0);
    const pieces: Buffer[] = [];
    for await (const piece of (await engine.client.logs(id, { stdout: 1 })).body) pieces.push(piece);
    expectCount(Buffer.concat(pieces).toString().replaceAll('\r\n', '\n'), lines);
  }, 120_000);

  test('an exit while no engine runs keeps its code, its time and the last bytes', async () => {
    const id = await engine.run(['sh', '-c', 'sleep 0.3; echo last; exit 42']);
    await engine.kill();
    await sleep(1800);
    const before = Date.now();
    await engine.start();
    const { State } = await engine.client.inspectContainer(id);
    expect(State).toMatchObject({ Status: 'exited', ExitCode: 42, Running: false });
    expect(before - Date.parse(State.FinishedAt)).toBeGreaterThan(300);
    expect((await engine.logs(id)).out).toBe('last\n');
  });

  test('--rm is carried out for what ended while no engine ran', async () => {
    const id = await engine.run(['sleep', '0.3'], { HostConfig: { AutoRemove: true } });
    await engine.kill();
    await sleep(600);
    await engine.start();
    await expect
      .poll(async () => (await engine.client.listContainers({ all: 1 })).map((one) => one.Id))
      .not.toContain(id);
    expect(readdirSync(`${engine.state}/logs`)).not.toContain(id);
  });

  test('the helper killed while a container prints: the engine goes on by itself, nothing is lost', async () => {
    const lines = 60_000;
    const id = await engine.run(count(lines), { HostConfig: roomy });
    const { helper } = engine.helper.pids();
    await sleep(50);
    process.kill(helper, 'SIGKILL');
    await engine.helper.another(helper);
    const other = await engine.run(['echo', 'after']);
    expect(await engine.ended(other)).toBe(0);
    expect(await engine.ended(id)).toBe(0);
    expectCount((await engine.logs(id)).out, lines);
  }, 60_000);

  test('both killed at once', async () => {
    const lines = 60_000;
    const id = await engine.run(count(lines), { HostConfig: roomy });
    const { helper } = engine.helper.pids();
    await sleep(50);
    process.kill(helper, 'SIGKILL');
    await engine.kill();
    await engine.helper.another(helper);
    await engine.start();
    expect(await engine.ended(id)).toBe(0);
    expectCount((await engine.logs(id)).out, lines);
  }, 60_000);

  test('a request that is under way when the helper is killed is done by the next one', async () => {
    const { helper } = engine.helper.pids();
    const asked = Array.from({ length: 8 }, (_, i) => engine.run(['sh', '-c', `echo ${i}`]));
    await sleep(15);
    process.kill(helper, 'SIGKILL');
    const ids = await Promise.all(asked);
    for (const [i, id] of ids.entries()) {
      expect(await engine.ended(id)).toBe(0);
      expect((await engine.logs(id)).out).toBe(`${i}\n`);
    }
    await engine.helper.another(helper);
  }, 60_000);

  test('SIGTERM ends the engine, not its containers', async () => {
    const id = await engine.run(['sleep', '60']);
    const { Pid } = (await engine.client.inspectContainer(id)).State;
    process.kill(engine.pid(), 'SIGTERM');
    await expect
      .poll(() =>
        engine.client.ping().then(
          () => 'up',
          () => 'down',
        ),
      )
      .toBe('down');
    expect(readFileSync(`/proc/${Pid}/comm`, 'utf8').trim()).toBe('sleep');
    await engine.start();
    expect((await engine.client.inspectContainer(id)).State.Pid).toBe(Pid);
    await engine.client.removeContainer(id, { force: 1 });
  });
});
