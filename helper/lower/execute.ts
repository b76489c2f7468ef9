// The end of the second process's program: the user's program is executed, from the first of the candidates that can be, or the failures of all of them
// are reported. With `init`, the process stays instead as PID 1 in this program, which reaps, passes signals on and ends as its child does, and the
// child executes; by then both have given up everything, and PID 1's memory belongs to the host's user namespace.
import { CLONE_PARENT_SETTID } from '../../proto/abi/sched.gen.ts';
import { SIG_SETMASK, SIGCHLD, SIGSET_BYTES } from '../../proto/abi/signal.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import * as waiting from '../../proto/abi/wait.gen.ts';
import type { CheckedProcess } from '../decode/checked.ts';
import { FIELD, REPORT_BYTES } from './encode.ts';
import { setCapabilities } from './identity.ts';
import { ADD, newLabel, type Program, type Slot, u64, type Word, within } from './program.ts';
import { controlTerminal } from './stdio.ts';

/** Executes; the last records of a program. */
export function lowerExecute(program: Program, user: CheckedProcess): void {
  const argv = program.strings(user.argv);
  const env = program.strings(user.env);
  const reports = user.executables.map((file): Slot => {
    const label = newLabel();
    program.here(label);
    program.call(nr.SYS_execve, [file, argv, env], { step: `execute ${file}`, ignore: true });
    // Each record's own number and result are a report as the launcher would write it.
    return { kind: 'slot', label, field: FIELD.index };
  });
  const lengths = u64(...reports.flatMap(() => [0, REPORT_BYTES]));
  const vectors = program.data(
    lengths,
    reports.map((report, i) => [16 * i, report]),
  );
  program.call(nr.SYS_writev, [program.status, vectors, reports.length], { ignore: true });
  program.call(nr.SYS_exit_group, [127]);
}

/** Makes the user's program a child of this process, which is PID 1 and stays. The child goes on with the next record. */
export function lowerInit(program: Program, user: CheckedProcess, tty: boolean): void {
  const [child, loop, reap] = [newLabel(), newLabel(), newLabel()];
  const [ended, exited, isMain] = [newLabel(), newLabel(), newLabel()];
  const all = program.data(u64(-1));
  const info = program.scratch;
  const word = (at: number): Word => ({ kind: 'word', data: within(info, at) });
  // Blocked signals are kept even for PID 1, which without a handler would never see them.
  const starting = program.during('start init');
  starting.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, all, 0, SIGSET_BYTES]);
  const pidAt: Slot = { kind: 'slot', label: isMain, field: FIELD.match };
  const pid = starting.call(nr.SYS_clone, [CLONE_PARENT_SETTID | SIGCHLD, 0, pidAt, 0, 0], { on: [0, child] });
  program.call(nr.SYS_close_range, [3, 0xffffffff, 0], { ignore: true }); // the status pipe above all
  setCapabilities(program, user.capabilities, 0n);

  program.here(loop);
  const signal = program.call(nr.SYS_rt_sigtimedwait, [all, 0, 0, SIGSET_BYTES], { ignore: true, on: [SIGCHLD, reap] });
  program.call(nr.SYS_kill, [pid, signal], { ignore: true });
  program.jump(loop);

  program.here(reap);
  const looks = waiting.WEXITED | waiting.WNOHANG | waiting.WNOWAIT;
  program.call(nr.SYS_waitid, [waiting.P_ALL, 0, info, looks, 0], { ignore: true });
  program.here(isMain);
  program.call(ADD, [word(waiting.SI_PID_AT), 0], { on: [UNKNOWN_PID, ended] });
  program.call(ADD, [word(waiting.SI_PID_AT), 0], { on: [0, loop] });
  program.call(nr.SYS_wait4, [word(waiting.SI_PID_AT), 0, waiting.WNOHANG, 0], { ignore: true });
  program.jump(reap);

  program.here(ended);
  program.call(ADD, [word(waiting.SI_CODE_AT), 0], { on: [waiting.CLD_EXITED, exited] });
  const code = program.call(ADD, [word(waiting.SI_STATUS_AT), 128]);
  program.call(nr.SYS_exit_group, [code]);
  program.here(exited);
  program.call(nr.SYS_exit_group, [word(waiting.SI_STATUS_AT)]);

  program.here(child);
  if (tty) {
    program.call(nr.SYS_setsid, [], { step: 'start a session' });
    controlTerminal(program);
  }
  program.call(nr.SYS_rt_sigprocmask, [SIG_SETMASK, program.data(u64(0)), 0, SIGSET_BYTES], { step: 'reset signals' });
}

/** No pid, and its upper half is zero as in the pid that the kernel writes over it. */
const UNKNOWN_PID = 0xffffffff;
