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
import { ADD, type Program, type Record, Refused } from './program.ts';

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

const { CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWCGROUP } = sched;
/** Namespaces that a new process is cloned into; those of users and time are entered before. */
export const CLONED = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWCGROUP;
const PIDS = CLONE_NEWPID | sched.CLONE_NEWTIME;
const IN_ROOT = opening.RESOLVE_IN_ROOT | opening.RESOLVE_NO_MAGICLINKS;
const WITHIN = opening.RESOLVE_BENEATH | opening.RESOLVE_NO_SYMLINKS | opening.RESOLVE_NO_XDEV;
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
/** Calls that change mounts; the first process makes them in its own copy of the seed. */
const MOUNTING = calls('move_mount mount umount2');
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

type Args = Record['args'];
/** A record that must be there; each looks on from where the one before was found. */
type Required = readonly [what: string, number: number, is?: (args: Args) => boolean];

/** Throws Refused with the first thing that is not as it must be. */
export function checkProgram(program: Program, shape: Shape): void {
  const { records } = program;
  const clone = records.findIndex(({ number }) => number === nr.SYS_clone3);
  const only = clone >= 0 && records.findLastIndex(({ number }) => number === nr.SYS_clone3) === clone;
  must(only, 'the clone must be there once');
  const inside = records[clone]?.on?.[1].record ?? 0;
  must(records[clone]?.on?.[0] === 0 && inside > clone + 1, 'the second process has no place to start');
  const found = checkRequired(records, requiredOf(program, shape));
  const last = found.get('the filter') ?? found.get('capabilities') ?? 0;
  const joinsUsers = ({ number, args }: Record) => number === nr.SYS_setns && args[1] === sched.CLONE_NEWUSER;
  const users = records.findIndex(joinsUsers);
  const copied = found.get('a copy of the seed') ?? records.length;
  const rootedAt = found.get('the detached seed') ?? clone;
  for (const [i, record] of records.entries()) {
    const what = `record ${i + 1}, ${record.step}`;
    const phase = i <= clone ? OUTSIDE : i < inside - 1 ? REPORTING : i <= last ? INSIDE : LAST;
    const known = phase.has(record.number) || (i === last && record.number === nr.SYS_seccomp);
    must(known, `${what}: no such call in its place`);
    must(i > copied || i > clone || !MOUNTING.has(record.number), `${what}: mounts where it is not alone`);
    const to = record.on?.[1].record ?? i + 2;
    must(!record.ignore || i > last, `${what}: goes on after a failure`);
    must(to > i + 1 || i > last, `${what}: jumps back`);
    must(to <= last + 2 || i > last, `${what}: jumps past the end`);
    const place = { inside: i > clone, rooted: i > rootedAt, joined: users >= 0 && i > users };
    checkRecord(record, { program, shape, args: record.args, clone, ...place });
  }
  checkClone(program, shape, records[clone]?.args[0]);
  checkClosed(program, shape, clone);
}

function bytesOf({ chunks }: Program, argument: Args[number] | undefined): Uint8Array {
  const none = new Uint8Array(24);
  return typeof argument === 'object' && argument.kind === 'data' ? (chunks.get(argument.offset) ?? none) : none;
}

function textOf(program: Program, argument: Args[number] | undefined): string {
  return decoder.decode(bytesOf(program, argument)).replace(/\0+$/, '');
}
const decoder = new TextDecoder();

/** The rule of an openat2. */
function resolveOf(program: Program, how: Args[number] | undefined): number {
  const { buffer, byteOffset, byteLength } = bytesOf(program, how);
  return new DataView(buffer, byteOffset, byteLength).getUint32(16, true);
}

