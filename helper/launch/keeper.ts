// The keeper, and the helper's side of it: giving it descriptors, taking them back after a restart, and becoming it. Numbers of kept descriptors stay the
// same from keeper to keeper, so what is written down about them stays true.
//
// The keeper itself is a program of the launcher: the helper's parent, a few kilobytes, two threads of one table of records. The first starts the helper,
// waits for any child, appends what it saw to the file of exits and only then reaps; the helper itself it starts again, unless that ended with 0, which
// ends the keeper too. The second takes descriptors from the helper and closes them again when told to. It reads nothing else and decides nothing.
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { EAGAIN, ECHILD } from '../../proto/abi/errno.gen.ts';
import * as files from '../../proto/abi/fcntl.gen.ts';
import { PR_SET_CHILD_SUBREAPER } from '../../proto/abi/prctl.gen.ts';
import { RLIMIT_NOFILE } from '../../proto/abi/resource.gen.ts';
import * as sched from '../../proto/abi/sched.gen.ts';
import { SIG_SETMASK, SIGCHLD, SIGSET_BYTES, SIGTERM } from '../../proto/abi/signal.gen.ts';
import { CMSGHDR_BYTES, MSG_CMSG_CLOEXEC, MSGHDR_BYTES, SOCK_SEQPACKET } from '../../proto/abi/socket.gen.ts';
import { CLOCK_BOOTTIME } from '../../proto/abi/time.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import * as waiting from '../../proto/abi/wait.gen.ts';
import { encodeProgram, FIELD, PROGRAM_BASE } from '../lower/encode.ts';
import { lowerUndumpable } from '../lower/namespaces.ts';
import { ADD, createProgram, type Data, newLabel, type Program, u32, u64, within } from '../lower/program.ts';
import { dup3, fcntl } from '../sys/descriptors.ts';
import { SysError } from '../sys/error.ts';
import { closeRange, executeDescriptor, pidfdGetfd, pidfdOpen } from '../sys/processes.ts';
import { sendDescriptors, socketpair } from '../sys/sockets.ts';
import { ARCH, sealedMemfd, theLauncher } from './child.ts';

export type Keeper = ReturnType<typeof connectKeeper>;

/** Kept descriptors have numbers from here on, above what the keeper itself has. */
const FIRST_KEPT = 1024;
const KEEPER_SOCKET = 3;
/** What a helper started by the keeper finds open: its end of the keeper's socket, and the file of exits. */
export const KEPT_SOCKET = 4;
export const KEPT_EXITS = 5;

/** Connects to the keeper, our parent, which has started us; `used`: numbers of what it keeps by what is written down. */
export function connectKeeper(used: Iterable<number>) {
  for (const inherited of [KEPT_SOCKET, KEPT_EXITS]) fcntl(inherited, files.F_SETFD, files.FD_CLOEXEC);
  const pid = process.ppid;
  const pidfd = pidfdOpen(pid);
  const numbers = new Set(used);
  const send = (number: number, descriptors: readonly number[]): void => {
    if (!sendDescriptors(KEPT_SOCKET, u32(number), descriptors))
      throw new SysError('sendmsg', 'the keeper does not answer', EAGAIN);
  };
  return {
    pid,
    /** Readable when the keeper has ended: then become it. */
    pidfd,
    /** Keeps a duplicate of the descriptor; gives its number in the keeper. */
    keep(descriptor: number): number {
      let number = FIRST_KEPT;
      while (numbers.has(number)) number++;
      send(number, [descriptor]);
      numbers.add(number);
      return number;
    },
    /** Closes a kept descriptor. */
    release(number: number): void {
      if (numbers.delete(number)) send(number, []);
    },
    /** A duplicate of a kept descriptor. Throws SysError (EBADF) for a number under which nothing is kept. */
    fetch: (number: number): number => pidfdGetfd(pidfd, number),
  };
}

