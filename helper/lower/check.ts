// Proves over a finished table what SECURITY's rules 7 and 8 demand of every launch and exec, whatever made the table. A table is read as what it is: a
// first process with the host's rights, the clone, a second process on its way into the container. Required records stand in their order, are not
// skipped by any jump and do not go on after a failure; every other record must be one that is harmless in its phase.
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.ts';
import { AT_FDCWD } from '../../proto/abi/fcntl.ts';
import { SIOCSIFFLAGS } from '../../proto/abi/if.ts';
import { MNT_DETACH } from '../../proto/abi/mount.ts';
import {
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../../proto/abi/openat2.ts';
import { PR_SET_DUMPABLE } from '../../proto/abi/prctl.ts';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_PARENT,
  CLONE_PARENT_SETTID,
} from '../../proto/abi/sched.ts';
import * as nr from '../../proto/abi/unistd.ts';
import { MASK_DIRECTORY, MASK_FILE } from './masks.ts';
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

const PIDS = CLONE_NEWPID | CLONE_NEWTIME;
const CLONED = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWCGROUP;
const OURS_OUTSIDE = /^\/(proc\/self\/oom_score_adj|root|lower|home|dev\/[^.][\w./-]*|[\w-]+)$/;
const OURS_INSIDE = new Set(['/root', '/proc', '/sys', '/proc/sys', MASK_FILE, MASK_DIRECTORY]);
const ONE_NAME = /^(?!\.{1,2}$)[^/]+$/;

const MAKING = [nr.SYS_mkdirat, nr.SYS_mknodat, nr.SYS_symlinkat];
const MOUNTING = [
  nr.SYS_fsopen,
  nr.SYS_fsconfig,
  nr.SYS_fsmount,
  nr.SYS_open_tree,
  nr.SYS_mount_setattr,
  nr.SYS_move_mount,
];
const BOTH = [
  ...MAKING,
  ...MOUNTING,
  nr.SYS_openat2,
  nr.SYS_write,
  nr.SYS_close,
  nr.SYS_prctl,
  nr.SYS_prlimit64,
  nr.SYS_umask,
  nr.SYS_setns,
];
const IDS = [nr.SYS_setgroups, nr.SYS_setresgid, nr.SYS_setresuid];
const OUTSIDE = new Set([
  ...BOTH,
  ...IDS,
  nr.SYS_fchownat,
  nr.SYS_mount,
  nr.SYS_umount2,
  nr.SYS_unshare,
  nr.SYS_clone3,
]);
const REPORTING = new Set([nr.SYS_write, nr.SYS_exit_group]);
const INSIDE = new Set([
  ...[
    ...BOTH,
    ...IDS,
    ADD,
    nr.SYS_setsid,
    nr.SYS_sethostname,
    nr.SYS_setdomainname,
    nr.SYS_socket,
    nr.SYS_ioctl,
    nr.SYS_dup3,
  ],
  ...[
    nr.SYS_sendmsg,
    nr.SYS_fstatfs,
    nr.SYS_fchdir,
    nr.SYS_pivot_root,
    nr.SYS_umount2,
    nr.SYS_close_range,
    nr.SYS_capset,
  ],
  ...[nr.SYS_rt_sigaction, nr.SYS_rt_sigprocmask],
]);
const INIT = [
  nr.SYS_rt_sigprocmask,
  nr.SYS_clone,
  nr.SYS_close_range,
  nr.SYS_capset,
  nr.SYS_rt_sigtimedwait,
  nr.SYS_kill,
];
const LAST = new Set([
  ...[
    ...INIT,
    nr.SYS_waitid,
    nr.SYS_wait4,
    ADD,
    nr.SYS_exit_group,
    nr.SYS_setsid,
    nr.SYS_ioctl,
    nr.SYS_execve,
    nr.SYS_writev,
  ],
]);

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
    checkRecord(table, record, { inside: i > clone, rooted: i > (found.get('the detached seed') ?? clone) });
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
    is: (record) => record.number === number && args.every((arg, i) => arg === undefined || record.args[i] === arg),
  });
  const joins = (what: string, fd: number, bits: (flags: number) => boolean): Required => ({
    what,
    is: ({ number, args }) => number === nr.SYS_setns && args[0] === fd && typeof args[1] === 'number' && bits(args[1]),
  });
  const joinUsers = users === undefined ? [] : [joins('the user namespace', users, (flags) => flags === CLONE_NEWUSER)];
  const root = users === undefined ? [] : [call('root of the user namespace', nr.SYS_setresuid, 0, 0, 0)];
  const enterMounts = joins('the mount namespace', mounts, (flags) => (flags & CLONE_NEWNS) !== 0);
  const clone = call('the clone', nr.SYS_clone3);
  const ways =
    kind === 'launch'
      ? [enterMounts, ...joinUsers, ...root, clone, call('the root', nr.SYS_fchdir)]
      : [clone, enterMounts, ...joinUsers, ...root];
  const dot = (number: number, what: string): Required => ({
    what,
    is: (record) =>
      record.number === number &&
      text(record.args[0]) === '.' &&
      (number === nr.SYS_pivot_root || record.args[1] === MNT_DETACH),
  });
  const inRoot: Required = {
    what: 'the working directory',
    is: ({ number, args: [at, , how] }) =>
      number === nr.SYS_openat2 &&
      at === AT_FDCWD &&
      typeof how === 'object' &&
      how.kind === 'data' &&
      bytes(how).getUint32(16, true) === (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS),
  };
  return [
    call('non-dumpable', nr.SYS_prctl, PR_SET_DUMPABLE, 0),
    ...ways,
    ...(kind === 'launch' ? [dot(nr.SYS_pivot_root, 'the new root'), dot(nr.SYS_umount2, 'the detached seed')] : []),
    call('closing descriptors', nr.SYS_close_range, 3, 0xffffffff, CLOSE_RANGE_CLOEXEC),
    inRoot,
    call('entering the working directory', nr.SYS_fchdir),
    call('the group', nr.SYS_setresgid),
    call('the user', nr.SYS_setresuid),
    call('capabilities', nr.SYS_capset),
    ...(filtered ? [call('the filter', nr.SYS_seccomp)] : []),
  ];
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

