// Image records: layers and blobs they stand on, tags and digests that name them, and finding one as a person names it.
import { asDigest, type Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import {
  canonicalName,
  canonicalText,
  familiarText,
  type Reference,
  readReference,
  withDefaultTag,
} from '../spec/reference.ts';
import { commit, type Store, sql } from './open.ts';
import type { BlobRecord, ImageRecord, LayerRecord, Tag } from './records.ts';

/** Records a layer that the helper has taken, and the form it came in. Until an image needs it, it is among unusedLayers(). */
export function saveLayer(store: Store, layer: LayerRecord, blob?: BlobRecord): void {
  commit(store, () => {
    sql(store, 'INSERT OR IGNORE INTO layers (diff_id, size, added_ms) VALUES (?, ?, ?)').run(
      layer.diffId,
      layer.size,
      layer.addedMs,
    );
    if (blob !== undefined) {
      sql(store, 'INSERT OR REPLACE INTO blobs (digest, diff_id, media_type, size, kept) VALUES (?, ?, ?, ?, ?)').run(
        blob.digest,
        blob.diffId,
        blob.mediaType,
        blob.size,
        blob.kept ? 1 : 0,
      );
    }
  });
  if (!store.layers.has(layer.diffId)) store.layers.set(layer.diffId, layer);
  if (blob !== undefined) store.blobs.set(blob.digest, blob);
}

export type NewImage = {
  readonly image: ImageRecord;
  /** Each with a tag, which moves to this image. */
  readonly tags: readonly Reference[];
  /** The manifest it came by, and the name it was asked for. */
  readonly source: { readonly name: Reference; readonly digest: Digest } | undefined;
};

/** Records an image with its names in one step; an image that is known keeps its record. Its layers must be recorded before. */
export function saveImage(store: Store, { image, tags, source }: NewImage): void {
  const known = store.images.has(image.id);
  const given = tags.map(
    (reference): Tag => ({ reference: tagOnly(reference), imageId: image.id, taggedMs: image.addedMs }),
  );
  commit(store, () => {
    if (!known) insertImage(store, image);
    for (const tag of given) insertTag(store, tag);
    if (source === undefined) return;
    sql(store, 'INSERT OR REPLACE INTO digests (name, digest, image_id) VALUES (?, ?, ?)').run(
      canonicalName(source.name),
      source.digest,
      image.id,
    );
  });
  if (!known) store.images.set(image.id, image);
  for (const tag of given) store.tags.set(canonicalText(tag.reference), tag);
  if (source !== undefined) store.digests.set(`${canonicalName(source.name)}@${source.digest}`, image.id);
}

function insertImage(store: Store, image: ImageRecord): void {
  sql(store, 'INSERT INTO images (id, config, added_ms) VALUES (?, ?, ?)').run(
    image.id,
    image.configBytes,
    image.addedMs,
  );
  for (const [i, { diffId, blob }] of image.layers.entries()) {
    sql(store, 'INSERT INTO image_layers (image_id, position, diff_id, blob) VALUES (?, ?, ?, ?)').run(
      image.id,
      i,
      diffId,
      blob ?? null,
    );
  }
}

function insertTag(store: Store, tag: Tag): void {
  sql(store, 'INSERT OR REPLACE INTO tags (reference, image_id, tagged_ms) VALUES (?, ?, ?)').run(
    canonicalText(tag.reference),
    tag.imageId,
    tag.taggedMs,
  );
}

const tagOnly = (reference: Reference): Reference => ({ ...withDefaultTag(reference), digest: undefined });

/** Gives an image one more name; a tag that meant another image moves. Throws bad_parameter for a reference with a digest. */
export function tagImage(store: Store, tag: Tag): void {
  if (tag.reference.digest !== undefined)
    throw new BerthError('bad_parameter', 'refusing to create a tag with a digest reference');
  const full = { ...tag, reference: tagOnly(tag.reference) };
  commit(store, () => insertTag(store, full));
  store.tags.set(canonicalText(full.reference), full);
}

/** Takes a tag away; the image stays. */
export function removeTag(store: Store, reference: Reference): void {
  const key = canonicalText(tagOnly(reference));
  commit(store, () => {
    sql(store, 'DELETE FROM tags WHERE reference = ?').run(key);
  });
  store.tags.delete(key);
}

/** Takes a `name@digest` away; the image stays. */
export function removeDigest(store: Store, name: Reference, digest: Digest): void {
  commit(store, () => {
    sql(store, 'DELETE FROM digests WHERE name = ? AND digest = ?').run(canonicalName(name), digest);
  });
  store.digests.delete(`${canonicalName(name)}@${digest}`);
}

/** Removes an image and all its names. What only it stood on is among unusedLayers() then. */
export function removeImage(store: Store, id: Digest): void {
  commit(store, () => {
    sql(store, 'DELETE FROM images WHERE id = ?').run(id);
  });
  store.images.delete(id);
  for (const [key, tag] of store.tags) if (tag.imageId === id) store.tags.delete(key);
  for (const [key, imageId] of store.digests) if (imageId === id) store.digests.delete(key);
}

/** An image's tags, in order of their names. */
export function tagsOf(store: Store, id: Digest): readonly Tag[] {
  const keys = [...store.tags].filter(([, tag]) => tag.imageId === id).sort(([a], [b]) => (a < b ? -1 : 1));
  return keys.map(([, tag]) => tag);
}

/** An image's `name@digest` in canonical form, in order. */
export function digestsOf(store: Store, id: Digest): readonly string[] {
  return [...store.digests]
    .filter(([, imageId]) => imageId === id)
    .map(([key]) => key)
    .sort();
}

/** Bytes of an image's layers, uncompressed; a layer that occurs twice counts once. */
export function imageSize(store: Store, image: ImageRecord): number {
  const distinct = new Set(image.layers.map((layer) => layer.diffId));
  return [...distinct].reduce((sum, diffId) => sum + (store.layers.get(diffId)?.size ?? 0), 0);
}

/** Layers that no image needs: give each up at the helper, then forgetLayer(). A pull in progress has such layers, too. */
export function unusedLayers(store: Store): readonly LayerRecord[] {
  const used = new Set([...store.images.values()].flatMap((image) => image.layers.map((layer) => layer.diffId)));
  return [...store.layers.values()].filter((layer) => !used.has(layer.diffId));
}

/** Forgets a layer and its blobs. Throws internal when an image still needs it. */
export function forgetLayer(store: Store, diffId: Digest): void {
  if ([...store.images.values()].some((image) => image.layers.some((layer) => layer.diffId === diffId))) {
    throw new BerthError('internal', `layer ${diffId} is still needed by an image`);
  }
  commit(store, () => {
    sql(store, 'DELETE FROM layers WHERE diff_id = ?').run(diffId);
  });
  store.layers.delete(diffId);
  for (const [digest, blob] of store.blobs) if (blob.diffId === diffId) store.blobs.delete(digest);
}

/**
 * Finds an image as a person names it: id (with or without `sha256:`), name with tag or digest, beginning of an id.
 * Throws image_not_found with Docker's message, bad_parameter. Source: moby daemon/images/image.go, GetImage, v20.10.
 */
export function findImage(store: Store, ref: string): ImageRecord {
  const id = asDigest(ref) ?? asDigest(`sha256:${ref}`);
  if (id !== undefined) return existing(store.images.get(id), ref);
  const read = readReference(ref);
  const named = read.kind === 'reference' ? byName(store, read.reference) : undefined;
  if (named !== undefined) return named;
  const begin = ref.replace(/^sha256:/, '');
  const found = /^[0-9a-f]+$/.test(begin)
    ? [...store.images.values()].filter((image) => image.id.startsWith(`sha256:${begin}`))
    : [];
  if (found.length > 1) throw new BerthError('bad_parameter', `Multiple images found with provided prefix: ${ref}`);
  if (found[0] === undefined && read.kind === 'bad') throw new BerthError('bad_parameter', read.why);
  return existing(found[0], read.kind === 'reference' ? familiarText(withDefaultTag(read.reference)) : ref);
}

function byName(store: Store, reference: Reference): ImageRecord | undefined {
  const key =
    reference.digest === undefined
      ? store.tags.get(canonicalText(withDefaultTag(reference)))?.imageId
      : store.digests.get(`${canonicalName(reference)}@${reference.digest}`);
  return key && store.images.get(key);
}

function existing(image: ImageRecord | undefined, shown: string): ImageRecord {
  if (image === undefined) throw new BerthError('image_not_found', `No such image: ${shown}`);
  return image;
}
