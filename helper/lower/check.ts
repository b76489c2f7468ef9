// Proves over a finished table what SECURITY's rules 7 and 8 demand of every launch and exec, whatever made the table. A table is read as what it is: a
// first process with the host's rights, the clone, a second process on its way into the container. Required records stand in their order, are not
// skipped by any jump and do not go on after a failure; every other record must be one that is harmless in its phase.
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import { SIOCSIFFLAGS } from '../../proto/abi/if.gen.ts';
import * as opening from '../../proto/abi/openat2.gen.ts';
import { KEYCTL_JOIN_SESSION_KEYRING } from '../../proto/abi/keyctl.gen.ts';
import { PR_SET_DUMPABLE } from '../../proto/abi/prctl.gen.ts';
import * as sched from '../../proto/abi/sched.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { ADD, type Data, type Program, type Record, Refused } from './program.ts';

/** What the table is said to do; the rest is proved. */
export type Shape = {
  readonly kind: 'launch' | 'exec';
  /** Launch: the seed's descriptor. Exec: the container's pidfd. */
  readonly mounts: number;
  /** Descriptor (for an exec the pidfd again) of the user namespace that is joined last; undefined: the host's is kept. */
  readonly users: number | undefined;
  /** Whether there is a filter. */
  readonly filtered: boolean;
  /** CLONE_NEW* bits of the namespaces that are made. */
  readonly made: number;
  /** Descriptors of the helper that the second process may use: its status pipe, standard input and output. */
  readonly kept: ReadonlySet<number>;
};

const PIDS = sched.CLONE_NEWPID | sched.CLONE_NEWTIME;
/** Namespaces that a new process is cloned into; those of users and time are entered before. */
export const CLONED =
  sched.CLONE_NEWNS |
  sched.CLONE_NEWUTS |
  sched.CLONE_NEWIPC |
  sched.CLONE_NEWNET |
  sched.CLONE_NEWPID |
  sched.CLONE_NEWCGROUP;
const OURS_OUTSIDE = /^\/(proc\/self\/oom_score_adj|root|lower|home|dev\/[^.][\w./-]*|[\w-]+)$/;
const OURS_INSIDE = /^\/(proc\/sys|proc|sys|null|empty|root|lower|[df]\d+)$/;
const ONE_NAME = /^(?!\.{1,2}$)[^/]+$/;

/** The numbers of calls, by their names. */
function calls(names: string): ReadonlySet<number> {
  const all: { readonly [name: string]: unknown } = nr;
  return new Set(names.split(' ').map((name) => Number(name === 'ADD' ? ADD : (all[`SYS_${name}`] ?? Number.NaN))));
}
const BOTH =
  'mkdirat mknodat symlinkat fsopen fsconfig fsmount open_tree mount_setattr move_mount openat2 write close prctl prlimit64 umask setns setgroups setresgid setresuid umount2';
const OUTSIDE = calls(`${BOTH} fchownat keyctl mount unshare clone3`);
const REPORTING = calls('write exit_group');
const INSIDE = calls(
  `${BOTH} ADD setsid sethostname setdomainname socket ioctl dup3 sendmsg fstatfs fchdir pivot_root close_range capset rt_sigaction rt_sigprocmask`,
);
const LAST = calls(
  'execve writev exit_group prctl rt_sigprocmask clone close_range capset rt_sigtimedwait kill waitid wait4 ADD setsid ioctl',
);
/** Calls whose first argument is a descriptor that the second process works with. */
const TAKES_DESCRIPTOR = calls(
  'mkdirat mknodat symlinkat fsconfig fsmount open_tree mount_setattr move_mount openat2 write setns ioctl dup3 sendmsg fstatfs fchdir',
);

type Table = {
  readonly program: Program;
  readonly shape: Shape;
  readonly records: readonly Record[];
  readonly bytes: (data: Data) => DataView;
  readonly text: (argument: Record['args'][number] | undefined) => string | undefined;
};
/** A record that must be there; each looks on from where the one before was found. */
type Required = { readonly what: string; readonly is: (record: Record) => boolean };

