// Mode "merge": the indexes of an image's layers become one EROFS image and one index. The tars themselves are not read.
import { fsyncSync } from 'node:fs';
import { encodeImageIndex } from '../spec/image-write.ts';
import {
  decodeLayerIndex,
  emptyResult,
  KIND,
  type LayerIndex,
  LIMITS,
  type Mode,
  type WorkerResult,
} from '../spec/layer-index.ts';
import { FD, needEmptyFile, readWhole, writeAll } from './descriptor.ts';
import { buildErofs } from './erofs.ts';
import { type Inode, listInodes, mergeLayers } from './merge.ts';

const INDEX_BYTES_MAX = LIMITS.poolBytes + LIMITS.entries * 128;

/** The layers' indexes from descriptor 7 on, bottom first. */
export function readLayers(count: number): LayerIndex[] {
  return Array.from({ length: count }, (_, i) =>
    decodeLayerIndex(readWhole(FD.first + i, INDEX_BYTES_MAX, `index of layer ${i}`)),
  );
}

/** Writes the merged index to descriptor 5; gives a result with the counts of the tree. */
export function writeImageIndex(mode: Mode, layers: readonly LayerIndex[], inodes: readonly Inode[]): WorkerResult {
  needEmptyFile(FD.index, 'merged index');
  const index = encodeImageIndex(
    inodes,
    layers.map((layer) => layer.tarBytes),
  );
  writeAll(FD.index, index.bytes);
  fsyncSync(FD.index);
  const result = emptyResult(mode, 'ok');
  for (const { entry } of inodes) {
    if (entry.kind === KIND.dir) result.directories++;
    if (entry.kind === KIND.file) result.contentBytes += entry.size;
  }
  const { highestUid, highestGid } = index;
  return {
    ...result,
    entries: inodes.length,
    highestUid,
    highestGid,
    indexBytes: index.bytes.length,
    layers: layers.length,
  };
}

/** Writes the EROFS image to descriptor 4 and the merged index to 5. */
export function mergeImage(count: number): WorkerResult {
  needEmptyFile(FD.out, 'EROFS image');
  const layers = readLayers(count);
  const inodes = listInodes(mergeLayers(layers));
  const image = buildErofs(
    inodes,
    layers.map((layer) => layer.tarBytes),
  );
  writeAll(FD.out, image);
  fsyncSync(FD.out);
  return { ...writeImageIndex('merge', layers, inodes), imageBytes: image.length };
}
