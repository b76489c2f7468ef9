// What an archive of images says it holds: `docker save` of 20.10 (manifest.json with ID/layer.tar) and of 25 and later (manifest.json
// with blobs/sha256/…), and OCI layouts (oci-layout, index.json). The entries themselves are read through a port.
// Source: moby image/tarexport/load.go v28; OCI image-spec v1.1, image-layout.md; containerd core/images/archive/importer.go.
import type { Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { list, object, readDocument, text, texts } from './json.ts';
import {
  type Descriptor,
  type ImageConfig,
  type Manifest,
  noMatchingManifest,
  parseJson,
  readImageConfig,
  readManifest,
  selectManifest,
} from './oci.ts';
import { type Platform, platformRank } from './platform.ts';
import { type Reference, readReference } from './reference.ts';

/** How the entries of an archive are read. */
export type ArchiveEntries = {
  /** The digest of an entry's bytes; undefined when there is no such file. */
  readonly digest: (name: string) => Digest | undefined;
  /** All bytes of a small entry. Throws image_invalid when there is no such file or it is larger than a manifest may be. */
  readonly bytes: (name: string) => Uint8Array;
};

/** A layer by its entry; `digest` is that of the entry's bytes, compressed or not. */
export type ArchiveLayer = { readonly entry: string; readonly digest: Digest; readonly diffId: Digest };
export type ArchiveImage = {
  /** Each with a tag. */
  readonly references: readonly Reference[];
  /** In OCI layouts only. */
  readonly manifestDigest: Digest | undefined;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** Lowest first. */
  readonly layers: readonly ArchiveLayer[];
};

const MANIFEST = 'manifest.json';
const LAYOUT = 'oci-layout';
const INDEX = 'index.json';
const DEPTH_MAX = 4;
const IMAGES_MAX = 1024;

const dockerItems = object({ items: list(object({ Config: text, RepoTags: texts, Layers: texts })) });

function invalid(why: string, hint?: string): BerthError {
  return new BerthError('image_invalid', `invalid archive: ${why}`, hint === undefined ? {} : { hint });
}

/** All images of an archive that fit a machine. Throws image_invalid, bad_parameter for names that are no references. */
export function readArchive(entries: ArchiveEntries, want: Platform): readonly ArchiveImage[] {
  if (entries.digest(MANIFEST) !== undefined) return readDockerArchive(entries);
  if (entries.digest(INDEX) !== undefined) return readLayout(entries, want);
  if (entries.digest('repositories') !== undefined) {
    throw invalid('it has no manifest.json', 'save the image again with Docker 1.10 or later');
  }
  throw invalid('it has neither manifest.json nor index.json', 'give an archive of docker save or an OCI layout');
}

function readDockerArchive(entries: ArchiveEntries): readonly ArchiveImage[] {
  const json = { items: parseJson(entries.bytes(MANIFEST), MANIFEST) };
  const items = readDocument(dockerItems, json, { what: MANIFEST, code: 'image_invalid' }).items ?? [];
  if (items.length === 0 || items.length > IMAGES_MAX) throw invalid(`manifest.json lists ${items.length} images`);
  return items.map((item) => {
    const references = (item.RepoTags ?? []).map((tag) => taggedReference(tag));
    return { references, manifestDigest: undefined, ...readContents(entries, item.Config, item.Layers ?? []) };
  });
}

type Contents = Pick<ArchiveImage, 'configBytes' | 'config' | 'layers'>;

function readContents(entries: ArchiveEntries, configEntry: string, layerEntries: readonly string[]): Contents {
  const configBytes = entries.bytes(configEntry);
  const config = readImageConfig(configBytes);
  if (config.diffIds.length !== layerEntries.length) {
    const counts = `expected ${config.diffIds.length}, got ${layerEntries.length}`;
    throw new BerthError('image_invalid', `invalid manifest, layers length mismatch: ${counts}`);
  }
  const layers = config.diffIds.map((diffId, i) => {
    const entry = layerEntries[i] ?? '';
    const digest = entries.digest(entry);
    if (digest === undefined) throw invalid(`layer ${JSON.stringify(entry)} is missing`);
    return { entry, digest, diffId };
  });
  return { configBytes, config, layers };
}

function taggedReference(given: string): Reference {
  const read = readReference(given);
  if (read.kind === 'bad') throw new BerthError('image_invalid', `invalid tag ${JSON.stringify(given)}: ${read.why}`);
  if (read.reference.tag === undefined) throw new BerthError('image_invalid', `invalid tag ${JSON.stringify(given)}`);
  return { ...read.reference, digest: undefined };
}

/** The entry where a layout keeps a blob. */
function blobEntry(digest: Digest): string {
  return `blobs/sha256/${digest.slice('sha256:'.length)}`;
}

/** A blob's bytes. Throws image_invalid when they are not what their name says. */
function blobBytes(entries: ArchiveEntries, digest: Digest): Uint8Array {
  const entry = blobEntry(digest);
  const found = entries.digest(entry);
  if (found === undefined) throw invalid(`blob ${digest} is missing`);
  if (found !== digest) throw invalid(`blob ${digest} is damaged: its digest is ${found}`);
  return entries.bytes(entry);
}

type Candidate = { name: string | undefined; digest: Digest; manifest: Manifest; rank: number };

function readLayout(entries: ArchiveEntries, want: Platform): readonly ArchiveImage[] {
  const version = readDocument(
    object({ imageLayoutVersion: text }),
    parseJson(entries.digest(LAYOUT) === undefined ? new TextEncoder().encode('{}') : entries.bytes(LAYOUT), LAYOUT),
    { what: LAYOUT, code: 'image_invalid' },
  ).imageLayoutVersion;
  if (version !== '1.0.0') throw invalid(`${LAYOUT} is missing or of another version than 1.0.0`);
  const top = readManifest(entries.bytes(INDEX));
  if (top.kind !== 'index') throw invalid(`${INDEX} is no image index`);
  if (top.manifests.length > IMAGES_MAX) throw invalid(`${INDEX} lists ${top.manifests.length} images`);
  const found = top.manifests.flatMap((entry) => candidate(entries, { entry, name: nameOf(entry), want, depth: 0 }));
  if (found.length === 0) throw new BerthError('image_not_found', noMatchingManifest(want));
  return groupByDigest(bestByName(found)).map(([one, references]) => {
    const { config, layers } = one.manifest;
    blobBytes(entries, config.digest);
    const names = layers.map((layer) => blobEntry(layer.digest));
    const contents = readContents(entries, blobEntry(config.digest), names);
    const damaged = contents.layers.find((layer, i) => layer.digest !== layers[i]?.digest);
    if (damaged !== undefined) throw invalid(`${damaged.entry} is damaged: its digest is ${damaged.digest}`);
    return { references, manifestDigest: one.digest, ...contents };
  });
}

type Search = { entry: Descriptor; name: string | undefined; want: Platform; depth: number };

function candidate(entries: ArchiveEntries, search: Search): Candidate[] {
  const { entry, name, want, depth } = search;
  const rank = entry.platform === undefined ? 0 : platformRank(want, entry.platform);
  if (rank === undefined || depth > DEPTH_MAX || entry.annotations['vnd.docker.reference.type'] !== undefined)
    return [];
  const manifest = readManifest(blobBytes(entries, entry.digest), entry.mediaType);
  if (manifest.kind === 'manifest') return [{ name, digest: entry.digest, manifest, rank }];
  const inner = selectManifest(manifest, want);
  return inner === undefined ? [] : candidate(entries, { entry: inner, name, want, depth: depth + 1 });
}

function nameOf(entry: Descriptor): string | undefined {
  const full = entry.annotations['io.containerd.image.name'];
  if (full !== undefined) return full;
  const ref = entry.annotations['org.opencontainers.image.ref.name'];
  return ref !== undefined && /[:/]/.test(ref) ? ref : undefined; // a bare tag names no repository
}

/** Where two entries have one name (an index flattened over platforms), the better fitting one. */
function bestByName(found: readonly Candidate[]): readonly Candidate[] {
  return found.filter(
    (one, i) =>
      one.name === undefined ||
      !found.some(
        (other, j) => other.name === one.name && (other.rank < one.rank || (other.rank === one.rank && j < i)),
      ),
  );
}

function groupByDigest(found: readonly Candidate[]): readonly (readonly [Candidate, readonly Reference[]])[] {
  const groups = new Map<Digest, [Candidate, Reference[]]>();
  for (const one of found) {
    const group = groups.get(one.digest) ?? [one, []];
    if (one.name !== undefined) group[1].push(taggedReference(one.name));
    groups.set(one.digest, group);
  }
  return [...groups.values()];
}
