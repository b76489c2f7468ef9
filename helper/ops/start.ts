// What launch and exec share: a lowered program is run, and its outcome becomes a record of the process or the step that failed. An exec finds the
// container by its id under the principal and joins it by the pidfd of its first process, which the helper has held since the start: a pid that came
// again is never joined. The process gets what the request says within what policy allowed, never more than the container's user namespace gives.
import { closeSync, readFileSync } from 'node:fs';
import type { Stdio } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedExec } from '../decode/checked.ts';
import { runProgram } from '../launch/run.ts';
import { lowerExec } from '../lower/launch.ts';
import type { ExecHost } from '../lower/host.ts';
import type { Lowered } from '../lower/launch.ts';
import { Refused } from '../lower/program.ts';
import { pipe2 } from '../sys/descriptors.ts';
import { bootNs } from '../sys/processes.ts';
import { openGroups } from './cgroup.ts';
import { Failed } from './failed.ts';
import type { Started, StartOrder, World } from './order.ts';
import { openStdio, type Stacks } from './stdio.ts';

export type Starting = {
  readonly container: string;
  readonly stacks: Stacks;
  readonly lower: (host: Pick<ExecHost, 'machine' | 'status' | 'cgroups' | 'stdio'>) => Lowered;
};
type Verb = { readonly stdio: Stdio };

/** Runs the program to its execve; throws Failed with the step that did not work. */
export async function start(world: World, order: StartOrder<Verb>, starting: Starting): Promise<Started> {
  const { container, stacks, lower } = starting;
  const { tty, stdin } = order.verb.stdio;
  const stdio = openStdio(order.verb.stdio, stacks);
  const cgroups = openGroups(world.cgroups, container, stacks.open);
  const beganNs = bootNs();
  const begun = performance.now();
  const status = pipe2();
  const { program, start: options } = orClose(status, () =>
    lower({ machine: world.machine, status: status[1], cgroups, stdio: stdio.host }),
  );
  const lowerUs = Math.round((performance.now() - begun) * 1000);
  const outcome = await runProgram(program, status, options);
  if (outcome.kind === 'failed') throw new Failed(outcome.failure.step, outcome.failure.detail, outcome.failure);
  const { pid, pidfd, startUs, programUs } = outcome;
  const run = { pid, started: startTime(pid), bootNs: String(beganNs), tty, stdin, kept: [] };
  const phases = { gate: 0, lower: lowerUs, start: startUs, program: programUs };
  const started = { run, pidfd, held: stdio.started(), phases };
  stacks.undo.move();
  order.deliver(started);
  return started;
}

function orClose(status: readonly number[], lower: () => Lowered): Lowered {
  try {
    return lower();
  } catch (error) {
    for (const end of status) closeSync(end);
    if (error instanceof Refused) throw new Failed(error.field, error.message, { cause: error });
    throw error;
  }
}

/** When the process was started, in clock ticks after boot; empty for one that is no more. Source: man 5 proc_pid_stat, field 22. */
export function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return ''; // it has ended and somebody reaped it
  }
}

/** Executes. Throws Failed with the step that did not work, and then there is no such exec. */
export async function execInContainer(world: World, order: StartOrder<CheckedExec>): Promise<Started> {
  const { verb, owner } = order;
  const record = world.records.find(owner.name, verb.container);
  const container = world.pidfdOf(verb.container);
  if (record === undefined || container === undefined)
    throw new Failed('execute', `container ${verb.container} does not run`);
  using open = new DisposableStack();
  using undo = new DisposableStack();
  record.execs[verb.id] = {};
  undo.defer(() => delete record.execs[verb.id]);
  const lower: Starting['lower'] = (host) => lowerExec(verb, { ...host, container, namespaces: record.namespaces });
  return await start(world, order, { container: record.id, stacks: { open, undo }, lower });
}
