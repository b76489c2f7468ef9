// `rmi`, with Docker's rules and words. Source: moby daemon/images/image_delete.go, v20.10.
import { createHash } from 'node:crypto';
import { asDigest, type Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { chainIds } from '../spec/oci.ts';
import type { ImageDeleted } from '../spec/docker-api.ts';
import { canonicalName, familiarText, parseReference, type Reference, withDefaultTag } from '../spec/reference.ts';
import { digestsOf, findImage, removeDigest, removeImage, removeTag, tagsOf, unusedLayers } from '../store/images.ts';
import type { ImageRecord } from '../store/records.ts';
import type { Container } from './container.ts';
import type { Context } from './context.ts';
import type { Images } from './engine.ts';
import type { Layers } from './layers.ts';

type Parts = { readonly context: Context; readonly layers: Layers };

export function removeImageVerb({ context, layers }: Parts): Images['remove'] {
  return async (ref, { force }) => {
    const image = findImage(context.store, ref);
    const lines: ImageDeleted[] = [];
    const untag = (reference: Reference): void => {
      removeReference(context, reference);
      lines.push({ Untagged: familiarText(reference) });
      context.events.emit({
        type: 'image',
        action: 'untag',
        id: image.id,
        attributes: { name: familiarText(reference) },
      });
    };
    const byId = isIdPrefix(image.id, ref);
    if (byId) {
      if (isSingle(references(context, image.id))) {
        checkConflict(context, image, { force, references: false });
        for (const reference of references(context, image.id)) untag(reference);
      }
    } else {
      untagByName(context, image, { ref, force, untag });
      if (references(context, image.id).length > 0) return lines;
    }
    checkConflict(context, image, { force, references: true });
    for (const reference of references(context, image.id)) untag(reference);
    return [...lines, ...(await deleteImage({ context, layers }, image))];
  };
}

function isIdPrefix(id: Digest, ref: string): boolean {
  return /^(sha256:)?[0-9a-f]+$/.test(ref) && id.startsWith(`sha256:${ref.replace(/^sha256:/, '')}`);
}

/** All names of an image: tags, then `name@digest`. */
function references(context: Context, id: Digest): Reference[] {
  return [
    ...tagsOf(context.store, id).map((tag) => tag.reference),
    ...digestsOf(context.store, id).map(parseReference),
  ];
}

function removeReference(context: Context, reference: Reference): void {
  if (reference.digest === undefined) removeTag(context.store, reference);
  else removeDigest(context.store, reference, reference.digest);
}

/** At most one tag, and digests of no other repository. */
function isSingle(all: readonly Reference[]): boolean {
  if (all.length <= 1) return all.length === 1;
  const tags = all.filter((reference) => reference.digest === undefined);
  const names = new Set(all.map(canonicalName));
  return tags.length <= 1 && names.size === 1;
}

type ByName = { readonly ref: string; readonly force: boolean; readonly untag: (reference: Reference) => void };

function untagByName(context: Context, image: ImageRecord, { ref, force, untag }: ByName): void {
  const user = usersOf(context, image)[0];
  if (!force && user !== undefined && isSingle(references(context, image.id))) {
    const who = `container ${user.record.id.slice(0, 12)} is using its referenced image ${short(image.id)}`;
    throw new BerthError(
      'image_in_use',
      `conflict: unable to remove repository reference "${ref}" (must force) - ${who}`,
    );
  }
  const reference = withDefaultTag(parseReference(ref));
  untag(reference);
  const left = references(context, image.id).filter((other) => canonicalName(other) === canonicalName(reference));
  if (reference.digest === undefined && left.every((other) => other.digest !== undefined))
    for (const other of left) untag(other);
}

function usersOf(context: Context, image: ImageRecord): Container[] {
  return [...context.containers.values()].filter((container) => container.record.image?.id === image.id);
}

function short(id: Digest): string {
  return id.slice('sha256:'.length, 'sha256:'.length + 12);
}

function checkConflict(
  context: Context,
  image: ImageRecord,
  how: { readonly force: boolean; readonly references: boolean },
): void {
  const refuse = (kind: string, why: string): never => {
    throw new BerthError('image_in_use', `conflict: unable to delete ${short(image.id)} (${kind}) - ${why}`);
  };
  const users = usersOf(context, image);
  const running = users.find((container) => container.record.state.kind === 'running');
  if (running !== undefined)
    refuse('cannot be forced', `image is being used by running container ${running.record.id.slice(0, 12)}`);
  if (how.force) return;
  if (how.references && references(context, image.id).length > 1)
    refuse('must be forced', 'image is referenced in multiple repositories');
  const stopped = users[0];
  if (stopped !== undefined)
    refuse('must be forced', `image is being used by stopped container ${stopped.record.id.slice(0, 12)}`);
}

async function deleteImage({ context, layers }: Parts, image: ImageRecord): Promise<ImageDeleted[]> {
  const { store } = context;
  const diffIds = image.layers.map((layer) => layer.diffId);
  removeImage(store, image.id);
  context.imageFiles.forget(diffIds);
  context.events.emit({ type: 'image', action: 'delete', id: image.id, attributes: { name: image.id } });
  const unused = new Set(unusedLayers(store).map((layer) => layer.diffId));
  const chain = chainIds(diffIds, sha256);
  const deleted = diffIds.flatMap((diffId, i) => (unused.has(diffId) && chain[i] !== undefined ? [chain[i]] : []));
  await layers.dropImage(image);
  return [{ Deleted: image.id }, ...deleted.toReversed().map((id) => ({ Deleted: id }))];
}

function sha256(text: string): Digest {
  const digest = asDigest(`sha256:${createHash('sha256').update(text).digest('hex')}`);
  if (digest === undefined) throw new Error('a hash is no digest');
  return digest;
}