function requiredOf(program: Program, { kind, mounts, users, filtered }: Shape): Required[] {
  const are =
    (...wanted: unknown[]) =>
    (args: Args) =>
      wanted.every((one, i) => args[i] === one);
  const isDot = ([path]: Args) => textOf(program, path) === '.';
  const isMounts = ([of, bits]: Args) => of === mounts && (Number(bits) & CLONE_NEWNS) !== 0;
  const isInRoot = ([at, , how]: Args) => at === AT_FDCWD && resolveOf(program, how) === IN_ROOT;
  const clone: Required = ['the clone', nr.SYS_clone3];
  const joins: Required[] = [['the mount namespace', nr.SYS_setns, isMounts]];
  if (kind === 'launch') joins.push(['a copy of the seed', nr.SYS_unshare, are(CLONE_NEWNS)]);
  if (users !== undefined)
    joins.push(
      ['the user namespace', nr.SYS_setns, are(users, sched.CLONE_NEWUSER)],
      ['root of the user namespace', nr.SYS_setresuid, are(0, 0, 0)],
    );
  const newRoot: Required[] = [
    ['the new root', nr.SYS_pivot_root, isDot],
    ['the detached seed', nr.SYS_umount2, isDot],
  ];
  return [
    ['non-dumpable', nr.SYS_prctl, are(PR_SET_DUMPABLE, 0)],
    ['a session keyring', nr.SYS_keyctl, are(KEYCTL_JOIN_SESSION_KEYRING, 0)],
    ...(kind === 'launch' ? [...joins, clone, ...newRoot] : [clone, ...joins]),
    ['closing descriptors', nr.SYS_close_range, are(3, 0xffffffff, CLOSE_RANGE_CLOEXEC)],
    ['the working directory', nr.SYS_openat2, isInRoot],
    ['entering the working directory', nr.SYS_fchdir],
    ['the group', nr.SYS_setresgid],
    ['the user', nr.SYS_setresuid],
    ['capabilities', nr.SYS_capset],
    ...(filtered ? [['the filter', nr.SYS_seccomp] as const] : []),
  ];
}

/** Finds each in order; gives where. */
function checkRequired(records: readonly Record[], required: readonly Required[]): Map<string, number> {
  const found = new Map<string, number>();
  let from = 0;
  for (const [what, number, is = () => true] of required) {
    const at = records.findIndex((record, i) => i >= from && record.number === number && is(record.args));
    must(at >= 0, `${what} is missing, or not in its place`);
    const skips = ({ on, number: call }: Record) => call !== nr.SYS_clone3 && (on?.[1].record ?? 0) > at + 1;
    const skipping = records.slice(0, at).findIndex(skips);
    must(skipping < 0, `record ${skipping + 1} can jump over ${what}`);
    must(number === nr.SYS_clone3 || records[at]?.on === undefined, `${what} may fail and be jumped away from`);
    found.set(what, at);
    from = at + 1;
  }
  must(found.get('non-dumpable') === 0, 'non-dumpable is not the first record');
  return found;
}

/** A record in its place. */
type At = Phase & { readonly program: Program; readonly shape: Shape; readonly args: Args; readonly clone: number };
/** In the second process; after the seed is gone; after the user namespace is joined. */
type Phase = { readonly inside: boolean; readonly rooted: boolean; readonly joined: boolean };

const nameOf = ({ program, args }: At, i: number): string => textOf(program, args[i]);
const isMade = ({ shape }: At, bit: number): boolean => (shape.made & bit) !== 0;
/** Whether it is a path of ours, that nobody else can put anything at: outside of the launcher's mounts and the process's own, inside of the seed. */
const isOurs = (at: At, i: number): boolean =>
  at.inside ? !at.rooted && OURS_INSIDE.test(nameOf(at, i)) : OURS_OUTSIDE.test(nameOf(at, i));
const isDescriptor = ({ args }: At, i: number): boolean => typeof args[i] === 'object';

