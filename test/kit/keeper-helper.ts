// Stands in for the helper beneath the keeper, and lets a test drive it: `node keeper-helper.ts FILE [--kept] …`. Each line of FILE.in is a command,
// each line of FILE.out an answer. First called without --kept, it becomes the keeper, which starts it again with --kept.
import { appendFileSync, closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { becomeKeeper, connectKeeper, KEPT_EXITS } from '../../helper/launch/keeper.ts';
import { startChild } from '../../helper/launch/child.ts';
import { createProgram, u64 } from '../../helper/lower/program.ts';
import { pipe2, watchPidfd } from '../../helper/sys/descriptors.ts';
import { SYS_exit_group, SYS_nanosleep, SYS_write } from '../../proto/abi/unistd.gen.ts';

const file = process.argv[2] ?? '';
const say = (text: string) => appendFileSync(`${file}.out`, `${text}\n`);
const argv = [process.execPath, process.argv[1] ?? '', file];
const self = { file: process.execPath, argv: [...argv, '--kept'], env: ['PATH=/usr/bin:/bin'] };

if (process.argv[3] !== '--kept')
  becomeKeeper({ ...self, exits: openSync(`${file}.exits`, 'a', 0o600), held: new Map() });

const known = () => readFileSync(`${file}.held`, 'utf8').split('\n').filter(Boolean).map(Number);
const keeper = connectKeeper(known());
const held = new Map(known().map((number) => [number, keeper.fetch(number)]));
watchPidfd(keeper.pidfd, () => {
  say('becoming the keeper');
  becomeKeeper({ ...self, exits: KEPT_EXITS, held });
});
say(`up ${process.pid} ${keeper.pid} ${held.size}`);

/** A child that writes a line after a while and ends with a code: of the helper, and without it of the keeper. */
function launch(ms: number, code: number): void {
  const [read, write] = pipe2();
  const [, status] = pipe2();
  const program = createProgram(status);
  program.call(SYS_nanosleep, [program.data(u64(Math.floor(ms / 1000), (ms % 1000) * 1_000_000)), 0]);
  program.call(SYS_write, [program.use(write), 'said\n', 5]);
  program.call(SYS_exit_group, [code]);
  const { pid } = startChild(program);
  closeSync(write);
  closeSync(status);
  const number = keeper.keep(read);
  held.set(number, read);
  appendFileSync(`${file}.held`, `${number}\n`);
  say(`launched ${pid} ${number}`);
}

const commands: Record<string, (...args: number[]) => void> = {
  launch: (ms = 0, code = 0) => launch(ms, code),
  read: (number = 0) => {
    const bytes = Buffer.alloc(64);
    say(`read ${number} ${bytes.toString('utf8', 0, readSync(held.get(number) ?? -1, bytes)).trim()}`);
  },
  release: (number = 0) => {
    keeper.release(number);
    say(`released ${number}`);
  },
  end: (code = 0) => process.exit(code),
};
for (let done = known.length; ; await sleep(5)) {
  const lines = readFileSync(`${file}.in`, 'utf8').split('\n').filter(Boolean);
  const from = readFileSync(`${file}.out`, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('did ')).length;
  for (const line of lines.slice(Math.max(from, done))) {
    const [name = '', ...args] = line.split(' ');
    say(`did ${line}`);
    commands[name]?.(...args.map(Number));
  }
  done = 0;
}
