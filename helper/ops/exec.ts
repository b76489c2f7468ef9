// Starts a process in a running container. The container is found by its id under the principal and joined by the pidfd of its first process, which
// the helper has held since the start: a pid that came again is never joined. The process gets what the request says within what policy allowed,
// never more than the container's user namespace gives.
import type { CheckedExec } from '../decode/checked.ts';
import { lowerExec } from '../lower/exec.ts';
import { openGroups } from './cgroup.ts';
import { Failed } from './failed.ts';
import type { Started, StartOrder, World } from './order.ts';
import { start } from './start.ts';
import { openStdio } from './stdio.ts';

/** Executes. Throws Failed with the step that did not work, and then there is no such exec. */
export async function execInContainer(
  world: World,
  { verb, owner, deliver }: StartOrder<CheckedExec>,
): Promise<Started> {
  const record = world.records.find(owner.name, verb.container);
  const container = world.pidfdOf(verb.container);
  if (record === undefined || container === undefined)
    throw new Failed('execute', `container ${verb.container} does not run`);
  using open = new DisposableStack();
  using undo = new DisposableStack();
  record.execs[verb.id] = {};
  undo.defer(() => delete record.execs[verb.id]);
  const stdio = openStdio(verb.stdio, { open, undo });
  const cgroups = openGroups(world.cgroups, verb.container, open);
  const host = { machine: world.machine, container, namespaces: record.namespaces, cgroups, stdio: stdio.host };
  const started = await start({
    lower: (status) => lowerExec(verb, { ...host, status }),
    stdio,
    plan: verb.stdio,
  });
  undo.move();
  deliver(started);
  return started;
}
