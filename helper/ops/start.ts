// What launch and exec share: a lowered program is run, and its outcome becomes a record of the process or the step that failed.
import { closeSync, readFileSync } from 'node:fs';
import type { Stdio } from '../../proto/gen/berth/helper/v1/plan.ts';
import { runProgram } from '../launch/run.ts';
import type { Lowered } from '../lower/launch.ts';
import { Refused } from '../lower/program.ts';
import { pipe2 } from '../sys/descriptors.ts';
import { bootNs } from '../sys/time.ts';
import { Failed } from './failed.ts';
import type { Started } from './order.ts';
import type { OpenedStdio } from './stdio.ts';

export type ToStart = {
  /** Lowers for a status pipe's write end. */
  readonly lower: (status: number) => Lowered;
  readonly stdio: OpenedStdio;
  readonly plan: Stdio;
};

/** Runs the program to its execve; throws Failed with the step that did not work. */
export async function start({ lower, stdio, plan }: ToStart): Promise<Started> {
  const beganNs = bootNs();
  const begun = performance.now();
  const status = pipe2();
  const lowered = lowerOrClose(lower, status);
  const lowerUs = Math.round((performance.now() - begun) * 1000);
  const outcome = await runProgram(lowered.program, status, lowered.start);
  if (outcome.kind === 'failed') {
    const { failure } = outcome;
    throw new Failed(failure.step, failure.detail, { call: failure.call, errno: failure.errno });
  }
  const { pid, pidfd, startUs, programUs } = outcome;
  const run = { pid, started: startTime(pid), bootNs: String(beganNs), tty: plan.tty, stdin: plan.stdin, kept: [] };
  return { run, pidfd, held: stdio.started(), phases: { gate: 0, lower: lowerUs, start: startUs, program: programUs } };
}

function lowerOrClose(lower: ToStart['lower'], status: readonly [number, number]): Lowered {
  try {
    return lower(status[1]);
  } catch (error) {
    for (const end of status) closeSync(end);
    if (error instanceof Refused) throw new Failed(error.field, error.message, { cause: error });
    throw error;
  }
}

/** When the process was started, in clock ticks after boot; undefined for one that is no more. Source: man 5 proc_pid_stat, field 22. */
export function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return ''; // it has ended and somebody reaped it
  }
}
