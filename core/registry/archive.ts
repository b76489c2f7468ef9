// Takes in what `docker load` is given: the outer tar, plain or compressed, is spooled to files entry by entry and hashed on the way;
// core/spec/archive.ts then says which images it holds. Nothing is ever opened by a name of the archive's.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, type Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import type { Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { type ArchiveEntries, type ArchiveImage, readArchive } from '../spec/archive.ts';
import { IMAGE_LIMITS } from '../spec/oci.ts';
import type { Platform } from '../spec/platform.ts';
import { badArchive, readTar } from './tar-stream.ts';

const ENTRIES_MAX = 10_000;
const LINKS_MAX = 8;
const BATCH_BYTES = 1 << 20;
const CHUNK_BYTES = 256 << 10;

export type SpoolWish = {
  /** An empty directory of the caller's alone; all of it is the caller's to remove, also after a failure. */
  readonly dir: string;
  /** Bytes of all entries together. */
  readonly bytesMax: number;
  /** Told after every MiB or so: bytes spooled. */
  readonly onBytes?: (done: number) => void;
  readonly signal?: AbortSignal | undefined;
};

/** A layer of a loaded image: its bytes lie at `path`, compressed as `mediaType` says. Two layers may share a path. */
export type LoadedLayer = {
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly path: string;
};
export type LoadedImage = Omit<ArchiveImage, 'layers'> & {
  readonly configDigest: Digest;
  /** Lowest first. */
  readonly layers: readonly LoadedLayer[];
};

type File = { readonly path: string; readonly size: number; readonly digest: Digest; readonly start: Uint8Array };

/** Spools an archive and reads which images it holds. Throws image_invalid, image_not_found (none for the platform), no_space. */
export async function loadArchive(
  source: AsyncIterable<Uint8Array>,
  wish: SpoolWish,
  platform: Platform,
): Promise<readonly LoadedImage[]> {
  const files = await spool(source, wish);
  const found = (name: string): File | undefined => resolve(files, name);
  const entries: ArchiveEntries = {
    digest: (name) => found(name)?.digest,
    bytes: (name) => {
      const file = found(name);
      if (file === undefined) throw badArchive(`${JSON.stringify(name)} is missing`);
      if (file.size > IMAGE_LIMITS.manifestBytes) throw badArchive(`${JSON.stringify(name)} has ${file.size} bytes`);
      return readFileSync(file.path);
    },
  };
  return readArchive(entries, platform).map((image) => {
    const layers = image.layers.map(({ entry, digest, diffId }): LoadedLayer => {
      const file = found(entry);
      if (file === undefined) throw badArchive(`${JSON.stringify(entry)} is missing`);
      return { digest, diffId, mediaType: layerType(entry, file.start), size: file.size, path: file.path };
    });
    return { ...image, configDigest: sha256(image.configBytes), layers };
  });
}

type Entries = { readonly files: Map<string, File>; readonly links: Map<string, string> };

function resolve({ files, links }: Entries, name: string): File | undefined {
  let at = name.replace(/^\.\//, '');
  for (let hops = 0; hops <= LINKS_MAX; hops++) {
    const target = links.get(at);
    if (target === undefined) return files.get(at);
    at = target;
  }
  throw badArchive(`${JSON.stringify(name)} is a link through more than ${LINKS_MAX} links`);
}

async function spool(source: AsyncIterable<Uint8Array>, wish: SpoolWish): Promise<Entries> {
  const entries: Entries = { files: new Map(), links: new Map() };
  let [count, total] = [0, 0];
  const next = (): number => {
    count += 1;
    if (count > ENTRIES_MAX) throw badArchive(`it has more than ${ENTRIES_MAX} files`);
    return count;
  };
  const forget = async (name: string): Promise<void> => {
    const before = entries.files.get(name);
    if (before !== undefined) await unlink(before.path); // a later entry of the same name counts, as when unpacked
    entries.files.delete(name);
    entries.links.delete(name);
  };
  await readTar(await decompressed(untilAborted(source, wish.signal)), {
    link: ({ name, target }) => {
      next();
      entries.files.delete(name);
      entries.links.set(name, target);
    },
    file: async ({ name, size }, contents) => {
      if (total + size > wish.bytesMax) throw badArchive(`it holds more than ${wish.bytesMax} bytes`);
      await forget(name);
      const path = join(wish.dir, `${next()}`);
      const onBytes = (done: number): void => wish.onBytes?.(total + done);
      entries.files.set(name, { path, size, ...(await spoolFile(path, contents, onBytes)) });
      total += size;
    },
  });
  return entries;
}

/** The source's chunks until the signal. Giving up leaves the source as it is: an answer may still go out on the connection it comes from. */
async function* untilAborted(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    signal?.throwIfAborted();
    yield next.value;
  }
}