/** Throws Refused with the first thing that is not as it must be. */
export function checkProgram(program: Program, shape: Shape): void {
  const table = tableOf(program, shape);
  const { records } = table;
  const clone = only(records, nr.SYS_clone3, 'the clone');
  const inside = records[clone]?.on?.[1].record ?? 0;
  must(records[clone]?.on?.[0] === 0 && inside > clone + 1, 'the second process has no place to start');
  const found = checkRequired(table, requiredOf(table));
  const last = found.get('the filter') ?? found.get('capabilities') ?? 0;
  for (const [i, record] of records.entries()) {
    const phase = i <= clone ? OUTSIDE : i < inside - 1 ? REPORTING : i <= last ? INSIDE : LAST;
    const known = phase.has(record.number) || (i === last && record.number === nr.SYS_seccomp);
    must(known, `record ${i + 1}, ${record.step}: no such call in its place`);
    must(!record.ignore || i > last, `record ${i + 1}, ${record.step}: goes on after a failure`);
    const to = record.on?.[1].record;
    must(to === undefined || i > last || to > i + 1, `record ${i + 1}, ${record.step}: jumps back`);
    must(to === undefined || i > last || to - 1 <= last + 1, `record ${i + 1}, ${record.step}: jumps past the end`);
    const rooted = i > (found.get('the detached seed') ?? clone);
    checkRecord(record, { table, args: record.args, index: i, inside: i > clone, rooted, clone });
  }
  checkClone(table, records[clone]);
  checkClosed(table, clone);
}

function tableOf(program: Program, shape: Shape): Table {
  const chunks = new Map<number, Uint8Array>();
  let at = 0;
  for (const chunk of program.chunks) {
    chunks.set(at, chunk);
    at += (chunk.length + 7) & ~7;
  }
  const bytes = ({ offset }: Data) => {
    const chunk = chunks.get(offset) ?? new Uint8Array(0);
    return new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  };
  const decoder = new TextDecoder();
  const text: Table['text'] = (argument) =>
    typeof argument === 'object' && argument.kind === 'data'
      ? decoder.decode(chunks.get(argument.offset)?.subarray(0, -1))
      : undefined;
  return { program, shape, records: program.records, bytes, text };
}

function requiredOf({ shape, text, bytes }: Table): Required[] {
  const { kind, mounts, users, filtered } = shape;
  const call = (what: string, number: number, ...args: unknown[]): Required => ({
    what,
    is: (record) => record.number === number && args.every((arg, i) => record.args[i] === arg),
  });
  const dot = (what: string, number: number): Required => ({
    what,
    is: (record) => record.number === number && text(record.args[0]) === '.',
  });
  const joinMounts: Required = {
    what: 'the mount namespace',
    is: ({ number, args }) =>
      number === nr.SYS_setns && args[0] === mounts && (Number(args[1]) & sched.CLONE_NEWNS) !== 0,
  };
  const inRoot: Required = {
    what: 'the working directory',
    is: ({ number, args: [at, , how] }) =>
      number === nr.SYS_openat2 &&
      at === AT_FDCWD &&
      resolveOf(bytes, how) === (opening.RESOLVE_IN_ROOT | opening.RESOLVE_NO_MAGICLINKS),
  };
  const clone = call('the clone', nr.SYS_clone3);
  const joinUsers = [
    call('the user namespace', nr.SYS_setns, users, sched.CLONE_NEWUSER),
    call('root of the user namespace', nr.SYS_setresuid, 0, 0, 0),
  ].filter(() => users !== undefined);
  const newRoot = [dot('the new root', nr.SYS_pivot_root), dot('the detached seed', nr.SYS_umount2)];
  return [
    call('non-dumpable', nr.SYS_prctl, PR_SET_DUMPABLE, 0),
    call('a session keyring', nr.SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0),
    ...(kind === 'launch' ? [joinMounts, ...joinUsers, clone, ...newRoot] : [clone, joinMounts, ...joinUsers]),
    call('closing descriptors', nr.SYS_close_range, 3, 0xffffffff, CLOSE_RANGE_CLOEXEC),
    inRoot,
    call('entering the working directory', nr.SYS_fchdir),
    call('the group', nr.SYS_setresgid),
    call('the user', nr.SYS_setresuid),
    call('capabilities', nr.SYS_capset),
    ...(filtered ? [call('the filter', nr.SYS_seccomp)] : []),
  ];
}

