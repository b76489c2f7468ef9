// Pulls an image: resolves its name, fetches its config, downloads the layers that are missing, some at a time.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { type Descriptor, type ImageConfig, platformOf, readImageConfig } from '../spec/oci.ts';
import { type Platform, platformRank, platformText } from '../spec/platform.ts';
import { familiarText, type Reference, withDefaultTag } from '../spec/reference.ts';
import { downloadBlob } from './blob.ts';
import { openRegistry, type RegistryClient, type RegistryOptions } from './client.ts';
import { fetchConfig, pullScope, resolveManifest } from './manifest.ts';
import { byteProgress, layerLine, type OnProgress, pullingFrom } from './progress.ts';

const AT_ONCE = 3;

/** A layer of the image. `path` is undefined when it was there already; else the blob lies there, and is the caller's to remove. */
export type PulledLayer = {
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly path: string | undefined;
};

/** Takes a blob while it comes: parts with their places, then whether all of it came. */
export type Sink = {
  readonly write: (bytes: Uint8Array, at: number) => Promise<void>;
  readonly end: (whole: boolean) => void;
};

export type PullWish = {
  readonly reference: Reference;
  readonly platform: Platform;
  /** The user asked for this platform: an image of another one is refused. */
  readonly platformAsked: boolean;
  /** An empty directory for this pull alone, on the disk where the layers go. */
  readonly spoolDir: string;
  /** Whether a layer need not be downloaded. */
  readonly have: (layer: { digest: Digest; diffId: Digest }) => boolean;
  /** Whether the whole image is there already: then no line is told about its layers, as in Docker. */
  readonly known?: (configDigest: Digest) => boolean;
  readonly onProgress: OnProgress;
  /** Called for each distinct layer that was downloaded, lowest first, one at a time, while others still come. */
  readonly onLayer?: (layer: PulledLayer) => Promise<void>;
  /** Asked when a layer's download begins: who wants its bytes as they come. They are in its file all the same. */
  readonly sinkFor?: (layer: PulledLayer) => Sink | undefined;
  readonly retryMs?: readonly number[];
};

export type Pulled = {
  /** What the reference means at the registry; perhaps an index. */
  readonly digest: Digest;
  readonly manifestDigest: Digest;
  readonly manifestBytes: Uint8Array;
  readonly configDigest: Digest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** Lowest first, as in the manifest. */
  readonly layers: readonly PulledLayer[];
};

/** Pulls. On failure nothing stays in the spool directory but what onLayer was given. Throws image_not_found, image_invalid, registry, no_space. */
export async function pullImage(wish: PullWish, options: RegistryOptions): Promise<Pulled> {
  const reference = withDefaultTag(wish.reference);
  using client = await openRegistry(reference.domain, options);
  const resolved = await resolveManifest(client, reference, wish.platform);
  wish.onProgress(pullingFrom(reference));
  const { manifest, digest, manifestBytes, manifestDigest } = resolved;
  const configBytes = await fetchConfig(client, reference, manifest.config);
  const config = readImageConfig(configBytes);
  checkConfig(wish, config, manifest.layers.length);
  const known = wish.known?.(manifest.config.digest) === true;
  const job = { client, wish, known, scope: pullScope(reference), repository: reference.path, signal: options.signal };
  const layers = await pullLayers(job, manifest.layers, config.diffIds);
  return { digest, manifestDigest, manifestBytes, configDigest: manifest.config.digest, configBytes, config, layers };
}

function checkConfig(wish: PullWish, config: ImageConfig, layers: number): void {
  if (config.diffIds.length !== layers) {
    const counts = `expected ${config.diffIds.length}, got ${layers}`;
    throw new BerthError('image_invalid', `invalid manifest, layers length mismatch: ${counts}`);
  }
  const actual = platformOf(config);
  if (!wish.platformAsked || platformRank(wish.platform, actual) !== undefined) return;
  const [wanted, got] = [platformText(wish.platform), platformText(actual)];
  const name = familiarText(withDefaultTag(wish.reference));
  throw new BerthError(
    'image_not_found',
    `image with reference ${name} was found but its platform (${got}) does not match the specified platform (${wanted})`,
  );
}

type Job = {
  readonly client: RegistryClient;
  readonly wish: PullWish;
  readonly known: boolean;
  readonly scope: string;
  readonly repository: string;
  readonly signal: AbortSignal | undefined;
};

async function pullLayers(job: Job, found: readonly Descriptor[], diffIds: readonly Digest[]): Promise<PulledLayer[]> {
  const { wish } = job;
  const layers = found.map(({ digest, mediaType, size }, i): PulledLayer => {
    const diffId = diffIds[i] as Digest;
    const path = wish.have({ digest, diffId }) ? undefined : join(wish.spoolDir, digest.slice('sha256:'.length));
    return { digest, diffId, mediaType, size, path };
  });
  const unlike = layers.find((layer) =>
    layers.some((other) => other.digest === layer.digest && other.diffId !== layer.diffId),
  );
  if (unlike !== undefined)
    throw new BerthError('image_invalid', `image config: layer ${unlike.digest} has two diff ids`);
  const distinct = [...new Map(layers.map((layer) => [layer.digest, layer])).values()];
  const missing = distinct.filter((layer) => layer.path !== undefined);
  for (const layer of job.known && missing.length === 0 ? [] : distinct) {
    wish.onProgress(layerLine(layer.digest, layer.path === undefined ? 'Already exists' : 'Pulling fs layer'));
  }
  await downloadAll(job, missing);
  return layers;
}

async function downloadAll(job: Job, missing: readonly PulledLayer[]): Promise<void> {
  const { wish } = job;
  const stop = new AbortController();
  const signal = job.signal === undefined ? stop.signal : AbortSignal.any([job.signal, stop.signal]);
  const given = new Set<PulledLayer>();
  const slots = limiter(AT_ONCE);
  const downloads = missing.map((layer, i) => {
    if (i >= AT_ONCE) wish.onProgress(layerLine(layer.digest, 'Waiting'));
    return slots(() => pullLayer({ ...job, signal }, layer));
  });
  try {
    for (const download of downloads) download.catch((error: unknown) => stop.abort(error)); // one failure ends all
    for (const [i, layer] of missing.entries()) {
      await downloads[i];
      given.add(layer);
      await wish.onLayer?.(layer);
    }
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(downloads);
    const left = missing.filter((layer) => !given.has(layer) || wish.onLayer === undefined);
    for (const { path } of left) if (path !== undefined) await rm(path, { force: true });
    throw job.signal?.aborted ? job.signal.reason : error;
  }
}

async function pullLayer(job: Job, layer: PulledLayer): Promise<void> {
  const { digest, size, path } = layer;
  const { client, wish, repository, scope, signal } = job;
  if (path === undefined) return;
  signal?.throwIfAborted();
  const onBytes = byteProgress(layer, 'Downloading', wish.onProgress);
  const onVerify = (): void => wish.onProgress(layerLine(digest, 'Verifying Checksum'));
  const retry = wish.retryMs === undefined ? {} : { retryMs: wish.retryMs };
  const sink = wish.sinkFor?.(layer);
  let whole = false;
  try {
    const options = { scope, onBytes, onVerify, signal, also: sink?.write, ...retry };
    await downloadBlob(client, { repository, digest, size, path }, options);
    whole = true;
  } finally {
    sink?.end(whole);
  }
  wish.onProgress(layerLine(digest, 'Download complete'));
}

/** Runs at most `most` of the given works at a time, in order. */
function limiter(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= most) await new Promise<void>((turn) => waiting.push(turn));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
