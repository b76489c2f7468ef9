// What the helper knows of a request before it is judged: whether the object is the principal's and in a state that allows the verb, and the facts of
// the passed descriptors. An object of somebody else and one that does not exist give the same reason.
import * as sched from '../../proto/abi/sched.gen.ts';
import type { Reason } from '../../proto/gen/berth/helper/v1/request.ts';
import type { Seen, SeenFile } from '../../proto/policy/seen.ts';
import type { CheckedVerb } from '../decode/checked.ts';
import type { Look } from '../gate/verdict.ts';
import { asFailed } from '../ops/failed.ts';
import { bytesOf } from '../ops/layers.ts';
import type { World } from '../ops/order.ts';
import type { ContainerRecord } from '../ops/records.ts';
import { seeFile } from '../ops/seen.ts';
import type { Ticket } from './calls.ts';

const NAMESPACES = Object.entries(sched).filter(([name]) => name.startsWith('CLONE_NEW') && name !== 'CLONE_NEWNS');

/** What came with the bytes that are being judged. It is the request's if that names it. */
export type Taken = { current: Ticket | undefined };

export type LookParts = {
  readonly world: World;
  /** The helper's own directories. */
  readonly own: readonly string[];
  readonly taken: Taken;
};

/** The look of one start of the helper. */
export function newLook({ world, own, taken }: LookParts): Look {
  return (request, principal, peer) => {
    const files: SeenFile[] = [];
    if (request.ticket.length > 0) {
      const ticket = taken.current;
      if (ticket === undefined || Buffer.compare(ticket.id, request.ticket) !== 0)
        return refused('ticket', 'a ticket', 'one that was sent on a lane of this uid before');
      const isLaunch = request.verb.$case === 'launch';
      const problem = isLaunch ? seeFiles(ticket, files, world.machine.rootless) : strangeIn(ticket);
      if (problem !== undefined) return problem;
    }
    const why = stateForbids(world, principal, request.verb);
    if (why !== undefined) return refused(why.field, why.asked, why.allowed);
    return { kind: 'seen', seen: { uid: peer.uid, files, own, ...counts(world, principal, request.verb) } };
  };
}

type Refusal = ReturnType<typeof refused>;

function strangeIn({ strange }: Ticket): Refusal | undefined {
  if (!strange) return undefined;
  return refused('ticket.descriptors', 'a socket, a device, or what lies on FUSE', 'places, files and pipes');
}

/** Adds what the kernel says of each. */
function seeFiles(ticket: Ticket, files: SeenFile[], rootless: boolean): Refusal | undefined {
  for (const [i, fd] of ticket.fds.entries()) {
    try {
      files.push(seeFile(fd, rootless));
    } catch (error) {
      return refused(`ticket.descriptors[${i}]`, asFailed('', error).message, 'a file or directory that can be bound');
    }
  }
  return strangeIn(ticket);
}

function refused(field: string, asked: string, allowed: string): { kind: 'refused'; reasons: Reason[] } {
  return { kind: 'refused', reasons: [{ rule: 'state', field, asked, allowed }] };
}

function counts(
  world: World,
  principal: string,
  verb: CheckedVerb,
): Pick<Seen, 'hostNamespaces' | 'containers' | 'execs' | 'layersBytes'> {
  const own = [...world.records.all()].filter((record) => record.principal === principal);
  const other = own.filter((record) => verb.$case !== 'launch' || record.id !== verb.value.id);
  const execs = own.flatMap((record) => Object.values(record.execs));
  return {
    hostNamespaces: hostNamespaces(own, verb),
    containers: other.length,
    execs: execs.length,
    layersBytes: bytesOf(world.layers, principal),
  };
}

/** Names of the host's namespaces that the verb reaches through another container. */
function hostNamespaces(own: readonly ContainerRecord[], verb: CheckedVerb): string[] {
  const shared = (id: string, bits: number): number =>
    bits & ~(own.find((record) => record.id === id)?.namespaces ?? 0);
  let bits = 0;
  if (verb.$case === 'exec') bits = shared(verb.value.container, 0xffffffff);
  if (verb.$case === 'launch')
    for (const join of verb.value.namespaces.join) bits |= shared(join.container, Number(join.namespace));
  return NAMESPACES.filter(([, bit]) => typeof bit === 'number' && (bits & bit) !== 0).map(([name]) =>
    name.slice('CLONE_NEW'.length).toLowerCase(),
  );
}

type Why = { readonly field: string; readonly asked: string; readonly allowed: string } | undefined;
type State = ContainerRecord['state'];

/** Why the state of what the verb names does not allow it; undefined where it does. Asked again when the verb's turn comes. */
export function stateForbids(world: World, principal: string, verb: CheckedVerb): Why {
  const find = (id: string) => world.records.find(principal, id);
  const needs = (field: string, id: string, ...states: State[]): Why => {
    const state = find(id)?.state;
    if (state === undefined) return { field, asked: 'an unknown container', allowed: 'one of the principal' };
    return states.includes(state)
      ? undefined
      : { field, asked: `a container that is ${state}`, allowed: `one that is ${states.join(' or ')}` };
  };
  const layers = (field: string, ids: readonly string[]): Why => {
    const unknown = ids.find((id) => world.layers.find(id, principal) === undefined);
    return unknown === undefined
      ? undefined
      : { field, asked: unknown, allowed: 'a layer that the principal has delivered' };
  };
  switch (verb.$case) {
    case 'launch': {
      const { id, root } = verb.value;
      if (find(id) === undefined && world.records.has(id))
        return { field: 'launch.id', asked: 'an id in use', allowed: 'a new one' };
      return root.source.$case === 'image' ? layers('launch.root.image.layers', root.source.value.layers) : undefined;
    }
    case 'exec': {
      const record = find(verb.value.container);
      if (record?.frozen)
        return { field: 'exec.container', asked: 'a container that is frozen', allowed: 'one that is not' };
      if (record?.execs[verb.value.id]) return { field: 'exec.id', asked: 'an id in use', allowed: 'a new one' };
      return needs('exec.container', verb.value.container, 'running');
    }
    case 'signal':
    case 'pause':
    case 'update':
      return needs(`${verb.$case}.container`, verb.value.container, 'running');
    case 'remove':
      return needs('remove.container', verb.value.container, 'exited');
    case 'attach':
    case 'forget':
      return needs(`${verb.$case}.container`, verb.value.container, 'running', 'exited');
    case 'mergeImage':
      return layers('merge_image.layers', verb.value.layers);
    case 'dropImage':
      return layers('drop_image.layers', verb.value.layers);
    case 'dropLayer':
      return layers('drop_layer.diff_id', [verb.value.diffId]);
    case 'importLayer':
    case 'watch':
      return undefined;
    default:
      throw new TypeError(verb satisfies never);
  }
}