function resolveOf(bytes: Table['bytes'], how: Record['args'][number] | undefined): number {
  return typeof how === 'object' && how.kind === 'data' ? bytes(how).getUint32(16, true) : 0;
}

/** Finds each in order; gives where. */
function checkRequired({ records }: Table, required: readonly Required[]): Map<string, number> {
  const found = new Map<string, number>();
  let from = 0;
  for (const { what, is } of required) {
    const at = records.findIndex((record, i) => i >= from && is(record));
    must(at >= 0, `${what} is missing, or not in its place`);
    const skips = records.findIndex(
      ({ on, number }, i) => i < at && number !== nr.SYS_clone3 && (on?.[1].record ?? 0) > at + 1,
    );
    must(skips < 0, `record ${skips + 1} can jump over ${what}`);
    must(
      records[at]?.on === undefined || records[at]?.number === nr.SYS_clone3,
      `${what} may fail and be jumped away from`,
    );
    found.set(what, at);
    from = at + 1;
  }
  must(found.get('non-dumpable') === 0, 'non-dumpable is not the first record');
  return found;
}

type Phase = { readonly inside: boolean; readonly rooted: boolean };
/** A record in its place. */
type At = Phase & {
  readonly table: Table;
  readonly args: Record['args'];
  readonly index: number;
  readonly clone: number;
};

const textOf = ({ table, args }: At, i: number): string => table.text(args[i]) ?? '';
const made = ({ table }: At, bit: number): boolean => (table.shape.made & bit) !== 0;

/** Whether it is a path of ours, that nobody else can put anything at: outside of the launcher's mounts and the process's own, inside of the seed. */
function isOurs(at: At, i: number): boolean {
  if (at.inside) return !at.rooted && OURS_INSIDE.test(textOf(at, i));
  return OURS_OUTSIDE.test(textOf(at, i));
}

/** What must not be true of a call. */
const RULES: readonly [names: string, what: string, wrong: (at: At) => boolean][] = [
  ['openat2', 'opens without a rule', (at) => !opensSafely(at) && !(at.args[0] === AT_FDCWD && isOurs(at, 1))],
  ['open_tree', 'clones by a path', (at) => (at.args[0] === AT_FDCWD ? !isOurs(at, 1) : textOf(at, 1) !== '')],
  ['move_mount', 'attaches by a path', (at) => (at.args[2] === AT_FDCWD ? !isOurs(at, 3) : textOf(at, 3) !== '')],
  ['move_mount', 'attaches what it has not made', (at) => typeof at.args[0] !== 'object' || textOf(at, 1) !== ''],
  [
    'mkdirat mknodat',
    'makes by a path',
    (at) => typeof at.args[0] !== 'object' || (at.inside && !ONE_NAME.test(textOf(at, 1))),
  ],
  ['symlinkat', 'makes by a path', (at) => typeof at.args[1] !== 'object' || !ONE_NAME.test(textOf(at, 2))],
  ['mount', 'mounts by a path', (at) => !isOurs(at, 1)],
  ['umount2', 'unmounts by a path', (at) => (at.inside ? textOf(at, 0) !== '.' : !isOurs(at, 0))],
  ['setns', 'joins in the wrong place', joinsWrongly],
  [
    'unshare',
    'makes another namespace',
    ({ args: [flags] }) => flags !== sched.CLONE_NEWTIME && flags !== sched.CLONE_NEWNS,
  ],
  ['prctl', 'becomes dumpable', ({ args: [option, value] }) => option === PR_SET_DUMPABLE && value !== 0],
  ['sethostname setdomainname', "the host's name is not the container's", (at) => !made(at, sched.CLONE_NEWUTS)],
  [
    'ioctl',
    "the host's network is not the container's",
    (at) => at.args[1] === SIOCSIFFLAGS && !made(at, sched.CLONE_NEWNET),
  ],
];
const RULES_OF = new Map<number, (readonly [what: string, wrong: (at: At) => boolean])[]>();
for (const [names, what, wrong] of RULES)
  for (const number of calls(names)) RULES_OF.set(number, [...(RULES_OF.get(number) ?? []), [what, wrong]]);