export type Becoming = {
  /** Node, and how it is to be called. */
  readonly file: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** Our descriptor of the file of exits. */
  readonly exits: number;
  /** What is to be kept: our descriptor by its number in the keeper. */
  readonly held: ReadonlyMap<number, number>;
};

/**
 * Executes the keeper's program in our own place: children and what is held stay, a new helper is started. For the first start and after the keeper
 * was killed. Does not return; where it throws, the process is no longer fit for anything and must end.
 */
export function becomeKeeper(becoming: Becoming): never {
  const [keepers, helpers] = socketpair(SOCK_SEQPACKET);
  const memfd = sealedMemfd('berth-keeper', encodeProgram(keeperProgram(becoming), { arch: ARCH }), 0);
  const places = new Map(becoming.held).set(0, memfd).set(KEEPER_SOCKET, keepers);
  places.set(KEPT_SOCKET, helpers).set(KEPT_EXITS, becoming.exits);
  // All are moved above every place first: none is overwritten on the way to its own.
  const above = Math.max(FIRST_KEPT, ...places.keys()) + 1;
  const moved = [...places].map(([number, fd]) => [number, fcntl(fd, files.F_DUPFD_CLOEXEC, above)] as const);
  const launcher = fcntl(theLauncher().fd, files.F_DUPFD_CLOEXEC, above);
  closeRange(1, 0xffffffff, CLOSE_RANGE_CLOEXEC);
  for (const [number, fd] of moved) dup3(fd, number, 0);
  for (const standard of [1, 2]) fcntl(standard, files.F_SETFD, 0);
  return executeDescriptor(launcher, files.AT_EMPTY_PATH);
}

/** Bytes of an entry in the file of exits: siginfo_t, then the boot clock's seconds and nanoseconds. */
const ENTRY_BYTES = waiting.SIGINFO_BYTES + 16;
const DESCRIPTORS_MAX = 1 << 20;
/** Between the helper's end and its next start, so that one that cannot start does not eat a processor. */
const RESTART_NS = 200_000_000;

/** struct clone_args. */
const cloneArgs = (flags: number, signal = 0) => u64(flags, 0, 0, 0, signal, 0, 0, 0, 0, 0, 0);

function keeperProgram(becoming: Becoming): Program {
  const program = createProgram(-1);
  const inherited = [KEPT_SOCKET, KEPT_EXITS];
  for (const descriptor of [1, 2, KEEPER_SOCKET, ...inherited, ...becoming.held.keys()]) program.use(descriptor);
  lowerUndumpable(program);
  program.call(nr.SYS_prctl, [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0]);
  program.call(nr.SYS_close_range, [3, 0xffffffff, CLOSE_RANGE_CLOEXEC]);
  for (const descriptor of inherited) program.call(nr.SYS_fcntl, [descriptor, files.F_SETFD, 0]);
  const blocked = program.data(u64(~(1n << BigInt(SIGTERM - 1))));
  program.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, blocked, 0, SIGSET_BYTES]);
  const most = program.data(u64(DESCRIPTORS_MAX, DESCRIPTORS_MAX));
  program.call(nr.SYS_prlimit64, [0, RLIMIT_NOFILE, most, 0], { ignore: true });
  const holder = newLabel();
  const shared = sched.CLONE_VM | sched.CLONE_FS | sched.CLONE_FILES | sched.CLONE_SIGHAND | sched.CLONE_THREAD;
  const thread = program.data(cloneArgs(shared));
  program.call(nr.SYS_clone3, [thread, sched.CLONE_ARGS_SIZE_VER2], { on: [0, holder] });
  waitForChildren(program, becoming);
  program.here(holder);
  holdDescriptors(program);
  return program;
}