async function spoolFile(
  path: string,
  contents: AsyncIterable<Uint8Array>,
  onBytes: (done: number) => void,
): Promise<{ digest: Digest; start: Uint8Array }> {
  const hash = createHash('sha256');
  let start: Uint8Array = new Uint8Array();
  let batch: Uint8Array[] = [];
  let [batched, done] = [0, 0];
  try {
    await using file = await open(path, 'wx', 0o600);
    const flush = async (): Promise<void> => {
      const bytes = Buffer.concat(batch);
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
      done += bytes.length;
      [batch, batched] = [[], 0];
      onBytes(done);
    };
    for await (const piece of contents) {
      hash.update(piece);
      if (start.length < 8) start = Buffer.concat([start, piece.subarray(0, 8)]);
      batch.push(piece);
      batched += piece.length;
      if (batched >= BATCH_BYTES) await flush();
    }
    await flush();
  } catch (error) {
    throw diskError(path, error);
  }
  return { digest: `sha256:${hash.digest('hex')}` as Digest, start };
}

function diskError(path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new BerthError('no_space', `write ${path}: no space left on device`, { cause: error });
}

type Packing = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz';
const MARKS: readonly (readonly [Packing, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

function packing(start: Uint8Array): Packing {
  return MARKS.find(([, mark]) => mark.every((byte, i) => start[i] === byte))?.[0] ?? 'none';
}

function layerType(entry: string, start: Uint8Array): string {
  const packed = packing(start);
  if (packed === 'none') return 'application/vnd.oci.image.layer.v1.tar';
  if (packed === 'gzip' || packed === 'zstd') return `application/vnd.oci.image.layer.v1.tar+${packed}`;
  throw badArchive(`layer ${JSON.stringify(entry)} is compressed with ${packed}, which is not supported`);
}

/** The stream without its outer compression, which its first bytes tell. */
async function decompressed(source: AsyncGenerator<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  let start: Uint8Array = new Uint8Array();
  while (start.length < 8) {
    const next = await source.next();
    if (next.done === true) break;
    start = Buffer.concat([start, next.value]);
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield start;
    yield* source;
  }
  const packed = packing(start);
  if (packed === 'none') return whole();
  if (packed === 'bzip2' || packed === 'xz') {
    throw new BerthError('image_invalid', `invalid archive: it is compressed with ${packed}`, {
      hint: `unpack it first: ${packed} -d`,
    });
  }
  const unpack =
    packed === 'gzip' ? createGunzip({ chunkSize: CHUNK_BYTES }) : createZstdDecompress({ chunkSize: CHUNK_BYTES });
  return unpacked(Readable.from(whole()), unpack);
}

async function* unpacked(packed: Readable, unpack: Transform): AsyncGenerator<Uint8Array> {
  let failure: unknown;
  packed.once('error', (error) => {
    failure = error;
    unpack.destroy(error);
  });
  packed.pipe(unpack);
  try {
    for await (const chunk of unpack as AsyncIterable<Uint8Array>) yield chunk;
  } catch (error) {
    if (failure !== undefined) throw failure;
    throw badArchive('its compression is damaged', error);
  } finally {
    packed.destroy();
  }
}

function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}
