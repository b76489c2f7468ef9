// `berth system`: up, status, env, down, several commands at once on an instance that does not run yet, and down when parts of it are gone.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { root, suite } from '../kit/need.ts';
import { runProgram } from './kit.ts';

const checkout = new URL('../..', import.meta.url).pathname;
const berthPath = join(checkout, 'dist/berth');

type Part = {
  readonly running: boolean;
  readonly pid: number;
  readonly version: string;
  readonly sockets: readonly string[];
};
type Status = {
  readonly engine: Part;
  readonly helper: Part;
  readonly keeper: Part;
  readonly stateDir: string;
  readonly slot: number;
};

suite('berth system', [root], () => {
  let dir = '';
  const env = (): NodeJS.ProcessEnv => ({ ...process.env, BERTH_STATE_DIR: dir, SUDO_UID: '' });
  const berth = (...words: string[]) => runProgram(berthPath, words, { env: env() });
  const status = (): Status => JSON.parse(berth('system', 'status', '--json').out);
  /** Processes of the instance, by their command lines. */
  const left = (): string => spawnSync('pgrep', ['-f', `state-dir ${dir}`], { encoding: 'utf8' }).stdout.trim();

  beforeAll(() => {
    expect(spawnSync(process.execPath, ['.ci/build.mjs'], { cwd: checkout }).status).toBe(0);
  }, 120_000);
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'berth-s-'));
    chmodSync(dir, 0o755);
  });
  afterEach(() => {
    berth('system', 'down');
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  test('up, status, env and down say what is so, twice the same', () => {
    expect(status()).toMatchObject({
      engine: { running: false, pid: null },
      helper: { running: false },
      keeper: { running: false },
      stateDir: dir,
    });
    expect(berth('system', 'status').code).toBe(1);
    const up = berth('system', 'up');
    expect(up).toMatchObject({ code: 0, err: '' });
    const { engine, helper, keeper, slot } = status();
    expect(up.out).toBe(
      `engine ${engine.pid}, helper ${helper.pid}, keeper ${keeper.pid}\nunix://${engine.sockets[0]}\n`,
    );
    expect([engine.running, helper.running, keeper.running]).toEqual([true, true, true]);
    expect(new Set([engine.version, helper.version, keeper.version]).size).toBe(1);
    expect(slot).toBeGreaterThan(0);
    expect(berth('system', 'env').out).toBe(`export DOCKER_HOST=unix://${engine.sockets[0]}\n`);
    expect(berth('system', 'up').out).toBe(up.out);
    expect(berth('system', 'status').code).toBe(0);
    expect(berth('version', '-f', '{{.Server.Version}}').out.trim()).toBe(engine.version);
    expect(berth('system', 'down')).toEqual({ code: 0, out: '', err: '' });
    expect(left()).toBe('');
    expect(berth('system', 'down')).toEqual({ code: 0, out: '', err: '' });
  }, 60_000);

  test('five commands at once on an instance that does not run start one of each', async () => {
    const codes = await Promise.all(
      [1, 2, 3, 4, 5].map(
        () =>
          new Promise((resolve) =>
            spawn(berthPath, ['ps', '-q'], { env: env(), stdio: 'ignore' }).once('exit', resolve),
          ),
      ),
    );
    expect(codes).toEqual([0, 0, 0, 0, 0]);
    // The keeper's command line is the launcher's.
    expect(left().split('\n')).toHaveLength(2);
  }, 60_000);

  test.each<[string, readonly (keyof Status & ('engine' | 'helper' | 'keeper'))[]]>([
    ['the engine', ['engine']],
    ['the helper', ['helper']],
    ['the keeper', ['keeper']],
    ['helper and keeper', ['helper', 'keeper']],
    ['all three', ['engine', 'helper', 'keeper']],
  ])(
    'after a kill of %s the next command works, and down leaves nothing',
    async (_name, parts) => {
      berth('system', 'up');
      const before = status();
      for (const part of parts) process.kill(before[part].pid, 'SIGKILL');
      expect(berth('ps', '-q')).toEqual({ code: 0, out: '', err: '' });
      const after = await living(status, () => berth('ps', '-q'));
      for (const part of parts) process.kill(after[part].pid, 'SIGKILL');
      expect(berth('system', 'down')).toEqual({ code: 0, out: '', err: '' });
      await sleep(300);
      expect(left()).toBe('');
    },
    60_000,
  );

  test('a directory that the engine cannot enter is told in one line', () => {
    chmodSync(dir, 0o700);
    expect(berth('ps')).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/^state directory .*, cannot enter .*: chmod o\+x .*\n$/),
    });
    expect(left()).toBe('');
  });

  test('a helper that cannot start is told soon, and nothing goes on trying', async () => {
    mkdirSync(join(dir, 'lib/helper'), { recursive: true });
    writeFileSync(join(dir, 'lib/helper/blocks'), 'spoiled');
    const from = Date.now();
    expect(berth('system', 'up')).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/^the helper could not be started: it ends again and again: berth helper: .*\n$/),
    });
    expect(Date.now() - from).toBeLessThan(15_000);
    await sleep(1000);
    expect(left()).toBe('');
  }, 60_000);

  test('a directory too deep for sockets is told in one line', () => {
    const deep = join(dir, 'd'.repeat(90));
    expect(berth('--state-dir', deep, 'ps')).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/^state directory .* is too deep: .*\n$/),
    });
  });
});

/** The status once all parts run. A command that came before the last thread of a killed process was gone leaves the start to the next one. */
async function living(status: () => Status, command: () => void): Promise<Status> {
  for (let tries = 0; tries < 200; tries += 1) {
    const now = status();
    if (now.engine.running && now.helper.running && now.keeper.running) return now;
    if (tries % 20 === 19) command();
    await sleep(50);
  }
  throw new Error(`not all parts run: ${JSON.stringify(status())}`);
}
