// Image manifests, indexes and configs, OCI's and Docker's (schema 2), from bytes of others to checked values.
// Source: OCI image-spec v1.1, manifest.md, image-index.md, config.md, descriptor.md; moby/docker-image-spec v1.3.
import { asDigest, type Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { containerConfig } from './docker-config.ts';
import {
  bool,
  type Field,
  int,
  list,
  Mismatch,
  object,
  type Of,
  optional,
  readDocument,
  text,
  textDict,
} from './json.ts';
import { normalPlatform, type Platform, platformRank, platformText } from './platform.ts';

/** More than any image has; a document beyond is refused. */
export const IMAGE_LIMITS = {
  manifestBytes: 4 << 20,
  configBytes: 4 << 20,
  layerBytes: 2 ** 40,
  layers: 256,
  indexEntries: 1024,
} as const;

export const MEDIA = {
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
} as const;

/** How a layer's blob is compressed, by its media type. Layers that are fetched from elsewhere (`foreign`, `nondistributable`) are not here. */
const LAYERS: Readonly<Record<string, Compression>> = {
  'application/vnd.docker.image.rootfs.diff.tar': 'none',
  'application/vnd.docker.image.rootfs.diff.tar.gzip': 'gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd': 'zstd',
  'application/vnd.oci.image.layer.v1.tar': 'none',
  'application/vnd.oci.image.layer.v1.tar+gzip': 'gzip',
  'application/vnd.oci.image.layer.v1.tar+zstd': 'zstd',
};
export type Compression = 'none' | 'gzip' | 'zstd';

const SCHEMA_1 = 'Docker image manifest version 2, schema 1 is not supported';

/** `platform` only in an index. */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform: Platform | undefined;
  readonly annotations: Readonly<Record<string, string>>;
};
export type Manifest = {
  readonly kind: 'manifest';
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
};
export type Index = {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
};

const platformField = object({ os: text, architecture: text, variant: text });

const descriptorFields = object({
  mediaType: text,
  digest: text,
  size: int,
  platform: optional(platformField),
  annotations: textDict,
});

/** A descriptor whose digest and size are good. */
const descriptor: Field<Descriptor> = {
  zero: () => {
    throw new Mismatch('descriptor', 'a descriptor is missing');
  },
  read: (value, at) => {
    const { mediaType, digest, size, platform, annotations } = descriptorFields.read(value, at);
    const known = asDigest(digest);
    if (known === undefined) throw new Mismatch(at, `${at}.digest must be sha256 and 64 digits, not ${short(digest)}`);
    if (size < 0 || size > IMAGE_LIMITS.layerBytes) throw new Mismatch(at, `${at}.size ${size} is out of range`);
    return {
      mediaType,
      digest: known,
      size,
      platform: platform && normalPlatform(platform),
      annotations: annotations ?? {},
    };
  },
};

const manifestFields = object({
  schemaVersion: int,
  mediaType: text,
  config: optional(descriptor),
  layers: list(descriptor),
  manifests: list(descriptor),
});

/** Reads a manifest or an index. `contentType`: what the registry called it, if it did. Throws image_invalid. */
export function readManifest(bytes: Uint8Array, contentType?: string): Manifest | Index {
  const json = parseJson(bytes, 'image manifest');
  if (typeof json === 'object' && json !== null && 'fsLayers' in json) {
    throw invalid('image manifest', SCHEMA_1, 'push the image again with a current Docker');
  }
  const read = readDocument(manifestFields, json, { what: 'image manifest', code: 'image_invalid' });
  if (read.schemaVersion !== 2) throw invalid('image manifest', `schemaVersion must be 2, not ${read.schemaVersion}`);
  if (read.manifests !== null && (read.layers !== null || read.config !== undefined)) {
    // Two readers could take it for two different images (CVE-2021-41190).
    throw invalid('image manifest', 'it has both manifests and layers');
  }
  const mediaType = mediaTypeOf(read, contentType);
  if (read.manifests !== null) {
    const count = read.manifests.length;
    if (count > IMAGE_LIMITS.indexEntries) throw invalid('image index', `it has ${count} entries`);
    return { kind: 'index', mediaType, manifests: read.manifests };
  }
  const { config, layers } = read;
  if (config === undefined || layers === null) throw invalid('image manifest', 'it has no config or no layers');
  if (layers.length > IMAGE_LIMITS.layers) throw invalid('image manifest', `it has ${layers.length} layers`);
  if (config.size > IMAGE_LIMITS.configBytes) throw invalid('image manifest', `its config has ${config.size} bytes`);
  checkKinds(config, layers);
  return { kind: 'manifest', mediaType, config, layers };
}

type Read = Of<typeof manifestFields>;

function mediaTypeOf(read: Read, contentType: string | undefined): string {
  const usual = read.manifests === null ? MEDIA.ociManifest : MEDIA.ociIndex;
  const fitting = read.manifests === null ? [MEDIA.dockerManifest, usual] : [MEDIA.dockerList, usual];
  const said = contentType?.split(';', 1)[0]?.trim().toLowerCase();
  const known = (Object.values(MEDIA) as string[]).includes(said ?? '') ? said : undefined;
  const mediaType = read.mediaType || known || usual;
  if (known !== undefined && known !== mediaType) {
    throw invalid('image manifest', `it says it is ${mediaType}, the registry says ${known}`);
  }
  if (!(fitting as string[]).includes(mediaType))
    throw invalid('image manifest', `${mediaType} does not fit what it holds`);
  return mediaType;
}

