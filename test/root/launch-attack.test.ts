// A container's root with all capabilities attacks every process that the helper puts beside it: execs, and launches into its pid namespace. Each is held
// up for ten milliseconds in the middle of its program, as root of the container's user namespace. It must not read or write one byte.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sealedMemfd, startChild } from '../../helper/launch/child.ts';
import { emitLauncher } from '../../helper/launch/launcher.ts';
import { decodeStatus, runProgram } from '../../helper/launch/run.ts';
import { lowerExec } from '../../helper/lower/launch.ts';
import { encodeProgram } from '../../helper/lower/encode.ts';
import { lowerLaunch } from '../../helper/lower/launch.ts';
import { cloneProcess, lowerUndumpable } from '../../helper/lower/namespaces.ts';
import {
  type Argument,
  createProgram,
  type Label,
  type Program,
  type Record,
  u64,
} from '../../helper/lower/program.ts';
import { pipe2 } from '../../helper/sys/descriptors.ts';
import { pidfdOpen } from '../../helper/sys/processes.ts';
import { AT_EMPTY_PATH } from '../../proto/abi/fcntl.gen.ts';
import { CLONE_NEWPID, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import {
  SYS_dup3,
  SYS_execveat,
  SYS_exit_group,
  SYS_nanosleep,
  SYS_setns,
  SYS_setresgid,
  SYS_setresuid,
  SYS_setsid,
} from '../../proto/abi/unistd.gen.ts';
import { Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import {
  ALL_CAPABILITIES,
  capture,
  ended,
  FIRST_ID,
  type Lab,
  launch,
  NEW_NAMESPACES,
  nullDevice,
  openLab,
  planOf,
  processOf,
} from '../kit/launcher.ts';
import { busybox, root, suite, tool } from '../kit/need.ts';

const SECONDS = process.env['BERTH_LONG'] ? 20 : 3;
const HELD_NS = 10_000_000;

/** The program with a pause after the first record of that call that `is` it; labels and results move with their records. */
function heldUp(program: Program, is: (record: Record) => boolean): Program {
  const at = program.records.findIndex(is) + 1;
  expect(at).toBeGreaterThan(0);
  const nap = program.data(u64(0, HELD_NS));
  const labels = new Map<Label, Label>();
  const label = (old: Label): Label => {
    const moved = labels.get(old) ?? { kind: 'label', record: old.record > at ? old.record + 1 : old.record };
    labels.set(old, moved);
    return moved;
  };
  const argument = (arg: Exclude<Argument, string>): Exclude<Argument, string> => {
    if (typeof arg !== 'object') return arg;
    if (arg.kind === 'result') return { ...arg, record: arg.record > at ? arg.record + 1 : arg.record };
    return arg.kind === 'slot' ? { ...arg, label: label(arg.label) } : arg;
  };
  const moved = program.records.map(
    (record): Record => ({
      ...record,
      args: record.args.map(argument),
      on: record.on && [record.on[0], label(record.on[1])],
    }),
  );
  const pointers = program.pointers.map(
    ([offset, target]) =>
      [offset, target.kind === 'slot' ? { ...target, label: label(target.label) } : target] as const,
  );
  const pause: Record = { number: SYS_nanosleep, args: [nap, 0], step: 'be attacked', ignore: false, on: undefined };
  return { ...program, pointers, records: [...moved.slice(0, at), pause, ...moved.slice(at)] };
}

type Target = { readonly pid: number; readonly pidfd: number; readonly userNamespace: number };

/** Runs the attacker in a container while `act` puts processes beside it; what it counted. */
async function attacked(lab: Lab, act: (target: Target) => Promise<void>): Promise<{ [name: string]: number }> {
  const capabilities = {
    bounding: ALL_CAPABILITIES,
    effective: ALL_CAPABILITIES,
    permitted: ALL_CAPABILITIES,
    inheritable: 0n,
    ambient: 0n,
  };
  const hardening = { ...planOf().hardening, seccomp: Seccomp.SECCOMP_UNCONFINED };
  const { stdio, text } = capture();
  const process = processOf(['/bin/attacker', String(SECONDS)], { capabilities });
  const { outcome, userNamespace } = await launch(lab, planOf({ process, hardening }), {
    host: { stdio },
    keepUsers: true,
  });
  if (outcome.kind === 'failed' || userNamespace === undefined) throw new Error('no attacker');
  const end = Date.now() + SECONDS * 1000 - 1000;
  while (Date.now() < end) await act({ ...outcome, userNamespace });
  const output = text();
  await ended(outcome.pidfd);
  closeSync(userNamespace);
  return Object.fromEntries(
    output
      .trim()
      .split(' ')
      .map((word) => word.split('='))
      .map(([name, count]) => [name, Number(count)]),
  );
}

suite("an attack by the container's root", [root, busybox, tool('gcc')], () => {
  const prepare = async () => {
    const lab = await openLab();
    const source = new URL('../kit/attacker.c', import.meta.url).pathname;
    execFileSync('gcc', ['-O2', '-static', '-o', join(lab.tree, 'bin/attacker'), source]);
    return lab;
  };
  const nothing = { reads: 0, writes: 0, seized: 0, mems: 0, fds: 0, links: 0 };

  test('on execs gets nothing', async () => {
    using lab = await prepare();
    let execs = 0;
    const counts = await attacked(lab, async ({ pidfd }) => {
      const status = pipe2();
      const plan = {
        container: '',
        id: '',
        process: processOf(['/bin/true']),
        hardening: planOf().hardening,
        stdio: planOf().stdio,
      };
      const stdio = { kind: 'pipes' as const, descriptors: [nullDevice(), nullDevice(), nullDevice()] as const };
      const { program } = lowerExec(plan, {
        machine: lab.machine,
        status: status[1],
        container: pidfd,
        namespaces: NEW_NAMESPACES,
        cgroups: { kind: 'none' },
        stdio,
      });
      const outcome = await runProgram(
        heldUp(program, ({ number, args }) => number === SYS_setns && args[1] === CLONE_NEWUSER),
        status,
      );
      if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
      await ended(outcome.pidfd);
      execs++;
    });
    expect(counts).toMatchObject(nothing);
    expect(counts['denied']).toBeGreaterThan(execs);
    expect(execs).toBeGreaterThan(20);
  }, 60_000);

  test('on launches into its pid namespace gets nothing', async () => {
    using lab = await prepare();
    let launches = 0;
    const counts = await attacked(lab, async ({ pid, userNamespace }) => {
      const status = pipe2();
      const bits = CLONE_NEWUSER | CLONE_NEWPID;
      const plan = planOf({
        run: ['/bin/true'],
        namespaces: { unshare: BigInt((NEW_NAMESPACES & ~bits) >>> 0), join: [], uidCount: 65536n },
      });
      const joined = [{ bit: CLONE_NEWPID, descriptor: openSync(`/proc/${pid}/ns/pid`, 'r') }];
      const [layers, home] = [lab.open(join(lab.directory, 'layers/')), lab.open(`${lab.home(`attack${launches}`)}/`)];
      const { program } = lowerLaunch(plan, {
        machine: lab.machine,
        status: status[1],
        userNamespace,
        firstId: FIRST_ID,
        root: { kind: 'unpacked', directory: layers, names: ['base'] },
        home,
        binds: new Map(),
        joined,
        cgroups: { kind: 'none' },
        stdio: { kind: 'pipes', descriptors: [nullDevice(), nullDevice(), nullDevice()] },
      });
      const outcome = await runProgram(
        heldUp(program, ({ number }) => number === SYS_setsid),
        status,
      );
      for (const fd of [layers, home, ...joined.map(({ descriptor }) => descriptor)]) closeSync(fd);
      if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
      await ended(outcome.pidfd);
      launches++;
    });
    expect(counts).toMatchObject(nothing);
    expect(counts['denied']).toBeGreaterThan(launches);
    expect(launches).toBeGreaterThan(20);
  }, 60_000);

  test('succeeds on a launcher that was executed inside: the attacker is a real one', async () => {
    using lab = await prepare();
    const readable = sealedMemfd('berth-readable', emitLauncher(lab.machine.arch).bytes, 0o555);
    const counts = await attacked(lab, async ({ pidfd }) => {
      const [read, write] = pipe2();
      const inner = createProgram(write);
      lowerUndumpable(inner);
      inner.call(SYS_nanosleep, [inner.data(u64(0, HELD_NS)), 0]);
      inner.call(SYS_exit_group, [0]);
      const memfd = sealedMemfd('berth-program', encodeProgram(inner, { arch: lab.machine.arch }), 0);
      const program = createProgram(write);
      for (const fd of [pidfd, memfd, readable]) program.use(fd);
      program.call(SYS_setns, [pidfd, (CLONE_NEWUSER | CLONE_NEWPID) >>> 0]);
      program.call(SYS_setresgid, [0, 0, 0]);
      program.call(SYS_setresuid, [0, 0, 0]);
      program.call(SYS_dup3, [memfd, 0, 0]);
      cloneProcess(program, 0, program.descriptors);
      const none = program.strings([]);
      program.call(SYS_execveat, [readable, '', none, none, AT_EMPTY_PATH]);
      const first = startChild(program);
      closeSync(write);
      closeSync(memfd);
      const { pid = 0 } = decodeStatus(readFileSync(read), program);
      closeSync(read);
      await ended(first.pidfd);
      await ended(pidfdOpen(pid)); // or the attacker's pid namespace could not end
    });
    closeSync(readable);
    expect(counts['reads']).toBeGreaterThan(100);
    expect(counts['writes']).toBeGreaterThan(100);
  }, 60_000);
});
