// The pump: many pipes and a terminal into their logs, and what is left after an exit.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type Log, openLog } from '../../../core/engine/log.ts';
import { LOG_DEFAULTS } from '../../../core/engine/log-file.ts';
import { readLog } from '../../../core/engine/log-read.ts';
import { makePump } from '../../../core/engine/pump.ts';
import { makePipe } from '../../../core/sys/pipe.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-pump-'));
const pump = makePump();
afterAll(() => {
  pump.close();
  rmSync(root, { recursive: true });
});

async function textOf(log: Log): Promise<string> {
  let text = '';
  const all = {
    stdout: true,
    stderr: true,
    timestamps: false,
    sinceNs: undefined,
    untilNs: undefined,
    tail: undefined,
    follow: undefined,
  };
  for await (const chunk of readLog(log, all)) text += Buffer.from(chunk.bytes).toString();
  return text;
}

function child(words: readonly string[], log: Log): { child: ChildProcess; done: Promise<void> } {
  const [out, err] = [makePipe(), makePipe()];
  const flow = pump.start(log, { kind: 'pipes', stdout: out.read, stderr: err.read });
  const process = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', out.write, err.write] });
  closeSync(out.write);
  closeSync(err.write);
  process.once('exit', flow.exited);
  return { child: process, done: flow.done };
}

test('all of a large output, in order', async () => {
  const log = openLog(join(root, 'large'), LOG_DEFAULTS);
  await child(['seq', '1', '300000'], log).done;
  const text = await textOf(log);
  expect(text.length).toBe(1_988_895);
  expect(text.endsWith('299999\n300000\n')).toBe(true);
});

test('forty at once', async () => {
  const logs = Array.from({ length: 40 }, (_, i) => openLog(join(root, `many${i}`), LOG_DEFAULTS));
  await Promise.all(logs.map((log, i) => child(['sh', '-c', `echo ${i}; echo e${i} >&2; seq 1 1000`], log).done));
  for (const [i, log] of logs.entries()) {
    const text = await textOf(log);
    expect(text.length).toBe(3893 + `${i}\ne${i}\n`.length);
    expect(text.startsWith(`${i}\n`) || text.startsWith(`e${i}\n`)).toBe(true);
  }
});

test('what was written before the exit is all there, though another holds the pipe', async () => {
  const log = openLog(join(root, 'held'), LOG_DEFAULTS);
  const [out, err] = [makePipe(), makePipe()];
  const flow = pump.start(log, { kind: 'pipes', stdout: out.read, stderr: err.read });
  writeSync(out.write, 'x'.repeat(50_000));
  writeSync(err.write, 'last words\n');
  flow.exited();
  await flow.done;
  expect((await textOf(log)).length).toBe(50_011);
  closeSync(out.write);
  closeSync(err.write);
});
