// Starts a container: everything outside of the new process. What the plan names is looked up under its principal; host ids, paths and descriptors
// are chosen here and never come from the request. A record is on disk before anything else is made, so that whatever a crash leaves is found; a
// start that fails leaves what was there before it.
import { chownSync, closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { GeneratedName } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedLaunch } from '../decode/checked.ts';
import { newUserNamespace } from '../launch/namespaces.ts';
import type { BindSource, RootSource } from '../lower/host.ts';
import { lowerLaunch } from '../lower/launch.ts';
import { bindMaps, ownIds } from './binds.ts';
import { BLOCK_IDS } from './blocks.ts';
import { makeCgroups, openGroups, removeCgroups } from './cgroup.ts';
import { Failed } from './failed.ts';
import { joinedNamespaces, openNamespace, placeOf } from './joined.ts';
import type { Order, Started, StartOrder, World } from './order.ts';
import { type ContainerRecord, makeContainerDirectories } from './records.ts';
import { openHere } from './seen.ts';
import { start } from './start.ts';
import { openStdio } from './stdio.ts';

const FILE_NAMES: Readonly<Record<number, string>> = {
  [GeneratedName.GENERATED_NAME_HOSTNAME]: 'hostname',
  [GeneratedName.GENERATED_NAME_HOSTS]: 'hosts',
  [GeneratedName.GENERATED_NAME_RESOLV_CONF]: 'resolv.conf',
};

/** Launches. Throws Failed with the step that did not work, and then nothing is left of it. */
export async function launchContainer(world: World, order: StartOrder<CheckedLaunch>): Promise<Started> {
  const { verb, owner } = order;
  const before = world.records.find(owner.name, verb.id);
  const record = before === undefined ? newRecord(world, order) : againRecord(world, order, before);
  try {
    world.records.save(Object.assign(record, { state: 'starting', frozen: false, execs: {} }));
    makeContainerDirectories(world.records.directory(verb.id), record.firstId);
    writeGenerated(world, verb, record.firstId);
    makeCgroups(world.cgroups, verb);
    return await startIt(world, order, record);
  } catch (error) {
    await removeCgroups(world.cgroups, verb.id);
    if (before === undefined) await forget(world, record);
    else world.records.save(Object.assign(record, { state: 'exited' }));
    throw error;
  }
}

/** Removes record, files and the claim on its uids. */
export async function forget(world: World, record: ContainerRecord): Promise<void> {
  await world.records.remove(record.id);
  if (record.blocks > 0) world.blocks.free(record.firstId, record.blocks);
}

function newRecord(world: World, { verb, owner }: Order<CheckedLaunch>): ContainerRecord {
  const base = { id: verb.id, principal: owner.name, layers: layersOf(verb), state: 'starting' as const };
  const place = placeOf(world, verb, owner.name);
  const own = blocksOf(verb);
  if (own === 0) world.blocks.use(place.firstId, place.blocks);
  const ids = own === 0 ? {} : { firstId: world.blocks.take(owner.name, own), blocks: own };
  return { ...base, ...place, ...ids, frozen: false, execs: {} };
}

/** The record of a container that starts again: its files belong to the ids it had. */
function againRecord(world: World, { verb, owner }: Order<CheckedLaunch>, record: ContainerRecord): ContainerRecord {
  const { firstId, namespaces } = placeOf(world, verb, owner.name);
  const own = blocksOf(verb);
  const same = own === 0 ? firstId === record.firstId : own === record.blocks;
  if (!same) throw new Failed('map ids', `the files of container ${verb.id} belong to ids of another user namespace`);
  return Object.assign(record, { namespaces, layers: layersOf(verb) });
}

function layersOf({ root }: CheckedLaunch): readonly string[] {
  return root.source.$case === 'image' ? root.source.value.layers : [];
}

/** How many blocks its own user namespace takes; 0 where it has none of its own. */
function blocksOf({ namespaces }: CheckedLaunch): number {
  return Math.ceil(Number(namespaces.uidCount) / BLOCK_IDS);
}

