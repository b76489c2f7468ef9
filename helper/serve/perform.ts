// Performs a granted request: one branch for each verb, each a few lines around an op. Descriptors go back on the lane before the call is answered.
import { closeSync } from 'node:fs';
import type { Phases, Result } from '../../proto/gen/berth/helper/v1/request.ts';
import type { CheckedLaunch, CheckedVerb } from '../decode/checked.ts';
import type { Granted } from '../gate/verdict.ts';
import { applyLimits, freeze, killAll } from '../ops/cgroup.ts';
import { launchContainer } from '../ops/container.ts';
import { Failed } from '../ops/failed.ts';
import { importLayer } from '../ops/layers.ts';
import type { Order, Owner, Started, World } from '../ops/order.ts';
import type { Run } from '../ops/records.ts';
import { execInContainer } from '../ops/start.ts';
import { forLane } from '../ops/stdio.ts';
import type { Ticket } from './calls.ts';
import type { Living } from './living.ts';
import { checkState, containerOf, StateForbids } from './look.ts';

export type Outcome = NonNullable<Result['outcome']>;
export type Asked = {
  readonly granted: Granted;
  readonly owner: Owner;
  readonly ticket: Ticket | undefined;
  readonly gateUs: number;
};
export type Performer = {
  readonly world: World;
  readonly living: Living;
  /** Gives a descriptor to the keeper; the number it keeps it under. */
  readonly keep: (fd: number) => number;
};

const DONE: Outcome = { $case: 'done', value: {} };

/** What came of the verb; throws Failed, or StateForbids where the state had changed when the verb's turn came. */
export function perform(performer: Performer, asked: Asked): Promise<Outcome> {
  const { world, living } = performer;
  const { verb } = asked.granted.request;
  const container = containerOf(verb);
  if (container === undefined) return performStore(performer, asked, verb);
  return living.inTurn(container, async () => {
    checkState(world, asked.owner.name, verb);
    if (verb.$case === 'launch') return await performLaunch(performer, asked, verb.value);
    return await performContainer(performer, asked, verb);
  });
}

async function performContainer(performer: Performer, asked: Asked, verb: CheckedVerb): Promise<Outcome> {
  const { world, living } = performer;
  const record = known(world, asked.owner, containerOf(verb) ?? '');
  switch (verb.$case) {
    case 'exec': {
      const start: ToStart['start'] = (deliver) => execInContainer(world, { ...orderOf(asked, verb.value), deliver });
      return await performStart(performer, asked, { container: record.id, exec: verb.value.id, start });
    }
    case 'signal': {
      const { exec, signal, all } = verb.value;
      if (all && record.frozen) await freeze(world.cgroups, record.id, false);
      if (all) killAll(world.cgroups, record.id);
      if (!living.signal({ container: record.id, exec }, signal) && !all)
        throw new StateForbids('signal', 'a process that has ended', 'one that runs');
      return DONE;
    }
    case 'pause':
      await freeze(world.cgroups, record.id, verb.value.frozen);
      world.records.save(Object.assign(record, { frozen: verb.value.frozen }));
      return DONE;
    case 'update':
      applyLimits(world.cgroups, record.id, verb.value.limits);
      return DONE;
    case 'remove':
      living.release(record.id, ['', ...Object.keys(record.execs)]);
      living.behind(record.id, world.records.remove(record.id));
      return DONE;
    case 'attach':
      giveBack(performer, asked, verb.value);
      return DONE;
    case 'forget': {
      const { exec } = verb.value;
      if (record.execs[exec]?.exit === undefined) throw new Failed('forget', `exec ${exec} has not ended`);
      living.release(record.id, [exec]);
      delete record.execs[exec];
      world.records.save(record);
      return DONE;
    }
    default:
      throw new Failed(verb.$case, 'is no verb of a container that is there');
  }
}

async function performLaunch(performer: Performer, asked: Asked, verb: CheckedLaunch): Promise<Outcome> {
  const { world, living } = performer;
  const before = world.records.find(asked.owner.name, verb.id);
  const name = { container: verb.id, exec: '' };
  if (before?.state === 'running' && before.run !== undefined) {
    giveBack(performer, asked, name);
    return launched(before.run, before.firstId, { gate: asked.gateUs, lower: 0, start: 0, program: 0 });
  }
  if (before !== undefined) living.release(before.id, ['', ...Object.keys(before.execs)]);
  const start: ToStart['start'] = (deliver) => launchContainer(world, { ...orderOf(asked, verb), deliver });
  return await performStart(performer, asked, { ...name, start });
}

