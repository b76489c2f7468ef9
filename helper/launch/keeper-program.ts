// The keeper as a program of the launcher: the helper's parent, a few kilobytes, two threads of one table of records. The first starts the helper, waits
// for any child, appends what it saw to the file of exits and only then reaps; the helper itself it starts again, unless that ended with 0, which
// ends the keeper too. The second takes descriptors from the helper and closes them again when told to. It reads nothing else and decides nothing.
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { ECHILD } from '../../proto/abi/errno.gen.ts';
import { AT_FDCWD, F_SETFD, O_CLOEXEC, O_RDWR } from '../../proto/abi/fcntl.gen.ts';
import { PR_SET_CHILD_SUBREAPER } from '../../proto/abi/prctl.gen.ts';
import { RLIMIT_NOFILE } from '../../proto/abi/resource.gen.ts';
import * as sched from '../../proto/abi/sched.gen.ts';
import { SIG_SETMASK, SIGCHLD, SIGSET_BYTES, SIGTERM } from '../../proto/abi/signal.gen.ts';
import { CMSGHDR_BYTES, MSG_CMSG_CLOEXEC, MSGHDR_BYTES } from '../../proto/abi/socket.gen.ts';
import { CLOCK_BOOTTIME } from '../../proto/abi/time.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import * as waiting from '../../proto/abi/wait.gen.ts';
import { FIELD, PROGRAM_BASE } from '../lower/encode.ts';
import { lowerUndumpable } from '../lower/namespaces.ts';
import {
  ADD,
  createProgram,
  type Data,
  newLabel,
  type Program,
  type Slot,
  u64,
  type Word,
  within,
} from '../lower/program.ts';

export type KeeperPlan = {
  /** Node, and how it is to be called. */
  readonly file: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** The keeper's end, and the helper's, which the helper inherits under the same number. */
  readonly sockets: readonly [keeper: number, helper: number];
  /** The file of exits, open for appending; the helper inherits it. */
  readonly exits: number;
  /** Numbers under which descriptors are kept already. */
  readonly held: readonly number[];
};

/** Bytes of an entry in the file of exits: siginfo_t, then the boot clock's seconds and nanoseconds. */
const ENTRY_BYTES = waiting.SIGINFO_BYTES + 16;
const DESCRIPTORS_MAX = 1 << 20;
/** Between the helper's end and its next start, so that one that cannot start does not eat a processor. */
const RESTART_NS = 200_000_000;

/** The keeper's program. */
export function keeperProgram(plan: KeeperPlan): Program {
  const program = createProgram(-1);
  for (const descriptor of [1, 2, ...plan.sockets, plan.exits, ...plan.held]) program.use(descriptor);
  lowerUndumpable(program);
  program.call(nr.SYS_prctl, [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0]);
  program.call(nr.SYS_close_range, [3, 0xffffffff, CLOSE_RANGE_CLOEXEC]);
  for (const descriptor of [plan.sockets[1], plan.exits]) program.call(nr.SYS_fcntl, [descriptor, F_SETFD, 0]);
  const blocked = program.data(u64(~(1n << BigInt(SIGTERM - 1))));
  program.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, blocked, 0, SIGSET_BYTES]);
  program.call(nr.SYS_prlimit64, [0, RLIMIT_NOFILE, program.data(u64(DESCRIPTORS_MAX, DESCRIPTORS_MAX)), 0], {
    ignore: true,
  });
  const holder = newLabel();
  const thread = u64(
    sched.CLONE_VM | sched.CLONE_FS | sched.CLONE_FILES | sched.CLONE_SIGHAND | sched.CLONE_THREAD,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  );
  program.call(nr.SYS_clone3, [program.data(thread), sched.CLONE_ARGS_SIZE_VER2], { on: [0, holder] });
  waitForChildren(program, plan);
  program.here(holder);
  holdDescriptors(program, plan.sockets[0]);
  return program;
}

function waitForChildren(program: Program, plan: KeeperPlan): void {
  const [start, pause, wait, isHelper, helperEnded, child] = [
    newLabel(),
    newLabel(),
    newLabel(),
    newLabel(),
    newLabel(),
    newLabel(),
  ];
  const entry = program.data(new Uint8Array(ENTRY_BYTES));
  const pid = wordOf(entry, waiting.SI_PID_AT);
  program.here(start);
  const helperPid: Slot = { kind: 'slot', label: isHelper, field: FIELD.match };
  const fork = program.data(u64(sched.CLONE_PARENT_SETTID, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0), [[24, helperPid]]);
  program.call(nr.SYS_clone3, [fork, sched.CLONE_ARGS_SIZE_VER2], { ignore: true, on: [0, child] });

  program.here(wait);
  program.call(nr.SYS_waitid, [waiting.P_ALL, 0, entry, waiting.WEXITED | waiting.WNOWAIT, 0], {
    ignore: true,
    on: [-ECHILD, pause],
  });
  program.call(nr.SYS_clock_gettime, [CLOCK_BOOTTIME, within(entry, waiting.SIGINFO_BYTES)], { ignore: true });
  program.call(nr.SYS_write, [plan.exits, entry, ENTRY_BYTES], { ignore: true });
  program.call(nr.SYS_wait4, [pid, 0, 0, 0], { ignore: true });
  program.here(isHelper);
  program.call(ADD, [pid, 0], { on: [UNKNOWN_PID, helperEnded] });
  program.jump(wait);

  program.here(helperEnded);
  const restart = newLabel();
  const cleanly = newLabel();
  program.call(ADD, [wordOf(entry, waiting.SI_STATUS_AT), 0], { on: [0, cleanly] }); // a signal's number is never 0
  program.jump(restart);
  program.here(cleanly);
  program.call(nr.SYS_exit_group, [0]);
  program.here(restart);
  program.here(pause);
  program.call(nr.SYS_nanosleep, [program.data(u64(0, RESTART_NS)), 0], { ignore: true });
  program.jump(start);

  program.here(child);
  program.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, program.data(u64(0)), 0, SIGSET_BYTES]);
  const nothing = program.call(nr.SYS_openat, [AT_FDCWD, '/dev/null', O_RDWR | O_CLOEXEC]);
  program.call(nr.SYS_dup3, [nothing, 0, 0]);
  program.call(nr.SYS_execve, [plan.file, program.strings(plan.argv), program.strings(plan.env)]);
}

/** No pid, and its upper half is zero as in the pid that the kernel writes over it. */
const UNKNOWN_PID = 0xffffffff;

/** A message is a number: with a descriptor, keep it under that number; without, close the number. */
function holdDescriptors(program: Program, socket: number): void {
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
  program.call(nr.SYS_recvmsg, [socket, message, MSG_CMSG_CLOEXEC], { ignore: true });
  program.call(ADD, [wordOf(message, 40), 0], { on: [0, release] });
  const received = wordOf(control, CMSGHDR_BYTES);
  program.call(nr.SYS_dup3, [received, wordOf(number, 0), O_CLOEXEC], { ignore: true });
  program.call(nr.SYS_close, [received], { ignore: true });
  program.jump(loop);
  program.here(release);
  program.call(nr.SYS_close, [wordOf(number, 0)], { ignore: true });
  program.jump(loop);
}

function wordOf(data: Data, at: number): Word {
  return { kind: 'word', data: within(data, at) };
}