/** A record by itself: what it opens, where it attaches, which namespace it may change. */
function checkRecord(table: Table, record: Record, phase: Phase): void {
  const { shape, text } = table;
  const [first, second, third, fourth] = record.args;
  const ours = (path: string | undefined) =>
    path !== undefined && (phase.inside ? !phase.rooted && OURS_INSIDE.has(path) : OURS_OUTSIDE.test(path));
  const has = (bit: number) => (shape.made & bit) !== 0;
  const fail = (what: string) => must(false, `${record.step}: ${what}`);
  if (phase.inside && typeof first === 'number' && table.program.descriptors.has(first) && takesDescriptor(record)) {
    const joins = shape.kind === 'exec' && first === shape.mounts;
    if (!shape.kept.has(first) && !joins) fail("uses a descriptor of the helper's inside");
  }
  switch (record.number) {
    case nr.SYS_openat2:
      if (!opensSafely(table, record, phase) && !(first === AT_FDCWD && ours(text(second))))
        fail('opens without a rule');
      break;
    case nr.SYS_open_tree:
      if (first === AT_FDCWD ? !ours(text(second)) : text(second) !== '') fail('clones by a path');
      break;
    case nr.SYS_move_mount:
      if (third === AT_FDCWD ? !ours(text(fourth)) : text(fourth) !== '' || text(second) !== '')
        fail('attaches by a path');
      break;
    case nr.SYS_mkdirat:
    case nr.SYS_mknodat:
      if (first === AT_FDCWD || typeof first === 'number') fail('makes by a path');
      if (phase.inside && !ONE_NAME.test(text(second) ?? '')) fail('makes by a path');
      break;
    case nr.SYS_mount:
    case nr.SYS_umount2:
      if (!phase.inside && !ours(text(record.number === nr.SYS_mount ? second : first))) fail('mounts by a path');
      break;
    case nr.SYS_setns:
      checkJoin(table, record, phase);
      break;
    case nr.SYS_unshare:
      if (first !== CLONE_NEWTIME && first !== CLONE_NEWNS) fail('makes another namespace');
      break;
    case nr.SYS_prctl:
      if (first === PR_SET_DUMPABLE && second !== 0) fail('becomes dumpable');
      break;
    case nr.SYS_sethostname:
    case nr.SYS_setdomainname:
      if (!has(CLONE_NEWUTS)) fail("the host's name is not the container's");
      break;
    case nr.SYS_ioctl:
      if (second === SIOCSIFFLAGS && !has(CLONE_NEWNET)) fail("the host's network is not the container's");
      break;
  }
}

const TAKE_NONE = new Set([
  nr.SYS_prctl,
  nr.SYS_prlimit64,
  nr.SYS_umask,
  nr.SYS_socket,
  nr.SYS_close_range,
  nr.SYS_rt_sigaction,
  nr.SYS_kill,
  ADD,
]);
const NUMBERS = new Set([
  ...TAKE_NONE,
  ...IDS,
  nr.SYS_rt_sigprocmask,
  nr.SYS_clone,
  nr.SYS_exit_group,
  nr.SYS_waitid,
  nr.SYS_wait4,
  nr.SYS_seccomp,
  nr.SYS_close,
]);

function takesDescriptor({ number }: Record): boolean {
  return !NUMBERS.has(number);
}

/** Beneath our own file systems, or in the container's root; that alone by a path of the working directory, once it is the root. */
function opensSafely({ shape, bytes }: Table, { args: [at, , how] }: Record, phase: Phase): boolean {
  const resolve = typeof how === 'object' && how.kind === 'data' ? bytes(how).getUint32(16, true) : 0;
  const inRoot = resolve === (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (at === AT_FDCWD) return inRoot && phase.inside && (phase.rooted || shape.kind === 'exec');
  return inRoot || resolve === (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

/** The user namespace is joined last; an exec's first process joins what concerns its child only. */
function checkJoin({ shape, records }: Table, record: Record, phase: Phase): void {
  const flags = Number(record.args[1]);
  const wrong = (what: string) => must(false, `${record.step}: ${what}`);
  if (shape.kind === 'launch' && phase.inside) wrong('joins a namespace inside');
  if (shape.kind === 'exec' && (record.args[0] !== shape.mounts || (phase.inside ? flags & PIDS : flags & ~PIDS) !== 0))
    wrong('joins in the wrong process');
  const users = records.findIndex(({ number, args }) => number === nr.SYS_setns && args[1] === CLONE_NEWUSER);
  if (users >= 0 && records.indexOf(record) > users) wrong('joins after the user namespace');
}

function checkClone({ shape, bytes }: Table, clone: Record | undefined): void {
  const args = clone?.args[0];
  const flags = typeof args === 'object' && args.kind === 'data' ? Number(bytes(args).getBigUint64(0, true)) : 0;
  const wanted = shape.kind === 'launch' ? shape.made & CLONED : 0;
  must(flags === (wanted | CLONE_PARENT | CLONE_PARENT_SETTID) >>> 0, 'the clone does not make what it should');
  must(shape.kind === 'exec' || (wanted & CLONE_NEWNS) !== 0, 'no mount namespace is made');
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
