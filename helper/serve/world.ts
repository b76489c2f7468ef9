// The state of one start of the helper, opened from disk and from the kernel, and how it is given up when the instance is stopped.
import { readFileSync, rmdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { dirname, join } from 'node:path';
import { SIGKILL } from '../../proto/abi/signal.gen.ts';
import { ARCH } from '../launch/child.ts';
import { newSeedNamespace, newStoreNamespace } from '../launch/namespaces.ts';
import type { Machine } from '../lower/host.ts';
import { freeze, killAll } from '../ops/cgroup.ts';
import { NO_CGROUPS, openCgroups } from '../ops/cgroup-host.ts';
import { ONE_ID, openBlocks } from '../ops/ids.ts';
import { openImages } from '../ops/images.ts';
import type { LayerFacts } from '../ops/layers.ts';
import type { World } from '../ops/order.ts';
import { openRecords } from '../ops/records.ts';
import { openStore } from '../ops/store.ts';
import { newWorker } from '../ops/worker.ts';
import type { Living } from './living.ts';
import type { Paths } from './options.ts';
import { outsideIds } from './rootless.ts';

/** No principal can have this name: the uids of layer workers. */
const WORKER = '(worker)';
const STOP_MS = 10_000;

type Opening = Pick<World, 'pidfdOf'> & { readonly paths: Paths; readonly slot: number };

/** Opens everything the ops work on. */
export async function openWorld({ paths, slot, pidfdOf }: Opening): Promise<World> {
  const rootless = outsideIds() !== undefined;
  const machine: Machine = {
    arch: ARCH,
    rootless,
    lastCapability: Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8')),
    seedNamespace: newSeedNamespace(rootless),
    storeNamespace: newStoreNamespace(),
  };
  const records = await openRecords(`${paths.helper}/containers`);
  const blocks = rootless ? ONE_ID : openBlocks(`${paths.helper}/blocks`, slot, records.withFiles);
  const workerId = blocks.take(WORKER, 1);
  const worker = newWorker(machine, programOf('worker', 'core/layer/main.ts'), workerId);
  const layers = await openStore<LayerFacts>(paths.helper, 'layers');
  layers.seal(true);
  const images = await openImages({ root: paths.helper, machine, layers, worker, workerId });
  const cgroups = rootless ? NO_CGROUPS : openCgroups(slot === 0 ? 'berth' : `berth-${slot}`);
  return { machine, cgroups, blocks, records, layers, images, worker, pidfdOf };
}

/** A program of ours that is started in a sandbox: it lies beside the bundle, or in the sources. */
export function programOf(name: string, source: string): { directory: string; script: string } {
  const own = process.argv[1] ?? '';
  if (own.endsWith('.ts')) return { directory: dirname(dirname(dirname(own))), script: source };
  return { directory: dirname(own), script: `${name}.cjs` };
}

/** Ends every container and takes away what the instance has in the kernel and in its run directory; what is on disk stays. */
export async function stopAll(world: World, living: Living, paths: Paths): Promise<void> {
  const deadline = Date.now() + STOP_MS;
  for (const record of world.records.all()) {
    if (record.state !== 'running') continue;
    if (record.frozen) await freeze(world.cgroups, record.id, false);
    killAll(world.cgroups, record.id);
    living.signal({ container: record.id, exec: '' }, SIGKILL);
  }
  while ([...world.records.all()].some((record) => record.state === 'running') && Date.now() < deadline)
    await sleep(10);
  await living.idle();
  world.layers.seal(false);
  for (const parent of world.cgroups.parents) rmdirSync(parent);
  for (const name of ['helper.sock', 'lane.sock', 'helper.json']) rmSync(join(paths.run, name), { force: true });
}
