// Layers: bytes on disk to the helper, which verifies and keeps them; and giving them up when no image needs them.
import { closeSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import type { Link } from '../link/link.ts';
import { isStateRefusal } from '../link/refusal.ts';
import { forgetLayer, saveLayer, unusedLayers } from '../store/images.ts';
import type { Store } from '../store/open.ts';
import { closeFd } from '../sys/fd.ts';
import { makePipe } from '../sys/pipe.ts';
import { type LayerStream, openLayerStream } from './layer-stream.ts';
import type { BlobRecord, ImageRecord } from '../store/records.ts';

export type NewLayer = {
  readonly diffId: Digest;
  /** Where its bytes lie, compressed or not; removed when they are taken. */
  readonly path: string;
  readonly blob: Omit<BlobRecord, 'diffId' | 'kept'> | undefined;
};

export type Layers = {
  /** Gives a layer to the helper, a few at a time. Throws image_invalid when its bytes are not its diff id's, no_space. */
  readonly add: (layer: NewLayer) => Promise<void>;
  /** Takes a layer while its bytes still come; undefined where others have their turn, or it is there. `add` it afterwards in any case. */
  readonly stream: (layer: Omit<NewLayer, 'path'>) => LayerStream | undefined;
  /** Keeps all that are there from being given up until the function that comes back is called: a pull counts on them. */
  readonly pin: () => Promise<() => void>;
  /** Gives up what no image needs; of these only, where they are named. */
  readonly drop: (only?: readonly Digest[]) => Promise<void>;
  readonly dropImage: (image: ImageRecord) => Promise<void>;
};

/** More at once only make two processors wait for each other. */
const AT_ONCE = 2;
const TAR_BYTES_MAX = 1n << 36n;

export type LayersParts = { readonly link: Link; readonly store: Store; readonly log: (line: string) => void };

export function makeLayers({ link, store, log }: LayersParts): Layers {
  const pins = new Map<Digest, number>();
  let running = 0;
  const turns: (() => void)[] = [];
  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= AT_ONCE) await new Promise<void>((resolve) => turns.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      const next = turns.shift();
      if (next === undefined) running--;
      else next();
    }
  };
  let dropping: Promise<void> | undefined;
  const dropOne = async (diffId: Digest): Promise<void> => {
    try {
      await link.send({ $case: 'dropLayer', value: { diffId } });
    } catch (error) {
      // The helper has lost it: then so do we. A container whose image was removed by force still needs it: it stays.
      if (!isStateRefusal(error))
        return log(`layer ${diffId}: ${error instanceof Error ? error.message : String(error)}`);
    }
    forgetLayer(store, diffId);
  };
  const drop = async (only?: readonly Digest[]): Promise<void> => {
    for (const { diffId } of unusedLayers(store)) {
      while (dropping !== undefined) await dropping;
      const unused = unusedLayers(store).some((layer) => layer.diffId === diffId);
      if (!unused || pins.has(diffId) || (only !== undefined && !only.includes(diffId))) continue;
      dropping = dropOne(diffId).finally(() => {
        dropping = undefined;
      });
      await dropping;
    }
  };
  return {
    add: (layer) => inTurn(() => addLayer(link, store, layer)),
    stream: (layer) => {
      if (running >= AT_ONCE || store.layers.has(layer.diffId)) return undefined;
      const { read, write } = makePipe();
      return openLayerStream(
        write,
        inTurn(() => takeLayer({ link, store }, layer, read)).finally(() => closeFd(read)),
      );
    },
    pin: async () => {
      while (dropping !== undefined) await dropping;
      const layers = [...store.layers.keys()];
      for (const layer of layers) pins.set(layer, (pins.get(layer) ?? 0) + 1);
      return () => {
        for (const layer of layers) {
          const left = (pins.get(layer) ?? 1) - 1;
          if (left === 0) pins.delete(layer);
          else pins.set(layer, left);
        }
      };
    },
    drop,
    dropImage: async (image) => {
      const layers = image.layers.map((layer) => layer.diffId);
      try {
        await link.send({ $case: 'dropImage', value: { layers: layers.toReversed() } });
      } catch (error) {
        if (!isStateRefusal(error)) log(`image ${image.id}: ${error instanceof Error ? error.message : String(error)}`);
      }
      await drop(layers);
    },
  };
}

async function addLayer(link: Link, store: Store, layer: NewLayer): Promise<void> {
  const { diffId, path } = layer;
  if (!store.layers.has(diffId)) {
    const fd = openSync(path, 'r');
    try {
      await takeLayer({ link, store }, layer, fd);
    } finally {
      closeSync(fd);
    }
  }
  await rm(path, { force: true });
}

/** Has the helper read a layer from a descriptor to its end. */
async function takeLayer(
  { link, store }: { link: Link; store: Store },
  { diffId, blob }: Omit<NewLayer, 'path'>,
  fd: number,
): Promise<void> {
  const value = { diffId, sizeBytesMax: TAR_BYTES_MAX };
  const { result } = await link.send({ $case: 'importLayer', value }, { fds: [fd] });
  if (result.outcome?.$case !== 'layerImported')
    throw new BerthError('internal', 'the helper answered an import with something else');
  const layer = { diffId, size: Number(result.outcome.value.tarBytes), addedMs: Date.now() };
  saveLayer(store, layer, blob && { ...blob, diffId, kept: false });
}