function checkKinds(config: Descriptor, layers: readonly Descriptor[]): void {
  if (config.mediaType !== MEDIA.dockerConfig && config.mediaType !== MEDIA.ociConfig) {
    throw invalid('image manifest', `it is no container image but of type ${short(config.mediaType)}`);
  }
  for (const layer of layers) {
    if (compressionOf(layer.mediaType) === undefined) {
      throw invalid('image manifest', `layer ${layer.digest} is of the unsupported type ${short(layer.mediaType)}`);
    }
  }
}

/** How a layer is compressed; undefined: not a layer that we can read. */
export function compressionOf(mediaType: string): Compression | undefined {
  return Object.hasOwn(LAYERS, mediaType) ? LAYERS[mediaType] : undefined;
}

/** Whether an entry of an index is an image at all, and not what was attested about one. */
function isImage(entry: Descriptor): boolean {
  if (entry.annotations['vnd.docker.reference.type'] !== undefined) return false;
  return entry.platform?.os !== 'unknown' && entry.mediaType !== MEDIA.dockerConfig;
}

/** The index's best entry for a machine, the first of equals; one that names no platform only when it is the single image. */
export function selectManifest(index: Index, want: Platform): Descriptor | undefined {
  const images = index.manifests.filter(isImage);
  const ranked = images
    .map((entry) => ({ entry, rank: entry.platform && platformRank(want, entry.platform) }))
    .filter((one) => one.rank !== undefined)
    .sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
  if (ranked[0] !== undefined) return ranked[0].entry;
  const [only] = images;
  return images.length === 1 && only?.platform === undefined ? only : undefined;
}

/** Docker's sentence for an index without a fitting image. */
export function noMatchingManifest(want: Platform): string {
  return `no matching manifest for ${platformText(want)} in the manifest list entries`;
}

const history = object({ created: text, author: text, created_by: text, comment: text, empty_layer: bool });

/** An image's config with the names of the wire. `config` is the shape of Docker's Config, as inspect shows it. */
export const imageConfig = object({
  created: text,
  author: text,
  comment: text,
  parent: text,
  docker_version: text,
  architecture: text,
  variant: text,
  os: text,
  'os.version': text,
  container: text,
  config: containerConfig,
  rootfs: object({ type: text, diff_ids: list(text) }),
  history: list(history),
});
type ImageConfigFields = Of<typeof imageConfig>;
export type ImageConfig = Omit<ImageConfigFields, 'rootfs'> & { readonly diffIds: readonly Digest[] };

/** Reads an image's config. Throws image_invalid: also when it is of another system than Linux. */
export function readImageConfig(bytes: Uint8Array): ImageConfig {
  const what = 'image config';
  if (bytes.length > IMAGE_LIMITS.configBytes) throw invalid(what, `it has ${bytes.length} bytes`);
  const { rootfs, ...rest } = readDocument(imageConfig, parseJson(bytes, what), { what, code: 'image_invalid' });
  if (rest.os !== 'linux' && rest.os !== '') {
    throw invalid(what, `image operating system ${short(rest.os)} cannot be used on this platform`);
  }
  if (rootfs.type !== 'layers' && rootfs.type !== '') throw invalid(what, `rootfs.type is ${short(rootfs.type)}`);
  const diffIds = (rootfs.diff_ids ?? []).map((given) => {
    const digest = asDigest(given);
    if (digest === undefined) throw invalid(what, `diff id ${short(given)} is no sha256 digest`);
    return digest;
  });
  if (diffIds.length > IMAGE_LIMITS.layers) throw invalid(what, `it has ${diffIds.length} layers`);
  const filled = (rest.history ?? []).filter((step) => !step.empty_layer).length;
  if (filled > diffIds.length) throw invalid(what, 'too many non-empty layers in History section');
  return { ...rest, diffIds };
}

/** The platform an image says it is for. */
export function platformOf(config: Pick<ImageConfig, 'os' | 'architecture' | 'variant'>): Platform {
  return normalPlatform({ os: config.os || 'linux', architecture: config.architecture, variant: config.variant });
}

/** Each layer's chain id, lowest first: what it is together with all beneath. Source: OCI image-spec, config.md, Layer ChainID. */
export function chainIds(diffIds: readonly Digest[], sha256: (text: string) => Digest): readonly Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256(`${below} ${diffId}`));
  }
  return chain;
}

/** Reads JSON in UTF-8. Throws image_invalid. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  if (bytes.length > IMAGE_LIMITS.manifestBytes) throw invalid(what, `it has ${bytes.length} bytes`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new BerthError('image_invalid', `${what}: it is not JSON in UTF-8`, { cause });
  }
}

function invalid(what: string, why: string, hint?: string): BerthError {
  return new BerthError('image_invalid', `${what}: ${why}`, hint === undefined ? {} : { hint });
}

function short(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}