/** What must not be true of a call. */
const RULES: readonly (readonly [names: string, what: string, wrong: (at: At) => boolean])[] = [
  ['openat2', 'opens without a rule', (at) => !opensSafely(at) && !(at.args[0] === AT_FDCWD && isOurs(at, 1))],
  ['open_tree', 'clones by a path', (at) => (at.args[0] === AT_FDCWD ? !isOurs(at, 1) : nameOf(at, 1) !== '')],
  ['move_mount', 'attaches by a path', (at) => (at.args[2] === AT_FDCWD ? !isOurs(at, 3) : nameOf(at, 3) !== '')],
  ['move_mount', 'attaches what it has not made', (at) => !isDescriptor(at, 0) || nameOf(at, 1) !== ''],
  ['mkdirat mknodat', 'makes by a path', (at) => !isDescriptor(at, 0) || (at.inside && !ONE_NAME.test(nameOf(at, 1)))],
  ['symlinkat', 'makes by a path', (at) => !isDescriptor(at, 1) || !ONE_NAME.test(nameOf(at, 2))],
  ['mount', 'mounts by a path', (at) => !isOurs(at, 1)],
  ['umount2', 'unmounts by a path', (at) => (at.inside ? nameOf(at, 0) !== '.' : !isOurs(at, 0))],
  ['setns', 'joins in the wrong place', joinsWrongly],
  ['unshare', 'makes another namespace', ({ args: [bit] }) => bit !== sched.CLONE_NEWTIME && bit !== CLONE_NEWNS],
  ['prctl', 'becomes dumpable', ({ args: [option, value] }) => option === PR_SET_DUMPABLE && value !== 0],
  ['sethostname setdomainname', "the host's name is not the container's", (at) => !isMade(at, CLONE_NEWUTS)],
  ['ioctl', "the host's network is not ours", (at) => at.args[1] === SIOCSIFFLAGS && !isMade(at, CLONE_NEWNET)],
];
const RULES_OF = new Map<number, (readonly [what: string, wrong: (at: At) => boolean])[]>();
for (const [names, ...rule] of RULES)
  for (const number of calls(names)) RULES_OF.set(number, [...(RULES_OF.get(number) ?? []), rule]);

function checkRecord({ number, step }: Record, at: At): void {
  const { program, shape, args, clone, inside } = at;
  const [first] = args;
  const helpers = typeof first === 'number' && program.descriptors.has(first) && TAKES_DESCRIPTOR.has(number);
  must(!inside || !helpers || stays(shape, first), `${step}: uses a descriptor of the helper's inside`);
  // What the first process has made reaches the container through its copy of the seed alone: so it is locked. In the host's user namespace nothing is.
  const carried = args.some((arg) => typeof arg === 'object' && arg.kind === 'result' && arg.record <= clone + 1);
  must(!inside || !carried || shape.users === undefined, `${step}: uses what the first process has made`);
  for (const [what, wrong] of RULES_OF.get(number) ?? []) must(!wrong(at), `${step}: ${what}`);
}

/** Beneath our own file systems, or in the container's root; by the working directory only once that is the root. */
function opensSafely({ program, shape, args: [at, , how], inside, rooted }: At): boolean {
  const resolve = resolveOf(program, how);
  if (at === AT_FDCWD) return resolve === IN_ROOT && inside && (rooted || shape.kind === 'exec');
  return resolve === IN_ROOT || resolve === WITHIN;
}

/** Nothing is joined after the user namespace, and by a launch nothing inside; an exec's first process joins what concerns its child only. */
function joinsWrongly({ shape, args: [target, bits], inside, joined }: At): boolean {
  if (joined || shape.kind === 'launch') return joined || inside;
  return target !== shape.mounts || (Number(bits) & (inside ? PIDS : ~PIDS)) !== 0;
}

function checkClone(program: Program, { kind, made }: Shape, args: Args[number] | undefined): void {
  const { buffer, byteOffset } = bytesOf(program, args);
  const flags = new DataView(buffer, byteOffset).getBigUint64(0, true);
  const wanted = kind === 'launch' ? made & CLONED : 0;
  const all = (wanted | sched.CLONE_PARENT | sched.CLONE_PARENT_SETTID) >>> 0;
  must(flags === BigInt(all), 'the clone does not make what it should');
  must(kind === 'exec' || (wanted & CLONE_NEWNS) !== 0, 'no mount namespace is made');
}

/** Whether the second process may have it: its status pipe, standard input and output, and of an exec the container's pidfd. */
function stays({ kept, kind, mounts }: Shape, descriptor: number): boolean {
  return kept.has(descriptor) || (kind === 'exec' && descriptor === mounts);
}

/** What the second process may not use is closed before it exists; standard input, output and error, the program's file until then, are replaced. */
function checkClosed({ descriptors, records }: Program, shape: Shape, clone: number): void {
  const dups = records.filter(({ number }) => number === nr.SYS_dup3);
  const replaced = new Set(dups.map(({ args }) => args[1]));
  for (const place of [0, 1, 2]) must(replaced.has(place), `descriptor ${place} is not replaced`);
  const closes = records.slice(0, clone).filter(({ number }) => number === nr.SYS_close);
  const closed = new Set(closes.map(({ args }) => args[0]));
  for (const one of descriptors)
    must(stays(shape, one) || closed.has(one), `descriptor ${one} is still open in the second process`);
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Refused('program', what);
}
