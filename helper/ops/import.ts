// Takes in a layer. Its bytes come from anybody, so they go through the worker into new files of ours; what the worker says of them counts only after
// a second worker, which parses nothing, has found the tar's digest to be the one asked for, and no process that could write to it is left.
import { closeSync, fsyncSync, openSync, statSync } from 'node:fs';
import type { ImportLayer, LayerImported } from '../../proto/gen/berth/helper/v1/request.ts';
import { Failed } from './failed.ts';
import { removeTree } from './files.ts';
import { newFile } from './layers.ts';
import type { Order, World } from './order.ts';
import type { WorkerResult } from './worker.ts';

// Sparse files take more room in an index than in a tar; the worker has its own, tighter bounds.
const INDEX_BYTES = 1 << 30;

/** Imports the layer whose bytes are the ticket's first descriptor. Throws Failed, with nothing left. */
export async function importLayer(world: World, { verb, owner, fds }: Order<ImportLayer>): Promise<LayerImported> {
  const [blob] = fds;
  if (blob === undefined) throw new Failed('import layer', 'the ticket has no descriptor');
  const known = world.layers.find(owner.name, verb.diffId);
  if (known !== undefined) return { ...known, tarBytes: BigInt(known.tarBytes), existed: true };
  const temporary = world.layers.begin();
  try {
    const result = await parse(world, { blob, temporary, bytesMax: Number(verb.sizeBytesMax) });
    const { entries, highestUid, highestGid } = result;
    const { digest } = await hash(world, `${temporary}/tar`);
    if (digest !== verb.diffId) throw new Failed('check layer', `the layer's digest is ${digest}, not ${verb.diffId}`);
    const facts = { tarBytes: statSync(`${temporary}/tar`).size, entries, highestUid, highestGid };
    const existed = world.layers.keep({ temporary, diffId: verb.diffId, principal: owner.name, facts });
    return { ...facts, tarBytes: BigInt(facts.tarBytes), existed };
  } catch (error) {
    removeTree(temporary);
    throw error;
  }
}

async function parse(world: World, job: { blob: number; temporary: string; bytesMax: number }): Promise<WorkerResult> {
  using open = new DisposableStack();
  const files = ['tar', 'index'].map((name) => open.adopt(newFile(`${job.temporary}/${name}`), closeSync));
  const result = await world.worker({
    mode: 'import',
    args: [String(job.bytesMax)],
    descriptors: [job.blob, ...files],
    bytesMax: job.bytesMax + INDEX_BYTES,
  });
  for (const fd of files) fsyncSync(fd);
  return result;
}

async function hash(world: World, path: string): Promise<WorkerResult> {
  const tar = openSync(path, 'r');
  try {
    return await world.worker({ mode: 'hash', args: [], descriptors: [tar], bytesMax: 0 });
  } finally {
    closeSync(tar);
  }
}
