// Pulling an image: the registry's blobs to a spool directory, each from there to the helper while others still come, then the record.
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BerthError } from '../base/errors.ts';
import { isStateRefusal } from '../link/refusal.ts';
import { pulledLines } from '../registry/progress.ts';
import { byteProgress, layerLine, type OnProgress } from '../registry/progress.ts';
import { type Pulled, type PulledLayer, pullImage } from '../registry/pull.ts';
import { canonicalText, familiarText, parseReference, type Reference, withDefaultTag } from '../spec/reference.ts';
import { parsePlatform, type Platform } from '../spec/platform.ts';
import { forgetLayer, saveImage } from '../store/images.ts';
import type { Context } from './context.ts';
import type { Images, Progress, RegistryAuth } from './engine.ts';
import { makeFeed } from './feed.ts';
import type { LayerStream } from './layer-stream.ts';
import { VERSION } from './version.ts';
import type { Layers } from './layers.ts';

export type PullParts = {
  readonly context: Context;
  readonly layers: Layers;
  readonly insecureRegistries: readonly string[];
};

/** This machine, as images name it. */
export const HOST_PLATFORM: Platform = {
  os: 'linux',
  architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
  variant: '',
};

/** `images.pull`: lines until it is done; leaving the loop gives the pull up. */
export function pullVerb(parts: PullParts): Images['pull'] {
  return (text, { auth, platform }) => {
    const stop = new AbortController();
    const feed = makeFeed<Progress>({ onEnd: () => stop.abort(new BerthError('registry', 'the pull was given up')) });
    const work = async (): Promise<void> => {
      const reference = withDefaultTag(parseReference(text));
      const wanted = platform === undefined ? HOST_PLATFORM : parsePlatform(platform, HOST_PLATFORM);
      const wish = { reference, platform: wanted, platformAsked: platform !== undefined };
      await pull(parts, { ...wish, auth, signal: stop.signal, onProgress: (line) => feed.push(line as Progress) });
    };
    work().then(() => feed.end(), feed.end);
    return feed.iterable;
  };
}

type PullAsked = {
  readonly reference: Reference;
  readonly platform: Platform;
  readonly platformAsked: boolean;
  readonly auth: RegistryAuth | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
};

async function pull(parts: PullParts, asked: PullAsked): Promise<void> {
  const { context, layers } = parts;
  const { reference } = asked;
  const spoolDir = join(spoolRoot(context.dir), randomBytes(8).toString('hex'));
  mkdirSync(spoolDir, { recursive: true, mode: 0o700 });
  const unpin = await layers.pin();
  try {
    let pulled = await download(parts, asked, spoolDir);
    if (!(await merge(context, pulled))) {
      pulled = await download(parts, asked, spoolDir);
      await context.imageFiles.owners(pulled.config.diffIds);
    }
    const before = context.store.tags.get(canonicalText(reference))?.imageId;
    const known = reference.digest !== undefined && context.store.images.has(pulled.configDigest);
    record(context, reference, pulled);
    const newer = before !== pulled.configDigest && !known;
    for (const line of pulledLines(reference, pulled.digest, newer)) asked.onProgress(line);
    context.events.emit({
      type: 'image',
      action: 'pull',
      id: familiarText(reference),
      attributes: { name: familiarText(reference) },
    });
  } finally {
    unpin();
    rmSync(spoolDir, { recursive: true, force: true });
  }
}

/** What pulls that were interrupted leave lies here; it is cleaned at start. */
export function spoolRoot(dir: string): string {
  return join(dir, 'spool');
}

async function download(parts: PullParts, asked: PullAsked, spoolDir: string): Promise<Pulled> {
  const { context, layers } = parts;
  const { auth, reference, platform, platformAsked, onProgress, signal } = asked;
  const imports: Promise<void>[] = [];
  const streams = new Map<PulledLayer, LayerStream>();
  const sinkFor = (layer: PulledLayer): LayerStream | undefined => {
    const { digest, diffId, mediaType, size } = layer;
    const stream = layers.stream({ diffId, blob: { digest, mediaType, size } });
    stream?.taken.catch(() => {}); // then it is read from its file
    if (stream !== undefined) streams.set(layer, stream);
    return stream;
  };
  const onLayer = async (layer: PulledLayer): Promise<void> => {
    const streamed = streams.get(layer)?.taken.catch(() => {});
    const work = importLayer({ layers, streamed, onProgress }, layer);
    work.catch(() => {}); // seen below, with all others
    imports.push(work);
  };
  const have = ({ diffId }: { diffId: PulledLayer['diffId'] }): boolean => context.store.layers.has(diffId);
  const known = (id: Pulled['configDigest']): boolean => context.store.images.has(id);
  const credentials = auth === undefined ? ({ kind: 'anonymous' } as const) : ({ kind: 'password', ...auth } as const);
  try {
    return await pullImage(
      { reference, platform, platformAsked, spoolDir, have, known, onProgress, onLayer, sinkFor },
      { credentials, insecure: parts.insecureRegistries, signal, userAgent: `berth/${VERSION}` },
    );
  } finally {
    const outcomes = await Promise.allSettled(imports);
    await Promise.allSettled([...streams.values()].map(({ taken }) => taken)); // no import goes on when the pull is over
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    // biome-ignore lint/correctness/noUnsafeFinally: the download worked, or failed because of this
    if (failed !== undefined) throw failed.reason;
  }
}

type Importing = {
  readonly layers: Layers;
  /** Settled when the layer's stream is. */
  readonly streamed: Promise<void> | undefined;
  readonly onProgress: OnProgress;
};

async function importLayer({ layers, streamed, onProgress }: Importing, layer: PulledLayer): Promise<void> {
  const { digest, diffId, mediaType, size, path } = layer;
  if (path === undefined) return;
  byteProgress(layer, 'Extracting', onProgress)(size);
  await streamed;
  await layers.add({ diffId, path, blob: { digest, mediaType, size } });
  onProgress(layerLine(digest, 'Pull complete'));
}

/**
 * One image of all its layers; false when the helper does not have some that we thought it has (its state was lost). They are forgotten then,
 * so that they are downloaded again.
 */
async function merge(context: Context, pulled: Pulled): Promise<boolean> {
  const { store } = context;
  const { diffIds } = pulled.config;
  try {
    await context.imageFiles.owners(diffIds);
    return true;
  } catch (error) {
    if (!isStateRefusal(error)) throw error;
    const needed = new Set([...store.images.values()].flatMap((image) => image.layers.map((layer) => layer.diffId)));
    if (diffIds.some((diffId) => needed.has(diffId))) throw lostLayers(error);
    for (const diffId of diffIds) forgetLayer(store, diffId);
    return false;
  }
}

function lostLayers(cause: unknown): BerthError {
  const hint = 'remove the images that have them (berth rmi), then pull again';
  return new BerthError('store_damaged', 'the helper has lost layers that other images share with this one', {
    cause,
    hint,
  });
}

function record(context: Context, reference: Reference, pulled: Pulled): void {
  const { configDigest: id, configBytes, config, digest } = pulled;
  const layers = pulled.layers.map((layer) => ({ diffId: layer.diffId, blob: layer.digest }));
  const image = { id, configBytes, config, layers, addedMs: Date.now() };
  saveImage(context.store, {
    image,
    tags: reference.tag === undefined ? [] : [reference],
    source: { name: reference, digest },
  });
}
