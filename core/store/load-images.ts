// Reads images, layers and tags from the database into memory, checking what code elsewhere relies on.
import { asDigest, type Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { readImageConfig } from '../spec/oci.ts';
import { parseReference } from '../spec/reference.ts';
import type { Store } from './open.ts';
import type { ImageLayer } from './records.ts';

type Row = Readonly<Record<string, unknown>>;

function digestIn(row: Row, column: string): Digest {
  const digest = asDigest(String(row[column]));
  if (digest === undefined) throw new BerthError('store_damaged', `the store has a ${column} that is no digest`);
  return digest;
}

/** Fills the store's maps of images. Throws store_damaged. */
export function loadImages(store: Store): void {
  for (const row of store.db.prepare('SELECT * FROM layers').all()) {
    const diffId = digestIn(row, 'diff_id');
    store.layers.set(diffId, { diffId, size: Number(row['size']), addedMs: Number(row['added_ms']) });
  }
  for (const row of store.db.prepare('SELECT * FROM blobs').all()) {
    const digest = digestIn(row, 'digest');
    const rest = { mediaType: String(row['media_type']), size: Number(row['size']), kept: row['kept'] === 1 };
    store.blobs.set(digest, { digest, diffId: digestIn(row, 'diff_id'), ...rest });
  }
  const layers = new Map<string, ImageLayer[]>();
  for (const row of store.db.prepare('SELECT * FROM image_layers ORDER BY image_id, position').all()) {
    const of = layers.get(String(row['image_id'])) ?? [];
    of.push({ diffId: digestIn(row, 'diff_id'), blob: row['blob'] === null ? undefined : digestIn(row, 'blob') });
    layers.set(String(row['image_id']), of);
  }
  for (const row of store.db.prepare('SELECT * FROM images').all()) {
    const id = digestIn(row, 'id');
    const configBytes = row['config'] as Uint8Array;
    const rest = { layers: layers.get(id) ?? [], addedMs: Number(row['added_ms']) };
    store.images.set(id, { id, configBytes, config: readImageConfig(configBytes), ...rest });
  }
  loadNames(store);
}

function loadNames(store: Store): void {
  for (const row of store.db.prepare('SELECT * FROM tags').all()) {
    const key = String(row['reference']);
    const tag = { imageId: digestIn(row, 'image_id'), taggedMs: Number(row['tagged_ms']) };
    store.tags.set(key, { reference: parseReference(key), ...tag });
  }
  for (const row of store.db.prepare('SELECT * FROM digests').all()) {
    store.digests.set(`${row['name']}@${digestIn(row, 'digest')}`, digestIn(row, 'image_id'));
  }
}