function checkRecord(record: Record, at: At): void {
  const { program, shape } = at.table;
  const [first] = record.args;
  const helpers = typeof first === 'number' && program.descriptors.has(first) && TAKES_DESCRIPTOR.has(record.number);
  const may = helpers && (shape.kept.has(first) || (shape.kind === 'exec' && first === shape.mounts));
  must(!at.inside || !helpers || may, `${record.step}: uses a descriptor of the helper's inside`);
  // What the first process has made reaches the container through its copy of the seed alone: so it is locked. In the host's user namespace nothing is.
  const carried = record.args.some(
    (arg) => typeof arg === 'object' && arg.kind === 'result' && arg.record <= at.clone + 1,
  );
  must(!at.inside || !carried || shape.users === undefined, `${record.step}: uses what the first process has made`);
  for (const [what, wrong] of RULES_OF.get(record.number) ?? []) must(!wrong(at), `${record.step}: ${what}`);
}

/** Beneath our own file systems, or in the container's root; by the working directory only once that is the root. */
function opensSafely({ table: { shape, bytes }, args: [at, , how], inside, rooted }: At): boolean {
  const resolve = resolveOf(bytes, how);
  const inRoot = resolve === (opening.RESOLVE_IN_ROOT | opening.RESOLVE_NO_MAGICLINKS);
  if (at === AT_FDCWD) return inRoot && inside && (rooted || shape.kind === 'exec');
  return inRoot || resolve === (opening.RESOLVE_BENEATH | opening.RESOLVE_NO_SYMLINKS | opening.RESOLVE_NO_XDEV);
}

/** Nothing is joined after the user namespace, and by a launch nothing inside; an exec's first process joins what concerns its child only. */
function joinsWrongly({ table: { shape, records }, args: [target, bits], inside, index }: At): boolean {
  const users = records.findIndex(({ number, args }) => number === nr.SYS_setns && args[1] === sched.CLONE_NEWUSER);
  if (users >= 0 && index > users) return true;
  if (shape.kind === 'launch') return inside;
  return target !== shape.mounts || (Number(bits) & (inside ? PIDS : ~PIDS)) !== 0;
}

function checkClone({ shape, bytes }: Table, clone: Record | undefined): void {
  const args = clone?.args[0];
  const flags = typeof args === 'object' && args.kind === 'data' ? Number(bytes(args).getBigUint64(0, true)) : 0;
  const wanted = shape.kind === 'launch' ? shape.made & CLONED : 0;
  must(
    flags === (wanted | sched.CLONE_PARENT | sched.CLONE_PARENT_SETTID) >>> 0,
    'the clone does not make what it should',
  );
  must(shape.kind === 'exec' || (wanted & sched.CLONE_NEWNS) !== 0, 'no mount namespace is made');
}

/** What the second process may not use is closed before it exists; standard input, output and error, the program's file until then, are replaced. */
function checkClosed({ program, shape, records }: Table, clone: number): void {
  const closed = new Set(
    records.slice(0, clone).flatMap(({ number, args }) => (number === nr.SYS_close ? [args[0]] : [])),
  );
  for (const place of [0, 1, 2])
    must(
      records.some(({ number, args }) => number === nr.SYS_dup3 && args[1] === place),
      `descriptor ${place} is not replaced`,
    );
  for (const descriptor of program.descriptors) {
    const stays = shape.kept.has(descriptor) || (shape.kind === 'exec' && descriptor === shape.mounts);
    must(stays || closed.has(descriptor), `descriptor ${descriptor} is still open in the second process`);
  }
}

function only(records: readonly Record[], number: number, what: string): number {
  const at = records.findIndex((record) => record.number === number);
  must(at >= 0 && records.filter((record) => record.number === number).length === 1, `${what} must be there once`);
  return at;
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Refused('program', what);
}
