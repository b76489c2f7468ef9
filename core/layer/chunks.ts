// Where a file's bytes lie in its tar, as EROFS chunk indexes: one chunk for a plain file, one per piece for a sparse one.
import { CHUNK, EROFS_CHUNK_INDEX_BYTES, EROFS_NULL_ADDR } from '../../proto/abi/erofs.gen.ts';
import { extentsOf, type LayerEntry } from '../spec/layer-index.ts';
import { LayerFault } from './fault.ts';

const BLOCK_BITS = 9;
const CHUNK_BITS_MAX = 31;
/** 32 MiB of metadata for one file: 16 GiB in pieces of 4 KiB. */
const CHUNKS_MAX = 1 << 22;

export type Chunks = { bits: number; count: number };

/** The largest chunks that fit the file's map. `bits` counts above the block's 9. Throws LayerFault when there would be too many. */
export function planChunks(entry: LayerEntry): Chunks {
  if (entry.size === 0) return { bits: 0, count: 0 };
  let bits = 0;
  while (bits < CHUNK_BITS_MAX && 2 ** (BLOCK_BITS + bits) < entry.size) bits++;
  if (entry.stored !== entry.size || entry.segments.length > 0) {
    for (const { offset, length } of extentsOf(entry)) {
      while (bits > 0 && offset % 2 ** (BLOCK_BITS + bits) !== 0) bits--;
      while (bits > 0 && offset + length < entry.size && length % 2 ** (BLOCK_BITS + bits) !== 0) bits--;
    }
  }
  const count = Math.ceil(entry.size / 2 ** (BLOCK_BITS + bits));
  if (count > CHUNKS_MAX) {
    throw new LayerFault(
      'limit',
      `sparse file "${entry.name}" has too fine a map for its ${entry.size} bytes: ${count} chunks, at most ${CHUNKS_MAX}`,
    );
  }
  return { bits, count };
}

/** Writes the indexes at `at`: device `layer` + 1, block address in the tar; holes have none. */
export function writeChunks(
  view: DataView,
  at: number,
  file: { entry: LayerEntry; layer: number; chunks: Chunks },
): void {
  const { entry, layer, chunks } = file;
  const chunkBytes = 2 ** (BLOCK_BITS + chunks.bits);
  for (let i = 0; i < chunks.count; i++) {
    view.setUint32(at + i * EROFS_CHUNK_INDEX_BYTES + CHUNK.startblkLo, EROFS_NULL_ADDR, true);
  }
  for (const { offset, length, tarOffset } of extentsOf(entry)) {
    for (let done = 0; done < length; done += chunkBytes) {
      const q = at + ((offset + done) / chunkBytes) * EROFS_CHUNK_INDEX_BYTES;
      const block = (tarOffset + done) / 2 ** BLOCK_BITS;
      if (block >= EROFS_NULL_ADDR)
        throw new LayerFault('limit', `"${entry.name}" lies beyond the first 2 TiB of its layer`);
      view.setUint16(q + CHUNK.deviceId, layer + 1, true);
      view.setUint32(q + CHUNK.startblkLo, block, true);
    }
  }
}
