// The layer store: a layer is used by digest only by a principal who delivered its bytes, all of them, checked here against the digest: until then it
// is unknown to him, though it may be on disk for somebody else. The bytes come from anybody, so they go through the worker into new files of ours;
// what the worker says of them counts only after a second worker, which parses nothing, has found the tar's digest to be the one asked for, and
// no process that could write to it is left.
import { closeSync, fstatSync, fsyncSync, openSync } from 'node:fs';
import type { ImportLayer, LayerImported } from '../../proto/gen/berth/helper/v1/request.ts';
import { Failed } from './failed.ts';
import type { Order, World } from './order.ts';
import type { Store } from './store.ts';
import type { WorkerResult } from './worker.ts';

export type LayerFacts = Pick<WorkerResult, 'entries' | 'highestUid' | 'highestGid'> & { readonly tarBytes: number };
/** By diff id: the files `tar` and `index`. */
export type Layers = Store<LayerFacts>;

// Sparse files take more room in an index than in a tar; the worker has its own, tighter bounds.
const INDEX_BYTES = 1 << 30;

/** Sum of the tars the principal has a right to. */
export function bytesOf(layers: Layers, principal: string): number {
  const own = [...layers.kept.values()].filter(({ rights }) => rights.has(principal));
  return own.reduce((sum, { facts }) => sum + facts.tarBytes, 0);
}

/** Imports the layer whose bytes are the ticket's first descriptor. Throws Failed, with nothing left. */
export async function importLayer(world: World, { verb, owner, fds }: Order<ImportLayer>): Promise<LayerImported> {
  const { worker, layers } = world;
  const { diffId } = verb;
  const [blob] = fds;
  if (blob === undefined) throw new Failed('import layer', 'the ticket has no descriptor');
  const tarBytesMax = Number(verb.sizeBytesMax);
  const known = layers.find(diffId, owner.name);
  let existed = known !== undefined;
  const fill = async (directory: string): Promise<LayerFacts> => {
    using open = new DisposableStack();
    const files = ['tar', 'index'].map((name) => open.adopt(newFile(`${directory}/${name}`), closeSync));
    const { entries, highestUid, highestGid } = await worker({
      mode: 'import',
      args: [String(tarBytesMax)],
      descriptors: [blob, ...files],
      bytesMax: tarBytesMax + INDEX_BYTES,
    });
    for (const fd of files) fsyncSync(fd);
    const tar = open.adopt(openSync(`${directory}/tar`, 'r'), closeSync);
    const { digest } = await worker({ mode: 'hash', args: [], descriptors: [tar], bytesMax: 0 });
    if (digest !== diffId) throw new Failed('check layer', `the layer's digest is ${digest}, not ${diffId}`);
    existed = layers.kept.has(diffId);
    return { tarBytes: fstatSync(tar).size, entries, highestUid, highestGid };
  };
  const facts = known ?? (await layers.make(diffId, owner.name, fill));
  return { ...facts, tarBytes: BigInt(facts.tarBytes), existed };
}

/** A new, empty file for a worker to fill. */
export function newFile(path: string): number {
  return openSync(path, 'wx+', 0o600);
}
