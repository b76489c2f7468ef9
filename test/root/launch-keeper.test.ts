// The keeper by itself: a stand-in for the helper is killed, and the keeper, and both; no exit and no byte may be lost, and no process left.
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { exitOfOther, pidfdOpen } from '../../helper/sys/processes.ts';
import { SI_CODE_AT, SI_PID_AT, SI_STATUS_AT } from '../../proto/abi/wait.gen.ts';
import { root, suite } from '../kit/need.ts';

const STAND_IN = new URL('../kit/keeper-helper.ts', import.meta.url).pathname;
const ENTRY_BYTES = 144;
let directory: string;
let file: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'berth-keeper-'));
  file = join(directory, 'k');
  for (const name of ['in', 'out', 'held']) writeFileSync(`${file}.${name}`, '');
});
afterEach(async () => {
  for (const pid of pids()) kill(pid);
  await sleep(50);
  rmSync(directory, { recursive: true, force: true });
});

const out = () => readFileSync(`${file}.out`, 'utf8').split('\n');
const all = (word: string) =>
  out()
    .filter((line) => line.startsWith(`${word} `))
    .map((line) => line.split(' ').slice(1));
const ups = () =>
  all('up').map(([helper, keeper, held]) => ({ helper: Number(helper), keeper: Number(keeper), held: Number(held) }));

/** Keepers and helpers of this test that still live, keepers first. */
function pids(): number[] {
  const mine = new Set(ups().flatMap(({ keeper, helper }) => [keeper, helper]));
  return [...mine].filter((pid) => alive(pid));
}
function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it is gone
  }
}
async function until<T>(what: string, look: () => T | undefined | false): Promise<T> {
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(5)) {
    const seen = look();
    if (seen !== undefined && seen !== false) return seen;
  }
  throw new Error(`not within 10 s: ${what}; ${out().join(' | ')}`);
}
function start() {
  spawn(process.execPath, [STAND_IN, file], { stdio: ['ignore', 'inherit', 'inherit'], detached: true }).unref();
  return until('up', () => ups()[0]);
}
function say(command: string): void {
  writeFileSync(`${file}.in`, `${command}\n`, { flag: 'a' });
}
async function launch(ms: number, code: number): Promise<{ pid: number; number: number }> {
  const before = all('launched').length;
  say(`launch ${ms} ${code}`);
  const [pid, number] = await until('launched', () => all('launched')[before]);
  return { pid: Number(pid), number: Number(number) };
}
async function read(number: number): Promise<string> {
  const before = all('read').length;
  say(`read ${number}`);
  return (await until('read', () => all('read')[before]))[1] ?? '';
}
/** Entries of the file of exits for a pid: how it ended, and its number. */
function exitsOf(pid: number): { code: number; status: number; seconds: bigint }[] {
  const bytes = readFileSync(`${file}.exits`);
  expect(bytes.length % ENTRY_BYTES).toBe(0);
  const entries = Array.from({ length: bytes.length / ENTRY_BYTES }, (_, i) =>
    bytes.subarray(i * ENTRY_BYTES, (i + 1) * ENTRY_BYTES),
  );
  return entries
    .filter((entry) => entry.readInt32LE(SI_PID_AT) === pid)
    .map((entry) => ({
      code: entry.readInt32LE(SI_CODE_AT),
      status: entry.readInt32LE(SI_STATUS_AT),
      seconds: entry.readBigInt64LE(128),
    }));
}

function orphanExit(pidfd: number): number | undefined {
  const status = exitOfOther(pidfd);
  return status === undefined ? undefined : status >> 8;
}