/** The container's own files; one that is there already stays, with what the container has made of it. */
function writeGenerated(world: World, verb: CheckedLaunch, owner: number): void {
  for (const { source } of verb.mounts) {
    if (source.$case !== 'file') continue;
    const path = `${world.records.directory(verb.id)}/files/${FILE_NAMES[source.value.name]}`;
    try {
      writeFileSync(path, source.value.content, { flag: 'wx', mode: 0o644 });
      chownSync(path, owner, owner);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
    }
  }
}

type At = { readonly record: ContainerRecord; readonly open: DisposableStack };

async function startIt(world: World, order: StartOrder<CheckedLaunch>, record: ContainerRecord): Promise<Started> {
  using open = new DisposableStack();
  using undo = new DisposableStack();
  const { verb } = order;
  const at = { record, open };
  const stdio = openStdio(verb.stdio, { open, undo });
  const cgroups = openGroups(world.cgroups, verb.id, open);
  const idmap = await openBindMap(world, order, at);
  const fds = world.machine.rootless ? order.fds.map((fd) => open.adopt(openHere(fd), closeSync)) : order.fds;
  const binds = new Map(fds.map((descriptor, i): [number, BindSource] => [i, { descriptor, idmap }]));
  const host = {
    machine: world.machine,
    userNamespace: await openUsers(world, verb, at),
    firstId: record.firstId,
    root: await openRoot(world, order, binds),
    home: open.adopt(openSync(world.records.directory(verb.id), constants.O_RDONLY | constants.O_DIRECTORY), closeSync),
    binds,
    joined: joinedNamespaces(world, verb, { principal: record.principal, open }),
    cgroups,
    stdio: stdio.host,
  };
  const started = await start({
    lower: (status) => lowerLaunch(verb, { ...host, status }),
    stdio,
    plan: verb.stdio,
  });
  undo.move();
  delete record.exit;
  Object.assign(record, { state: 'running', run: started.run });
  order.deliver(started);
  return started;
}

/** The container's user namespace: a new one over its blocks, or the joined container's; none where it has the host's. */
async function openUsers(world: World, verb: CheckedLaunch, { record, open }: At): Promise<number | undefined> {
  if ((record.namespaces & CLONE_NEWUSER) === 0) return undefined;
  const count = Number(verb.namespaces.uidCount);
  if (count > 0) return open.adopt(newUserNamespace(ownIds(record.firstId, count)), closeSync);
  const join = verb.namespaces.join.find(({ namespace }) => Number(namespace) === CLONE_NEWUSER);
  const other = world.records.find(record.principal, join?.container ?? '');
  if (other === undefined)
    throw new Failed('join user namespace', `no container ${join?.container} of ${record.principal}`);
  return open.adopt(openNamespace(world, other, CLONE_NEWUSER), closeSync);
}

/** The user namespace that maps owners in what the user passed; none for a container without one, or without passed descriptors. */
async function openBindMap(
  world: World,
  order: Order<CheckedLaunch>,
  { record, open }: At,
): Promise<number | undefined> {
  const needed = order.fds.length > 0 && (record.namespaces & CLONE_NEWUSER) !== 0 && !world.machine.rootless;
  if (!needed) return undefined;
  const { uid, gid, name } = order.owner;
  const maps = bindMaps({ uid, gid, storage: world.blocks.storage(name), firstId: record.firstId });
  return open.adopt(newUserNamespace(maps), closeSync);
}

async function openRoot(
  world: World,
  { verb, owner }: Order<CheckedLaunch>,
  binds: ReadonlyMap<number, BindSource>,
): Promise<RootSource> {
  const { source } = verb.root;
  if (source.$case === 'image') {
    const facts = await world.images.merge(source.value.layers, owner.name);
    const highest = Math.max(facts.highestUid, facts.highestGid);
    const count = Number(verb.namespaces.uidCount);
    if (count > 0 && highest >= count)
      throw new Failed('map the owners of the image', `it has files of id ${highest}, the container only ${count} ids`);
    return facts.root;
  }
  const bind = binds.get(source.value.descriptor);
  if (bind === undefined) throw new Failed('open root', `the ticket has no descriptor ${source.value.descriptor}`);
  return { kind: 'directory', directory: bind.descriptor, idmap: bind.idmap };
}
