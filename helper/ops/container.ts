// Starts a container: everything outside of the new process. What the plan names is looked up under its principal; host ids, paths and descriptors
// are chosen here and never come from the request. A record is on disk before anything else is made, so that whatever a crash leaves is found; a
// start that fails leaves what was there before it.
import { chownSync, closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import type { CheckedLaunch } from '../decode/checked.ts';
import { newUserNamespace } from '../launch/namespaces.ts';
import type { BindSource, RootSource } from '../lower/host.ts';
import { lowerLaunch } from '../lower/launch.ts';
import { generatedPath } from '../lower/mounts.ts';
import { makeCgroups, removeCgroups } from './cgroup.ts';
import { Failed, unless } from './failed.ts';
import { BLOCK_IDS, bindIds } from './ids.ts';
import { openJoined, openUsers, placeOf } from './joined.ts';
import type { Order, Started, StartOrder, World } from './order.ts';
import { type ContainerRecord, makeContainerDirectories } from './records.ts';
import { openHere } from './seen.ts';
import { type Starting, start } from './start.ts';

/** Launches. Throws Failed with the step that did not work, and then nothing is left of it. */
export async function launchContainer(world: World, order: StartOrder<CheckedLaunch>): Promise<Started> {
  const { verb, owner } = order;
  const { records } = world;
  const before = records.find(owner.name, verb.id);
  const record = recordOf(world, order, before);
  try {
    records.save(Object.assign(record, { state: 'starting', frozen: false, execs: {} }));
    makeContainerDirectories(records.directory(verb.id), record.firstId);
    writeGenerated(verb, records.directory(verb.id), record.firstId);
    makeCgroups(world.cgroups, verb);
    return await startIt(world, order, record);
  } catch (error) {
    await removeCgroups(world.cgroups, verb.id);
    if (before === undefined) await records.remove(record.id);
    else records.save(Object.assign(record, { state: 'exited' }));
    throw error;
  }
}

/** A new record; that of a container that starts again stays, since its files belong to the ids it had. */
function recordOf(world: World, order: Order<CheckedLaunch>, before: ContainerRecord | undefined): ContainerRecord {
  const { verb, owner } = order;
  const { source } = verb.root;
  const layers = source.$case === 'image' ? source.value.layers : [];
  const place = placeOf(world, order);
  // How many blocks its own user namespace takes; 0 where it has none of its own.
  const own = Math.ceil(Number(verb.namespaces.uidCount) / BLOCK_IDS);
  if (before !== undefined) {
    const same = own === 0 ? place.firstId === before.firstId : own === before.blocks;
    if (same) return Object.assign(before, { namespaces: place.namespaces, layers });
    throw new Failed('map ids', `the files of container ${verb.id} belong to ids of another user namespace`);
  }
  const ids = own === 0 ? {} : { firstId: world.blocks.take(owner.name, own), blocks: own };
  return { id: verb.id, principal: owner.name, layers, ...place, ...ids, state: 'starting', frozen: false, execs: {} };
}

/** The container's own files; one that is there already stays, with what the container has made of it. */
function writeGenerated(verb: CheckedLaunch, directory: string, owner: number): void {
  for (const { source, target } of verb.mounts) {
    if (source.$case !== 'file') continue;
    const path = `${directory}/${generatedPath({ target })}`;
    unless(['EEXIST'], () => {
      writeFileSync(path, source.value.content, { flag: 'wx', mode: 0o644 });
      chownSync(path, owner, owner);
    });
  }
}

async function startIt(world: World, order: StartOrder<CheckedLaunch>, record: ContainerRecord): Promise<Started> {
  using open = new DisposableStack();
  using undo = new DisposableStack();
  const { machine, records, blocks } = world;
  const { verb, owner } = order;
  const keep = (fd: number): number => open.adopt(fd, closeSync);
  const fds = machine.rootless ? order.fds.map((fd) => keep(openHere(fd))) : order.fds;
  const mapped = fds.length > 0 && (record.namespaces & CLONE_NEWUSER) !== 0 && !machine.rootless;
  const bindMap = () => newUserNamespace(bindIds(owner, blocks.storage(owner.name), record.firstId));
  const idmap = mapped ? keep(bindMap()) : undefined;
  const binds = new Map(fds.map((descriptor, i) => [i, { descriptor, idmap }]));
  const root = await openRoot(world, order, binds);
  const joining = { world, order, open };
  const host = {
    userNamespace: openUsers(joining, record),
    firstId: record.firstId,
    root,
    home: keep(openSync(records.directory(verb.id), constants.O_RDONLY | constants.O_DIRECTORY)),
    binds,
    joined: openJoined(joining),
  };
  const deliver = (started: Started): void => {
    delete record.exit;
    Object.assign(record, { state: 'running', run: started.run });
    order.deliver(started);
  };
  const lower: Starting['lower'] = (shared) => lowerLaunch(verb, { ...host, ...shared });
  return await start(world, { ...order, deliver }, { container: verb.id, stacks: { open, undo }, lower });
}

type Binds = ReadonlyMap<number, BindSource>;

async function openRoot(world: World, { verb, owner }: Order<CheckedLaunch>, binds: Binds): Promise<RootSource> {
  const { source } = verb.root;
  if (source.$case === 'image') {
    const { highestUid, highestGid, root } = await world.images.merge(source.value.layers, owner.name);
    const highest = Math.max(highestUid, highestGid);
    const count = Number(verb.namespaces.uidCount);
    if (count === 0 || highest < count) return root;
    throw new Failed('map the owners of the image', `it has files of id ${highest}, the container only ${count} ids`);
  }
  const bind = binds.get(source.value.descriptor);
  if (bind === undefined) throw new Failed('open root', `the ticket has no descriptor ${source.value.descriptor}`);
  return { kind: 'directory', directory: bind.descriptor, idmap: bind.idmap };
}