function waitForChildren(program: Program, { file, argv, env }: Becoming): void {
  const [start, pause, wait] = [newLabel(), newLabel(), newLabel()];
  const [isHelper, helperEnded, child] = [newLabel(), newLabel(), newLabel()];
  const entry = program.data(new Uint8Array(ENTRY_BYTES));
  const pid = wordOf(entry, waiting.SI_PID_AT);
  program.here(start);
  const helperPid = { kind: 'slot', label: isHelper, field: FIELD.match } as const;
  const fork = program.data(cloneArgs(sched.CLONE_PARENT_SETTID, SIGCHLD), [[24, helperPid]]);
  program.call(nr.SYS_clone3, [fork, sched.CLONE_ARGS_SIZE_VER2], { ignore: true, on: [0, child] });

  program.here(wait);
  const ended = [waiting.P_ALL, 0, entry, waiting.WEXITED | waiting.WNOWAIT, 0];
  program.call(nr.SYS_waitid, ended, { ignore: true, on: [-ECHILD, pause] });
  program.call(nr.SYS_clock_gettime, [CLOCK_BOOTTIME, within(entry, waiting.SIGINFO_BYTES)], { ignore: true });
  program.call(nr.SYS_write, [KEPT_EXITS, entry, ENTRY_BYTES], { ignore: true });
  program.call(nr.SYS_wait4, [pid, 0, 0, 0], { ignore: true });
  program.here(isHelper);
  program.call(ADD, [pid, 0], { on: [UNKNOWN_PID, helperEnded] });
  program.jump(wait);

  program.here(helperEnded);
  const cleanly = newLabel();
  program.call(ADD, [wordOf(entry, waiting.SI_STATUS_AT), 0], { on: [0, cleanly] }); // a signal's number is never 0
  program.jump(pause);
  program.here(cleanly);
  program.call(nr.SYS_exit_group, [0]);
  program.here(pause);
  program.call(nr.SYS_nanosleep, [program.data(u64(0, RESTART_NS)), 0], { ignore: true });
  program.jump(start);

  program.here(child);
  program.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, program.data(u64(0)), 0, SIGSET_BYTES]);
  const nothing = program.call(nr.SYS_openat, [files.AT_FDCWD, '/dev/null', files.O_RDWR | files.O_CLOEXEC]);
  program.call(nr.SYS_dup3, [nothing, 0, 0]);
  program.call(nr.SYS_execve, [file, program.strings(argv), program.strings(env)]);
}

/** No pid, and its upper half is zero as in the pid that the kernel writes over it. */
const UNKNOWN_PID = 0xffffffff;

/** A message is a number: with a descriptor, keep it under that number; without, close the number. */
function holdDescriptors(program: Program): void {
  const [loop, release] = [newLabel(), newLabel()];
  const number = program.data(new Uint8Array(8));
  const control = program.data(new Uint8Array(CMSGHDR_BYTES + 8));
  const vector = program.data(u64(0, 4), [[0, number]]);
  const fresh = u64(0, 0, 0, 1, 0, control.length, 0);
  const message = program.data(fresh, [
    [16, vector],
    [32, control],
  ]);
  // recvmsg overwrites the room for control data with what it used; the program's file still has it as it was.
  const inFile = program.call(ADD, [message, -PROGRAM_BASE]);
  program.here(loop);
  program.call(nr.SYS_pread64, [0, message, MSGHDR_BYTES, inFile]);
  program.call(nr.SYS_recvmsg, [KEEPER_SOCKET, message, MSG_CMSG_CLOEXEC], { ignore: true });
  program.call(ADD, [wordOf(message, 40), 0], { on: [0, release] });
  const received = wordOf(control, CMSGHDR_BYTES);
  program.call(nr.SYS_dup3, [received, wordOf(number, 0), files.O_CLOEXEC], { ignore: true });
  program.call(nr.SYS_close, [received], { ignore: true });
  program.jump(loop);
  program.here(release);
  program.call(nr.SYS_close, [wordOf(number, 0)], { ignore: true });
  program.jump(loop);
}

const wordOf = (data: Data, at: number) => ({ kind: 'word', data: within(data, at) }) as const;
