// Namespaces of other containers that a launch joins. They are found by the id of a running container of the same principal and opened as that
// process's own; it is asked afterwards whether it still lives, so that a pid that came again is never joined. All must belong to one user namespace,
// or the container would get the rights of one over what belongs to another.
import { closeSync, openSync } from 'node:fs';
import * as sched from '../../proto/abi/sched.gen.ts';
import type { CheckedLaunch } from '../decode/checked.ts';
import { pidfdSendSignal } from '../sys/processes.ts';
import { Failed } from './failed.ts';
import type { World } from './order.ts';
import type { ContainerRecord } from './records.ts';

const NAMES: ReadonlyMap<number, string> = new Map([
  [sched.CLONE_NEWUSER, 'user'],
  [sched.CLONE_NEWNET, 'net'],
  [sched.CLONE_NEWIPC, 'ipc'],
  [sched.CLONE_NEWPID, 'pid'],
  [sched.CLONE_NEWUTS, 'uts'],
  [sched.CLONE_NEWCGROUP, 'cgroup'],
]);

export type Place = { readonly firstId: number; readonly blocks: number; readonly namespaces: number };

/** The ids and namespaces of a container without a user namespace of its own; undefined for one that has. */
export function placeOf(world: World, verb: CheckedLaunch, principal: string): Place {
  const { unshare, join } = verb.namespaces;
  const own = Number(unshare);
  if ((own & sched.CLONE_NEWUSER) !== 0) return { firstId: 0, blocks: 0, namespaces: own };
  const targets = join.map(({ namespace, container }) => ({
    bit: Number(namespace),
    of: target(world, principal, container),
  }));
  const user = targets.find(({ bit }) => bit === sched.CLONE_NEWUSER)?.of;
  const { firstId, blocks } = user ?? { firstId: 0, blocks: 0 };
  const other = targets.find(({ bit, of }) => bit !== sched.CLONE_NEWCGROUP && of.firstId !== firstId);
  if (other !== undefined) throw new Failed('join namespaces', `container ${other.of.id} has another user namespace`);
  const joined = targets.reduce((bits, { bit, of }) => bits | (bit & of.namespaces), 0);
  return { firstId, blocks, namespaces: own | joined };
}

/** Opens one namespace of a container. */
export function openNamespace(world: World, record: ContainerRecord, bit: number): number {
  const pidfd = world.pidfdOf(record.id);
  if (record.run === undefined || pidfd === undefined)
    throw new Failed('join namespace', `container ${record.id} does not run`);
  const fd = openSync(`/proc/${record.run.pid}/ns/${NAMES.get(bit)}`, 'r');
  try {
    pidfdSendSignal(pidfd, 0);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Opens what the launch joins beside the user namespace; a namespace that the other shares with the host needs no joining. */
export function joinedNamespaces(
  world: World,
  verb: CheckedLaunch,
  order: { principal: string; open: DisposableStack },
): { bit: number; descriptor: number }[] {
  return verb.namespaces.join.flatMap(({ namespace, container }) => {
    const of = target(world, order.principal, container);
    const bit = Number(namespace);
    if (bit === sched.CLONE_NEWUSER || (of.namespaces & bit) === 0) return [];
    return [{ bit, descriptor: order.open.adopt(openNamespace(world, of, bit), closeSync) }];
  });
}

function target(world: World, principal: string, id: string): ContainerRecord {
  const record = world.records.find(principal, id);
  if (record === undefined || record.state !== 'running')
    throw new Failed('join namespaces', `no container ${id} of ${principal} runs`);
  return record;
}

/** The user namespace a container lives in, by its own process; undefined for the host's. */
export function openUserNamespace(world: World, record: ContainerRecord): number | undefined {
  return (record.namespaces & sched.CLONE_NEWUSER) === 0
    ? undefined
    : openNamespace(world, record, sched.CLONE_NEWUSER);
}
