// Namespaces of other containers that a launch joins. They are found by the id of a running container of the same principal and joined by the pidfd
// of its first process, which the helper has held since the start; where the namespace itself must be opened, that process is asked afterwards
// whether it still lives: a pid that came again is never joined. All must belong to one user namespace, or the container would get the rights of
// one over what belongs to another.
import { closeSync, openSync } from 'node:fs';
import { CLONE_NEWCGROUP, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import type { CheckedLaunch } from '../decode/checked.ts';
import { newUserNamespace } from '../launch/namespaces.ts';
import { duplicate } from '../sys/descriptors.ts';
import { pidfdSendSignal } from '../sys/processes.ts';
import { Failed } from './failed.ts';
import { ownIds, type Taken } from './ids.ts';
import type { Order, World } from './order.ts';
import type { ContainerRecord } from './records.ts';

type Joining = { readonly world: World; readonly order: Order<CheckedLaunch>; readonly open: DisposableStack };
type Target = { readonly bit: number; readonly record: ContainerRecord; readonly pidfd: number };

function targets(world: World, { verb, owner }: Order<CheckedLaunch>): Target[] {
  return verb.namespaces.join.map(({ namespace, container }) => {
    const record = world.records.find(owner.name, container);
    const pidfd = world.pidfdOf(container);
    if (record?.state !== 'running' || pidfd === undefined)
      throw new Failed('join namespaces', `no container ${container} of ${owner.name} runs`);
    return { bit: Number(namespace), record, pidfd };
  });
}

/** The ids and namespaces of a container without a user namespace of its own; no ids for one that has. */
export function placeOf(world: World, order: Order<CheckedLaunch>): Taken & { readonly namespaces: number } {
  const own = Number(order.verb.namespaces.unshare);
  if ((own & CLONE_NEWUSER) !== 0) return { firstId: 0, blocks: 0, namespaces: own };
  const all = targets(world, order);
  const { firstId, blocks } = all.find(({ bit }) => bit === CLONE_NEWUSER)?.record ?? { firstId: 0, blocks: 0 };
  const other = all.find(({ bit, record }) => bit !== CLONE_NEWCGROUP && record.firstId !== firstId);
  if (other !== undefined)
    throw new Failed('join namespaces', `container ${other.record.id} has another user namespace`);
  const joined = all.reduce((bits, { bit, record }) => bits | (bit & record.namespaces), 0);
  return { firstId, blocks, namespaces: own | joined };
}

/** Opens what the launch joins beside the user namespace; a namespace that the other shares with the host needs no joining. */
export function openJoined({ world, order, open }: Joining): { bit: number; descriptor: number }[] {
  const others = targets(world, order).filter(
    ({ bit, record }) => bit !== CLONE_NEWUSER && (record.namespaces & bit) !== 0,
  );
  return others.map(({ bit, pidfd }) => ({ bit, descriptor: open.adopt(duplicate(pidfd), closeSync) }));
}

/** The container's user namespace: a new one over its blocks, or the joined container's; none where it has the host's. */
export function openUsers(
  { world, order, open }: Joining,
  { namespaces, firstId }: ContainerRecord,
): number | undefined {
  if ((namespaces & CLONE_NEWUSER) === 0) return undefined;
  const count = Number(order.verb.namespaces.uidCount);
  if (count > 0) return open.adopt(newUserNamespace(ownIds(firstId, count)), closeSync);
  const other = targets(world, order).find(({ bit }) => bit === CLONE_NEWUSER);
  if (other === undefined) throw new Failed('join user namespace', 'the launch names no container for it');
  const users = open.adopt(openSync(`/proc/${other.record.run?.pid}/ns/user`, 'r'), closeSync);
  pidfdSendSignal(other.pidfd, 0);
  return users;
}