suite('the keeper', [root], () => {
  test('is the parent of the helper, shows nobody its memory and costs little', async () => {
    const { keeper, helper } = await start();
    expect(readFileSync(`/proc/${helper}/status`, 'utf8')).toMatch(new RegExp(`^PPid:\\s${keeper}$`, 'm'));
    expect(readlinkSync(`/proc/${keeper}/exe`)).toBe('/memfd:berth-launcher (deleted)');
    const rollup = readFileSync(`/proc/${keeper}/smaps_rollup`, 'utf8');
    expect(Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1])).toBeLessThan(100);
    expect(readdirSync(`/proc/${keeper}/task`)).toHaveLength(2);
    expect(readlinkSync(`/proc/${helper}/fd/0`)).toBe('/dev/null');
  });

  test('writes down how children ended that the killed helper did not see, and keeps their output', async () => {
    const { helper, keeper } = await start();
    const one = await launch(300, 7);
    const two = await launch(300, 0);
    kill(helper);
    const again = await until('a second helper', () => ups()[1]);
    expect(again.keeper).toBe(keeper);
    expect(again.held).toBe(2);
    await until('exits', () => exitsOf(one.pid).length > 0 && exitsOf(two.pid).length > 0);
    expect(exitsOf(one.pid)).toMatchObject([{ code: 1, status: 7 }]);
    expect(exitsOf(two.pid)).toMatchObject([{ code: 1, status: 0 }]);
    expect(exitsOf(helper)).toMatchObject([{ code: 2, status: 9 }]);
    expect(alive(one.pid)).toBe(false);
    expect(await read(one.number)).toBe('said');
    expect(await read(two.number)).toBe('said');
  });

  test('is replaced by the helper when it is killed, with all it kept', async () => {
    const { helper, keeper } = await start();
    const one = await launch(800, 9);
    kill(keeper);
    const again = await until('a second pair', () => ups()[1]);
    expect(again.keeper).toBe(helper);
    expect(again.held).toBe(1);
    await until('its exit', () => exitsOf(one.pid).length > 0);
    expect(exitsOf(one.pid)).toMatchObject([{ status: 9 }]);
    expect(await read(one.number)).toBe('said');
    const two = await launch(100, 3);
    expect(two.number).not.toBe(one.number);
    kill(again.helper);
    await until('a third helper', () => ups()[2]);
    await until('its exit', () => exitsOf(two.pid).length > 0);
    expect(await read(two.number)).toBe('said');
  });

  test('survives a row of kills of both, one after the other', async () => {
    await start();
    const numbers: { pid: number; number: number; pidfd: number }[] = [];
    for (let round = 0; round < 6; round++) {
      const launched = await launch(1500, round + 1);
      numbers.push({ ...launched, pidfd: pidfdOpen(launched.pid) });
      const before = ups().length;
      const { helper, keeper } = ups().at(-1) ?? { helper: 0, keeper: 0 };
      kill(round % 2 === 0 ? keeper : helper);
      await until(`pair ${before}`, () => ups()[before]);
    }
    for (const [i, { pid, number, pidfd }] of numbers.entries()) {
      // Whose helper and then keeper were killed is init's child: the keeper cannot know, but a pidfd does.
      const status = await until(`exit of ${pid}`, () => exitsOf(pid)[0]?.status ?? orphanExit(pidfd));
      expect(status).toBe(i + 1);
      closeSync(pidfd);
      expect(await read(number)).toBe('said');
    }
  });

  test('closes what the helper releases', async () => {
    const { keeper } = await start();
    const one = await launch(0, 0);
    const fds = () => readdirSync(`/proc/${keeper}/fd`);
    await until('kept', () => fds().includes(String(one.number)));
    say(`release ${one.number}`);
    await until('closed', () => !fds().includes(String(one.number)));
  });

  test('starts a helper again that ends with a failure, and ends with one that ends well', async () => {
    const { keeper, helper } = await start();
    say('end 3');
    const again = await until('a second helper', () => ups()[1]);
    expect(again.keeper).toBe(keeper);
    expect(exitsOf(helper)).toMatchObject([{ code: 1, status: 3 }]);
    say('end 0');
    await until('the keeper ends', () => !alive(keeper) && !alive(again.helper));
  });
});
