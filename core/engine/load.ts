// `docker load`: the archive's entries to a spool directory, its layers from there to the helper, then a record for each image.
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { BerthError } from '../base/errors.ts';
import { type LoadedImage, type LoadedLayer, loadArchive } from '../registry/archive.ts';
import { byteProgress } from '../registry/progress.ts';
import { familiarText } from '../spec/reference.ts';
import { saveImage } from '../store/images.ts';
import type { Context } from './context.ts';
import type { Images, Progress } from './engine.ts';
import { makeFeed } from './feed.ts';
import type { Layers } from './layers.ts';
import { HOST_PLATFORM, spoolRoot } from './pull.ts';

export type LoadParts = { readonly context: Context; readonly layers: Layers };

/** More than any archive of images that a machine's disk would hold twice. */
const ARCHIVE_BYTES_MAX = 2 ** 40;

export function loadVerb(parts: LoadParts): Images['load'] {
  return (archive) => {
    const stop = new AbortController();
    const feed = makeFeed<Progress>({
      onEnd: () => stop.abort(new BerthError('image_invalid', 'the load was given up')),
    });
    load(parts, { archive, signal: stop.signal, tell: feed.push }).then(() => feed.end(), feed.end);
    return feed.iterable;
  };
}

type LoadAsked = { readonly archive: Readable; readonly signal: AbortSignal; readonly tell: (line: Progress) => void };

async function load({ context, layers }: LoadParts, { archive, signal, tell }: LoadAsked): Promise<void> {
  const dir = join(spoolRoot(context.dir), randomBytes(8).toString('hex'));
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const unpin = await layers.pin();
  try {
    const images = await loadArchive(archive, { dir, bytesMax: ARCHIVE_BYTES_MAX, signal }, HOST_PLATFORM);
    const distinct = new Map(images.flatMap((image) => image.layers.map((layer) => [layer.diffId, layer] as const)));
    await Promise.all([...distinct.values()].map((layer) => addLayer({ context, layers }, layer, tell)));
    for (const image of images) await record(context, image, tell);
  } finally {
    unpin();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function addLayer(
  { context, layers }: LoadParts,
  layer: LoadedLayer,
  tell: (line: Progress) => void,
): Promise<void> {
  const { diffId, path, size } = layer;
  if (context.store.layers.has(diffId)) return;
  // As Docker: a layer is called by its diff id here.
  byteProgress({ digest: diffId, size }, 'Loading layer', (line) => tell(line as Progress))(size);
  await layers.add({ diffId, path, blob: undefined });
}

async function record(context: Context, image: LoadedImage, tell: (line: Progress) => void): Promise<void> {
  const { configDigest: id, configBytes, config, references } = image;
  const layers = image.layers.map(({ diffId }) => ({ diffId, blob: undefined }));
  if (layers.length > 0) await context.imageFiles.owners(config.diffIds);
  saveImage(context.store, {
    image: { id, configBytes, config, layers, addedMs: Date.now() },
    tags: references,
    source: undefined,
  });
  for (const reference of references) tell({ stream: `Loaded image: ${familiarText(reference)}\n` });
  if (references.length === 0) tell({ stream: `Loaded image ID: ${id}\n` });
  context.events.emit({
    type: 'image',
    action: 'load',
    id,
    attributes: { name: references[0] === undefined ? id : familiarText(references[0]) },
  });
}
