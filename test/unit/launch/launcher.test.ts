// The emitted launcher itself, on both architectures (arm64 under qemu): sources, words, jumps, sums, reports, and the entry that the helper calls.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { assemble, emitLauncher, wrapElf } from '../../../helper/launch/launcher.ts';
import { decodeStatus } from '../../../helper/launch/run.ts';
import { type Arch, encodeProgram, numberOn } from '../../../helper/lower/encode.ts';
import { ADD, createProgram, newLabel, type Program, u32, u64, within } from '../../../helper/lower/program.ts';
import { AT_FDCWD } from '../../../proto/abi/fcntl.gen.ts';
import {
  SYS_clone,
  SYS_close,
  SYS_exit_group,
  SYS_openat,
  SYS_read,
  SYS_write,
} from '../../../proto/abi/unistd.gen.ts';
import { suite, tool } from '../../kit/need.ts';

const directory = mkdtempSync(join(tmpdir(), 'berth-elf-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const STATUS = 2;

function runElf(arch: Arch, file: Uint8Array, program: Program) {
  const [elf, table] = [join(directory, `launcher-${arch}`), join(directory, 'program')];
  writeFileSync(elf, file, { mode: 0o755 });
  writeFileSync(table, encodeProgram(program, { arch }));
  const input = openSync(table, 'r');
  const [command, args] = arch === 'arm64' && process.arch !== 'arm64' ? ['qemu-aarch64-static', [elf]] : [elf, []];
  const done = spawnSync(command, args, { stdio: [input, 'pipe', 'pipe'], timeout: 20_000 });
  closeSync(input);
  rmSync(elf);
  return {
    out: done.stdout.toString(),
    code: done.status,
    signal: done.signal,
    report: decodeStatus(done.stderr, program),
  };
}
const run = (arch: Arch, program: Program) => runElf(arch, emitLauncher(arch).bytes, program);

const archs: [Arch, Parameters<typeof suite>[1]][] = [
  ['x64', [{ reason: 'needs an x86-64 processor', met: () => process.arch === 'x64' }]],
  ['arm64', process.arch === 'arm64' ? [] : [tool('qemu-aarch64-static', 'qemu-user-static')]],
];

for (const [arch, needs] of archs) {
  suite(`the launcher for ${arch}`, needs, () => {
    test('passes results on', () => {
      writeFileSync(join(directory, 'text'), 'from a file\n');
      const program = createProgram(STATUS);
      const fd = program.call(SYS_openat, [AT_FDCWD, join(directory, 'text'), 0]);
      const buffer = program.data(new Uint8Array(64));
      const count = program.call(SYS_read, [fd, buffer, 64]);
      program.call(SYS_write, [1, buffer, count]);
      program.call(SYS_exit_group, [count]);
      expect(run(arch, program)).toMatchObject({ out: 'from a file\n', code: 12 });
    });

    test('adds, compares, jumps and loops', () => {
      const program = createProgram(STATUS);
      const [loop, end] = [newLabel(), newLabel()];
      const counter = program.data(u32(0, 0));
      const zeroes = program.call(SYS_openat, [AT_FDCWD, '/dev/zero', 0]);
      program.here(loop);
      program.call(SYS_write, [1, '.', 1]);
      program.call(SYS_read, [zeroes, within(counter, 4), 4]);
      program.call(ADD, [{ kind: 'word', data: counter }, 1], { on: [1, end] });
      program.jump(loop);
      program.here(end);
      const sum = program.call(ADD, [
        { kind: 'word', data: program.data(u32(40)) },
        { kind: 'word', data: program.data(u32(2)) },
      ]);
      program.call(SYS_exit_group, [sum]);
      expect(run(arch, program)).toMatchObject({ out: '.', code: 42 });
    });

    test('reads words without their sign and from far into the program', () => {
      const program = createProgram(STATUS);
      const right = newLabel();
      program.data(new Uint8Array(100_000));
      program.call(ADD, [{ kind: 'word', data: program.data(u32(0xffffffff)) }, 0], { on: [0xffffffff, right] });
      program.call(SYS_exit_group, [1]);
      program.here(right);
      program.call(SYS_exit_group, [7]);
      expect(run(arch, program)).toMatchObject({ code: 7 });
    });

    test('reports a failure with record and number, and stops', () => {
      const program = createProgram(STATUS);
      program.call(SYS_close, [99], { ignore: true });
      program.call(SYS_openat, [AT_FDCWD, '/nonexistent/x', 0], { step: 'open it' });
      program.call(SYS_write, [1, 'went on', 7]);
      const { out, code, report } = run(arch, program);
      expect({ out, code }).toEqual({ out: '', code: 127 });
      expect(report.failure).toEqual({ step: 'open it', call: 'openat', errno: 2, detail: 'open it: ENOENT' });
    });

    test('takes an expected error for an answer, and a sum below zero for a failure', () => {
      const program = createProgram(STATUS);
      const missing = newLabel();
      program.call(SYS_openat, [AT_FDCWD, '/nonexistent', 0], { on: [-2, missing] });
      program.call(SYS_write, [1, 'not skipped', 11]);
      program.here(missing);
      program.fail(20, 'it is not so');
      const { out, report } = run(arch, program);
      expect(out).toBe('');
      expect(report.failure).toMatchObject({ step: 'it is not so', call: '', errno: 20 });
    });

    test('needs no memory but its program and its file', () => {
      expect(emitLauncher(arch).bytes.length).toBeLessThan(640);
    });
  });
}

// The entry `clone`, called as the helper calls it. qemu knows no clone3, so the number is clone's; the code is the same but for that.
const DRIVER = [
  0xd2a20000,
  0xd2a02001,
  0xd2800062,
  0xd2800043,
  0xf2a00203,
  0xd2800004,
  0xd2800005,
  0xd2801bc8,
  0xd4000001, // mmap(PROGRAM, 16 MiB, 3, …, 0, 0)
  0xd28000f3, // mov x19, #7
  0xd2882220,
  0xd2800001,
  0xd2a20002, // clone(CLONE_VM | CLONE_VFORK | SIGCHLD, 0, PROGRAM)
  0x94000000, // bl
  0xd37ffc00,
  0x8b130000, // lsr x0, x0, #63; add x0, x0, x19
  0xd2800bc8,
  0xd4000001, // exit_group
];
suite("the launcher's second entry for arm64", [tool('qemu-aarch64-static', 'qemu-user-static')], () => {
  test('runs the program in the child and returns to the parent with its registers', () => {
    const code = assemble('arm64', numberOn('arm64', SYS_clone));
    const driver = Uint32Array.from(DRIVER);
    driver[13] = 0x94000000 | (DRIVER.length - 13 + code.clone / 4);
    const bytes = new Uint8Array(driver.byteLength + code.bytes.length);
    bytes.set(new Uint8Array(driver.buffer));
    bytes.set(code.bytes, driver.byteLength);
    const program = createProgram(STATUS);
    program.call(SYS_write, [1, 'child\n', 6]);
    program.call(SYS_exit_group, [0]);
    const file = wrapElf('arm64', { bytes, start: 0, clone: 0, run: 0 }).bytes;
    expect(runElf('arm64', file, program)).toMatchObject({ out: 'child\n', code: 7 });
  });
});

describe('the files', () => {
  test("differ between the two entries' numbers in nothing but the number", () => {
    const [normal, other] = [assemble('arm64'), assemble('arm64', 1)];
    const words = [normal, other].map(({ bytes }) => new Uint32Array(bytes.buffer));
    expect([...(words[0] ?? [])].filter((word, i) => word !== words[1]?.[i])).toHaveLength(1);
  });

  test('are written the same every time', () => {
    expect(emitLauncher('x64').bytes).toEqual(emitLauncher('x64').bytes);
    expect(Buffer.from(emitLauncher('arm64').bytes.subarray(0, 20)).toString('hex')).toBe(
      '7f454c460201010000000000000000000200b700',
    );
    expect(u64(-1)).toEqual(new Uint8Array(8).fill(255));
  });
});
