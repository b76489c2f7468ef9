// Layers in memory: tar to index, indexes to a merged image, and what an image shows as lines of text.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { collectTar } from '../../core/hot/tar-table.ts';
import { wasmTarCore } from '../../core/hot/wasm.ts';
import { buildErofs } from '../../core/layer/erofs.ts';
import { listInodes, mergeLayers } from '../../core/layer/merge.ts';
import { decodeImageIndex, imageEntry, type ImageIndex, listDir } from '../../core/spec/image-index.ts';
import { encodeImageIndex } from '../../core/spec/image-write.ts';
import { encodeLayerHeader, type LayerIndex } from '../../core/spec/layer-index.ts';

/** Builds asm/build/tar.wasm when it is missing or old: a quarter of these tests' subject. */
export function buildWasm(): void {
  execFileSync(process.execPath, ['.ci/build-asm.mjs'], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** The index of a tar. */
export function indexOf(tar: Uint8Array): LayerIndex {
  const index = collectTar(wasmTarCore());
  index.write(tar);
  return index.end();
}

/** Writes a tar and its index to `at`.tar and `at`.idx, as the worker's import does. */
export function writeLayer(tar: Uint8Array, at: string): { tar: string; index: string; table: LayerIndex } {
  const table = indexOf(tar);
  writeFileSync(`${at}.tar`, tar);
  writeFileSync(`${at}.idx`, Buffer.concat([encodeLayerHeader(table), table.records, table.pool]));
  return { tar: `${at}.tar`, index: `${at}.idx`, table };
}

/** The image of tars, bottom first: its index as the engine reads it, and the EROFS bytes. */
export function imageOf(tars: readonly Uint8Array[]): { index: ImageIndex; erofs: Uint8Array } {
  return imageOfIndexes(tars.map(indexOf));
}

/** The same of layers' indexes. */
export function imageOfIndexes(layers: readonly LayerIndex[]): { index: ImageIndex; erofs: Uint8Array } {
  const inodes = listInodes(mergeLayers(layers));
  const tarBytes = layers.map((layer) => layer.tarBytes);
  return { index: decodeImageIndex(encodeImageIndex(inodes, tarBytes).bytes), erofs: buildErofs(inodes, tarBytes) };
}

/** Lines like `data/x 100644 n1 text`, `data 40755`, `lib 120777 -> usr/lib`, sorted; the root is left out. */
export function listing(index: ImageIndex, tars: readonly Uint8Array[]): string[] {
  const lines: string[] = [];
  const visit = (dir: number, path: string): void => {
    for (const { name, inode } of listDir(index, dir)) {
      const entry = imageEntry(index, inode);
      const at = path + name;
      const data = Buffer.alloc(entry.size);
      for (const { offset, length, tarOffset } of entry.extents)
        data.set(tars[entry.layer]?.subarray(tarOffset, tarOffset + length) ?? [], offset);
      const mode = entry.mode.toString(8);
      if (entry.kind === 'dir') lines.push(`${at} 40${mode.padStart(3, '0')}`);
      else if (entry.kind === 'symlink') lines.push(`${at} 120${mode} -> ${entry.link}`);
      else if (entry.kind === 'file')
        lines.push(`${at} 100${mode.padStart(3, '0')} n${entry.nlink} ${data.toString('latin1')}`);
      else lines.push(`${at} ${entry.kind} ${mode} ${entry.major}:${entry.minor}`);
      if (entry.kind === 'dir') visit(inode, `${at}/`);
    }
  };
  visit(0, '');
  return lines.sort();
}
