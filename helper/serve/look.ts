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

/** What is asked does not go with the state of what it names. */
export class StateForbids extends Error {
  readonly reason: Reason;
  constructor(field: string, asked: string, allowed: string) {
    super(`${field}: ${asked}`);
    this.reason = { rule: 'state', field, asked, allowed };
  }
}

/** The look of one start of the helper. */
export function newLook({ world, own, taken }: LookParts): Look {
  return ({ ticket, verb }, principal, peer) => {
    try {
      const came = ticket.length === 0 ? undefined : checkTicket(ticket, taken.current);
      const { rootless } = world.machine;
      const files = verb.$case === 'launch' ? (came?.fds ?? []).map((fd, i) => seeNumbered(fd, i, rootless)) : [];
      checkState(world, principal, verb);
      return { kind: 'seen', seen: { uid: peer.uid, files, own, ...counts(world, principal, verb) } };
    } catch (error) {
      if (error instanceof StateForbids) return { kind: 'refused', reasons: [error.reason] };
      throw error;
    }
  };
}

function checkTicket(id: Uint8Array, came: Ticket | undefined): Ticket {
  if (came === undefined || Buffer.compare(came.id, id) !== 0)
    throw new StateForbids('ticket', 'a ticket', 'one that was sent on a lane of this uid before');
  if (!came.strange) return came;
  const asked = 'a socket, a device, or what lies on FUSE';
  throw new StateForbids('ticket.descriptors', asked, 'places, files and pipes');
}

function seeNumbered(fd: number, i: number, rootless: boolean): SeenFile {
  try {
    return seeFile(fd, rootless);
  } catch (error) {
    const { message } = asFailed('', error);
    throw new StateForbids(`ticket.descriptors[${i}]`, message, 'a file or directory that can be bound');
  }
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

/** States in which a container can be asked for something; none where the verb asks no container that is there. */
const STATES = {
  launch: [],
  exec: ['running'],
  signal: ['running'],
  pause: ['running'],
  update: ['running'],
  remove: ['exited'],
  attach: ['running', 'exited'],
  forget: ['running', 'exited'],
  importLayer: [],
  mergeImage: [],
  dropLayer: [],
  dropImage: [],
  watch: [],
} as const satisfies Record<CheckedVerb['$case'], readonly ContainerRecord['state'][]>;

/** Throws where the state of what the verb names does not allow it. Asked again when the verb's turn comes. */
export function checkState(world: World, principal: string, verb: CheckedVerb): void {
  const id = containerOf(verb) ?? '';
  const record = world.records.find(principal, id);
  if (verb.$case === 'launch' && record === undefined && world.records.has(id))
    throw new StateForbids('launch.id', 'an id in use', 'a new one');
  const [name, layers] = layersOf(verb);
  const unknown = layers.find((layer) => world.layers.find(layer, principal) === undefined);
  if (unknown !== undefined) throw new StateForbids(name, unknown, 'a layer that the principal has delivered');
  const states: readonly string[] = STATES[verb.$case];
  if (states.length === 0) return;
  const field = `${verb.$case}.container`;
  if (record === undefined) throw new StateForbids(field, 'an unknown container', 'one of the principal');
  if (!states.includes(record.state))
    throw new StateForbids(field, `a container that is ${record.state}`, `one that is ${states.join(' or ')}`);
  if (verb.$case !== 'exec') return;
  if (record.frozen) throw new StateForbids(field, 'a container that is frozen', 'one that is not');
  if (record.execs[verb.value.id] !== undefined) throw new StateForbids('exec.id', 'an id in use', 'a new one');
}

/** The container that a verb is about, its own id for one that starts. */
export function containerOf({ $case, value }: CheckedVerb): string | undefined {
  if ($case === 'launch') return value.id;
  return 'container' in value ? value.container : undefined;
}

/** The layers that a verb needs, and the field that names them. */
function layersOf(verb: CheckedVerb): [field: string, layers: readonly string[]] {
  if (verb.$case === 'mergeImage') return ['merge_image.layers', verb.value.layers];
  if (verb.$case === 'dropImage') return ['drop_image.layers', verb.value.layers];
  if (verb.$case === 'dropLayer') return ['drop_layer.diff_id', [verb.value.diffId]];
  const source = verb.$case === 'launch' ? verb.value.root.source : undefined;
  return ['launch.root.image.layers', source?.$case === 'image' ? source.value.layers : []];
}