type Name = { readonly container: string; readonly exec: string };
type ToStart = Name & {
  readonly start: (deliver: (started: Started) => void) => Promise<Started>;
};

/** From `deliver` on the process outlives this helper with all its output: the keeper has its ends, the record their numbers. */
async function performStart(performer: Performer, asked: Asked, { container, exec, start }: ToStart): Promise<Outcome> {
  const { world, living, keep } = performer;
  const problems: unknown[] = [];
  const started = await start((one) => {
    const record = known(world, asked.owner, container);
    const run = { ...one.run, kept: one.held.fds.map(keep) };
    if (exec === '') record.run = run;
    else record.execs[exec] = { run };
    world.records.save(record);
    living.follow({ record, exec, run, held: one.held }, one.pidfd);
    try {
      giveBack(performer, asked, { container, exec });
    } catch (error) {
      problems.push(error); // the process runs all the same
    }
  });
  if (problems.length > 0) throw problems[0];
  const { firstId } = known(world, asked.owner, container);
  return launched(started.run, firstId, { ...started.phases, gate: asked.gateUs });
}

function orderOf<V>({ owner, ticket }: Asked, verb: V): Order<V> {
  return { verb, owner, fds: ticket?.fds ?? [] };
}

function launched(run: Run, block: number, phases: Phases): Outcome {
  return { $case: 'launched', value: { pid: run.pid, block, bootNs: BigInt(run.bootNs), phases } };
}

/** Sends the stdio of a container or exec, and its pidfd while it runs, on the ticket's lane. */
function giveBack({ world, living }: Performer, { ticket }: Asked, name: Name): void {
  const { container, exec } = name;
  const held = living.heldOf(name);
  if (ticket === undefined) return;
  if (held === undefined) throw new Failed('attach', `nothing is kept of the output of ${exec || container}`);
  const pidfd = world.pidfdOf(container, exec);
  const { fds, made } = forLane(held);
  try {
    ticket.answer(pidfd === undefined ? fds : [...fds, pidfd]);
  } finally {
    for (const fd of made) closeSync(fd);
  }
}

function known(world: World, owner: Owner, id: string) {
  const record = world.records.find(owner.name, id);
  if (record === undefined) throw new Failed('find container', `no container ${id} of ${owner.name}`);
  return record;
}

async function performStore({ world, living }: Performer, asked: Asked, verb: CheckedVerb): Promise<Outcome> {
  const { owner, ticket } = asked;
  const needed = (uses: (layers: readonly string[]) => boolean): void => {
    const user = [...world.records.all()].find((record) => record.principal === owner.name && uses(record.layers));
    if (user !== undefined) throw new Failed('drop', `container ${user.id} needs it`);
  };
  switch (verb.$case) {
    case 'importLayer':
      // Four at a time for each principal, and none twice.
      return await living.inTurn(`${owner.name} ${Number.parseInt(verb.value.diffId.slice(-1), 16) % 4}`, async () => ({
        $case: 'layerImported',
        value: await importLayer(world, orderOf(asked, verb.value)),
      }));
    case 'mergeImage': {
      const { highestUid, highestGid, indexBytes } = await world.images.merge(verb.value.layers, owner.name);
      const fds = world.images.open(verb.value.layers);
      try {
        ticket?.answer(fds);
      } finally {
        for (const fd of fds) closeSync(fd);
      }
      const { form } = world.images;
      return { $case: 'imageMerged', value: { highestUid, highestGid, indexBytes: BigInt(indexBytes), form } };
    }
    case 'dropLayer':
      needed((layers) => layers.includes(verb.value.diffId));
      if (world.layers.take(verb.value.diffId, owner.name)) {
        await world.layers.remove(verb.value.diffId);
        await world.images.dropLayer(verb.value.diffId);
      }
      return DONE;
    case 'dropImage':
      needed((layers) => layers.join() === verb.value.layers.join());
      await world.images.drop(verb.value.layers, owner.name);
      return DONE;
    default:
      throw new Failed(verb.$case, 'is not done by this call');
  }
}
