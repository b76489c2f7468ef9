// lower() makes the same program of the same plan, every program it makes is accepted, and one in which a record is missing, elsewhere, forgiving,
// skipped or aimed at something else is not.
import { expect, test } from 'vitest';
import type { CheckedLaunch, CheckedMount } from '../../../helper/decode/checked.ts';
import { checkProgram, type Shape } from '../../../helper/lower/check.ts';
import { encodeProgram } from '../../../helper/lower/encode.ts';
import { lowerExec } from '../../../helper/lower/launch.ts';
import type { LaunchHost } from '../../../helper/lower/host.ts';
import { keptOf, lowerLaunch } from '../../../helper/lower/launch.ts';
import { newLabel, type Program, type Record, Refused } from '../../../helper/lower/program.ts';
import { AT_FDCWD } from '../../../proto/abi/fcntl.gen.ts';
import { RESOLVE_IN_ROOT } from '../../../proto/abi/openat2.gen.ts';
import {
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../../../proto/abi/sched.gen.ts';
import * as nr from '../../../proto/abi/unistd.gen.ts';
import { GeneratedName, KernelFilesystem, Propagation, Seccomp } from '../../../proto/gen/berth/helper/v1/plan.ts';
import { DEFAULT_MOUNTS, NEW_NAMESPACES, planOf, processOf } from '../../kit/launcher.ts';

const machine = {
  arch: 'x64',
  rootless: false,
  lastCapability: 40,
  seedNamespace: 50,
  storeNamespace: 51,
} as const;
const host: LaunchHost = {
  machine,
  status: 20,
  userNamespace: 21,
  firstId: 0x70000000,
  root: { kind: 'image', name: 'abc' },
  home: 22,
  binds: new Map([
    [0, { descriptor: 23, idmap: 24 }],
    [1, { descriptor: 25, idmap: undefined }],
  ]),
  joined: [],
  cgroups: {
    kind: 'v1',
    groups: [
      { name: 'pids', parent: 26, path: 'abc' },
      { name: 'cpu,cpuacct', parent: 27, path: 'abc' },
    ],
  },
  stdio: { kind: 'pipes', descriptors: [30, 31, 32] },
};
const bind: CheckedMount = {
  source: {
    $case: 'bind',
    value: { descriptor: 0, recursive: true, file: false, propagation: Propagation.PROPAGATION_SLAVE },
  },
  target: '/a/b/c',
  readOnly: true,
  noSuid: true,
  noDev: true,
  noExec: false,
};
const shared: CheckedMount = {
  ...bind,
  source: {
    $case: 'bind',
    value: { descriptor: 1, recursive: true, file: false, propagation: Propagation.PROPAGATION_SHARED },
  },
  target: '/shared',
};
const cgroup: CheckedMount = {
  ...bind,
  source: { $case: 'kernel', value: { filesystem: KernelFilesystem.KERNEL_FILESYSTEM_CGROUP } },
  target: '/sys/fs/cgroup',
};
const hosts: CheckedMount = {
  ...bind,
  source: { $case: 'file', value: { name: GeneratedName.GENERATED_NAME_HOSTS, content: Buffer.from('') } },
  target: '/etc/hosts',
};
const READ_ONLY = { source: { $case: 'image', value: { layers: [] } }, readOnly: true } as const;
const full = planOf({
  mounts: [...DEFAULT_MOUNTS, cgroup, bind],
  process: processOf(['sh'], {
    cwd: '/work',
    uid: 1000,
    groups: [5],
    oomScoreAdj: 7,
    rlimits: [{ resource: 8, soft: 10n, hard: 20n }],
  }),
  hardening: { ...planOf().hardening, sysctls: [{ name: 'net.ipv4.ip_forward', value: '1' }] },
});
const without = (bits: number) => ({ unshare: BigInt((NEW_NAMESPACES & ~bits) >>> 0), join: [], uidCount: 65536n });

const CASES: [string, CheckedLaunch, Partial<LaunchHost>][] = [
  ['everything', full, {}],
  ['unpacked layers', full, { root: { kind: 'unpacked', directory: 28, names: ['1', '2'] } }],
  [
    'a directory, read-only',
    planOf({ root: { source: { $case: 'directory', value: { descriptor: 1 } }, readOnly: true } }),
    { root: { kind: 'directory', directory: 25, idmap: 24 } },
  ],
  [
    'a terminal and init',
    planOf({ init: true, stdio: { tty: true, stdin: true, columns: 80, rows: 24 } }),
    { stdio: { kind: 'tty', socket: 33 } },
  ],
  ['no filter', planOf({ hardening: { ...full.hardening, seccomp: Seccomp.SECCOMP_UNCONFINED } }), {}],
  [
    'no filter, no new privileges and ambient capabilities',
    planOf({
      process: processOf(['sh'], {
        uid: 1000,
        noNewPrivileges: true,
        capabilities: { bounding: 3n, effective: 1n, permitted: 1n, inheritable: 1n, ambient: 1n },
      }),
      hardening: { ...full.hardening, seccomp: Seccomp.SECCOMP_UNCONFINED },
    }),
    {},
  ],
  ['no user namespace', planOf({ namespaces: without(CLONE_NEWUSER) }), { userNamespace: undefined, firstId: 0 }],
  [
    "a new time, the host's network and pids",
    planOf({
      namespaces: {
        ...without(CLONE_NEWNET | CLONE_NEWPID),
        unshare: BigInt(((NEW_NAMESPACES & ~(CLONE_NEWNET | CLONE_NEWPID)) | CLONE_NEWTIME) >>> 0),
      },
    }),
    {},
  ],
  [
    'joined namespaces',
    planOf({ namespaces: without(CLONE_NEWNET | CLONE_NEWUSER), hostname: '' }),
    { joined: [{ bit: CLONE_NEWNET, descriptor: 29 }] },
  ],
  ['version 2', planOf(), { cgroups: { kind: 'v2', directory: 26 } }],
  [
    'rootless',
    planOf(),
    {
      machine: { ...machine, rootless: true },
      firstId: 0,
      cgroups: { kind: 'none' },
      root: { kind: 'unpacked', directory: 28, names: ['1'] },
    },
  ],
  [
    'a read-only root, a file, a shared bind',
    { ...full, mounts: [...full.mounts, shared, hosts], root: READ_ONLY },
    {},
  ],
  [
    'a shared bind without a user namespace',
    planOf({ namespaces: without(CLONE_NEWUSER), mounts: [...full.mounts, shared] }),
    { userNamespace: undefined, firstId: 0 },
  ],
  ['no new privileges', planOf({ process: processOf(['sh'], { noNewPrivileges: true }) }), {}],
];
const shapeOf = (plan: CheckedLaunch, more: Partial<LaunchHost>): Shape => {
  const all = { ...host, ...more };
  return {
    kind: 'launch',
    mounts: machine.seedNamespace,
    users: all.userNamespace,
    filtered: plan.hardening.seccomp === Seccomp.SECCOMP_DEFAULT,
    made: Number(plan.namespaces.unshare),
    kept: keptOf(all),
  };
};

test.each(CASES)('lowerLaunch() makes an accepted program, always the same: %s', (_, plan, more) => {
  const make = () => encodeProgram(lowerLaunch(plan, { ...host, ...more }).program, { arch: machine.arch });
  expect(make()).toEqual(make());
  const { program } = lowerLaunch(plan, { ...host, ...more });
  expect(() => encodeProgram(program, { arch: 'arm64' })).not.toThrow();
});

const execHost = {
  machine,
  status: 20,
  container: 40,
  namespaces: NEW_NAMESPACES,
  cgroups: host.cgroups,
  stdio: host.stdio,
} as const;
const execPlan = { container: '', id: '', process: full.process, hardening: full.hardening, stdio: full.stdio };
const execShape: Shape = { kind: 'exec', mounts: 40, users: 40, filtered: true, made: 0, kept: keptOf(host) };

/** The program with other records. */
const withRecords = (program: Program, records: readonly Record[]): Program => ({ ...program, records });
/** Why it is refused; empty for a program that is accepted. */
const refusal = (program: Program, shape: Shape): string => {
  try {
    checkProgram(program, shape);
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(Refused);
    return (error as Refused).message;
  }
};
const accepted = (program: Program, shape: Shape): boolean => refusal(program, shape) === '';
/** Removes record `at`; jumps still lead to the record they led to. */
function removed(program: Program, at: number): Program {
  const moved = new Map(
    program.records.flatMap(({ on }) =>
      on === undefined
        ? []
        : [[on[1], { ...on[1], record: on[1].record > at + 1 ? on[1].record - 1 : on[1].record }] as const],
    ),
  );
  const records = program.records.flatMap((record, i): Record[] => {
    if (i === at) return [];
    const label = record.on === undefined ? undefined : moved.get(record.on[1]);
    return [label === undefined || record.on === undefined ? record : { ...record, on: [record.on[0], label] }];
  });
  return withRecords(program, records);
}
const swapped = (program: Program, a: number, b: number): Program =>
  withRecords(
    program,
    program.records.map(
      (record, i) => (i === a ? program.records[b] : i === b ? program.records[a] : record) as Record,
    ),
  );
const changed = (program: Program, at: number, change: Partial<Record>): Program =>
  withRecords(
    program,
    program.records.map((record, i) => (i === at ? { ...record, ...change } : record)),
  );

const programs: [string, Program, Shape][] = [
  ...CASES.map(([name, plan, more]): [string, Program, Shape] => [
    name,
    lowerLaunch(plan, { ...host, ...more }).program,
    shapeOf(plan, more),
  ]),
  ['an exec', lowerExec(execPlan, execHost).program, execShape],
  [
    'an exec without a user namespace',
    lowerExec(execPlan, { ...execHost, namespaces: NEW_NAMESPACES & ~CLONE_NEWUSER }).program,
    { ...execShape, users: undefined },
  ],
];
const find = (program: Program, is: (record: Record) => boolean): number => {
  const at = program.records.findLastIndex(is);
  expect(at).toBeGreaterThanOrEqual(0);
  return at;
};
const number = (wanted: number) => (record: Record) => record.number === wanted;

/** Calls without which a program of that kind must not run. */
const REQUIRED = [
  nr.SYS_prctl,
  nr.SYS_clone3,
  nr.SYS_capset,
  nr.SYS_setresuid,
  nr.SYS_setresgid,
  nr.SYS_close_range,
  nr.SYS_fchdir,
];

test.each(programs)('checkProgram() misses what is required of %s', (_, program, shape) => {
  expect(accepted(program, shape)).toBe(true);
  const launch = shape.kind === 'launch' ? [nr.SYS_pivot_root, nr.SYS_umount2] : [];
  const filter = shape.filtered ? [nr.SYS_seccomp] : [];
  const init = program.records.some(number(nr.SYS_clone));
  for (const wanted of [...REQUIRED, ...launch, ...filter]) {
    const all = program.records.flatMap((record, i) => (record.number === wanted ? [i] : []));
    const at =
      wanted === nr.SYS_prctl
        ? 0
        : (all.filter((i) => !init || i < program.records.findIndex(number(nr.SYS_clone))).at(-1) ?? 0);
    expect(accepted(removed(program, at), shape), `without ${program.records[at]?.step}`).toBe(false);
    expect(accepted(changed(program, at, { ignore: true }), shape), `forgiving ${program.records[at]?.step}`).toBe(
      false,
    );
  }
  for (const { args } of program.records.filter(number(nr.SYS_setns))) {
    const at = program.records.findIndex((record) => record.number === nr.SYS_setns && record.args === args);
    const needed = args[1] === CLONE_NEWUSER || (Number(args[1]) & CLONE_NEWNS) !== 0;
    if (needed && args[0] !== machine.storeNamespace) expect(accepted(removed(program, at), shape)).toBe(false);
  }
});

test.each(programs)('checkProgram() sees a required record skipped in %s', (_, program, shape) => {
  const target = newLabel();
  for (const wanted of shape.filtered ? [nr.SYS_seccomp, nr.SYS_capset] : [nr.SYS_capset]) {
    const at = program.records.findIndex(number(wanted));
    target.record = at + 2;
    for (const from of [1, at - 1, at]) {
      const record = program.records[from];
      if (record?.number === nr.SYS_clone3) continue;
      expect(accepted(changed(program, from, { on: [0, target] }), shape), `from ${from}`).toBe(false);
    }
  }
});

test.each(programs)('checkProgram() sees required records in another order in %s', (_, program, shape) => {
  const clone = program.records.findIndex(number(nr.SYS_clone3));
  const first = (wanted: number) => program.records.findIndex((record, i) => record.number === wanted && i > clone);
  const order = [nr.SYS_pivot_root, nr.SYS_close_range, nr.SYS_capset, nr.SYS_seccomp, nr.SYS_execve]
    .map(first)
    .filter((at) => at >= 0);
  for (const [i, a] of order.entries())
    for (const b of order.slice(i + 1)) expect(accepted(swapped(program, a, b), shape), `${a} and ${b}`).toBe(false);
  expect(accepted(swapped(program, 0, 1), shape)).toBe(false);
  expect(accepted(swapped(program, clone, clone - 1), shape)).toBe(false);
});

const everything = lowerLaunch(full, host).program;
const shape = shapeOf(full, {});

test('checkProgram() sees calls aimed at something else', () => {
  const aim = (is: (record: Record) => boolean, args: (old: Record['args']) => Record['args']) => {
    const at = find(everything, is);
    return accepted(changed(everything, at, { args: args(everything.records[at]?.args ?? []) }), shape);
  };
  const path = (text: string) => everything.string(text);
  const openat2 = (record: Record) => record.number === nr.SYS_openat2 && typeof record.args[0] === 'object';
  const clone = everything.records.findIndex(number(nr.SYS_clone3));
  const inside = (record: Record) => everything.records.indexOf(record) > clone;
  expect(aim(openat2, ([, ...rest]) => [AT_FDCWD, ...rest])).toBe(false);
  expect(
    aim(openat2, ([at, name, , size]) => [at ?? 0, name ?? 0, everything.data(new Uint8Array(24)), size ?? 0]),
  ).toBe(false);
  expect(
    aim(number(nr.SYS_move_mount), ([from, empty, , , flags]) => [
      from ?? 0,
      empty ?? 0,
      AT_FDCWD,
      path('/proc'),
      flags ?? 0,
    ]),
  ).toBe(true);
  expect(
    aim(number(nr.SYS_move_mount), ([from, empty, , , flags]) => [
      from ?? 0,
      empty ?? 0,
      AT_FDCWD,
      path('/etc'),
      flags ?? 0,
    ]),
  ).toBe(false);
  expect(
    aim(
      (record) => record.number === nr.SYS_mkdirat && inside(record),
      ([at, , mode]) => [at ?? 0, path('a/b'), mode ?? 0],
    ),
  ).toBe(false);
  expect(
    aim(
      (record) => record.number === nr.SYS_mkdirat && inside(record),
      ([at, , mode]) => [at ?? 0, path('..'), mode ?? 0],
    ),
  ).toBe(false);
  expect(
    aim(
      (record) => record.number === nr.SYS_mkdirat && inside(record),
      ([, name, mode]) => [22, name ?? 0, mode ?? 0],
    ),
  ).toBe(false);
  // Whatever the first process has made is unlocked where it is: it must come through the seed.
  const carried = { kind: 'result', record: 5 } as const;
  const last = find(everything, number(nr.SYS_move_mount));
  const rest = everything.records[last]?.args.slice(1) ?? [];
  expect(refusal(changed(everything, last, { args: [carried, ...rest] }), shape)).toMatch(/the first process has made/);
  expect(
    aim(
      (record) => record.number === nr.SYS_open_tree && record.args[0] === AT_FDCWD && inside(record),
      ([, , flags]) => [AT_FDCWD, path('/d1/x'), flags ?? 0],
    ),
  ).toBe(false);
  expect(aim(number(nr.SYS_open_tree), ([at, , flags]) => [at ?? 0, path('etc'), flags ?? 0])).toBe(false);
  expect(aim(number(nr.SYS_prctl), () => [4, 1, 0, 0, 0])).toBe(false);
  expect(
    aim(
      (record) => record.number === nr.SYS_close && record.args[0] === 22,
      () => [23],
    ),
  ).toBe(false);
  expect(
    aim(
      (record) => record.number === nr.SYS_dup3 && record.args[1] === 1,
      ([, to]) => [22, to ?? 0, 0],
    ),
  ).toBe(false);
  const flags = everything.data(new Uint8Array(88));
  expect(aim(number(nr.SYS_clone3), () => [flags, 88])).toBe(false);
});

test('checkProgram() lets nothing in that has no place there', () => {
  const inserted = (at: number, record: Record) =>
    withRecords(everything, [...everything.records.slice(0, at), record, ...everything.records.slice(at)]);
  const record = (call: number, ...args: Record['args'][number][]): Record => ({
    number: call,
    args,
    step: 'x',
    ignore: false,
    on: undefined,
  });
  const at = everything.records.length - 3;
  expect(accepted(inserted(at, record(nr.SYS_setns, 50, CLONE_NEWNS)), shape)).toBe(false);
  expect(accepted(inserted(at, record(nr.SYS_mount, 0, 0, 0, 0, 0)), shape)).toBe(false);
  expect(accepted(inserted(1, record(nr.SYS_setns, 21, CLONE_NEWUSER)), shape)).toBe(false);
  expect(accepted(inserted(1, record(nr.SYS_execve, 0, 0, 0)), shape)).toBe(false);
  expect(accepted(inserted(1, record(nr.SYS_unshare, CLONE_NEWUTS)), shape)).toBe(false);
  expect(accepted(inserted(1, record(165, everything.string('x'), everything.string('/etc'), 0, 0)), shape)).toBe(
    false,
  );
  // The first process mounts nothing but in its own copy of the seed.
  const made = { kind: 'result', record: 1 } as const;
  const [nothing, place] = [everything.string(''), everything.string('/d0')];
  const early = changed(everything, 2, record(nr.SYS_move_mount, made, nothing, AT_FDCWD, place, 4));
  expect(refusal(early, shape)).toMatch(/mounts where it is not alone/);
  const copy = find(everything, ({ number: call, args }) => call === nr.SYS_unshare && args[0] === CLONE_NEWNS);
  expect(refusal(removed(everything, copy), shape)).toMatch(/a copy of the seed is missing/);
  expect(refusal(swapped(everything, copy, copy + 1), shape)).toMatch(/mounts where it is not alone/);
  expect(() => lowerLaunch(planOf({ namespaces: without(CLONE_NEWUTS) }), host)).toThrow(/host's name/);
  expect(RESOLVE_IN_ROOT).toBe(16);
});
