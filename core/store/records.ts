// What the store keeps: images, their layers and blobs, tags, containers.
import type { ContainerId, Digest } from '../base/brand.ts';
import type { ImageConfig } from '../spec/oci.ts';
import type { Reference } from '../spec/reference.ts';

/** A layer that the helper holds for us. `size`: bytes of its uncompressed tar. */
export type LayerRecord = { readonly diffId: Digest; readonly size: number; readonly addedMs: number };

/** A compressed form of a layer, as some registry has it. `kept`: its file lies in the store's blobs. */
export type BlobRecord = {
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly kept: boolean;
};

/** A layer of an image; `blob` is the form it came in, where it came from a registry. */
export type ImageLayer = { readonly diffId: Digest; readonly blob: Digest | undefined };

export type ImageRecord = {
  /** The digest of the config's bytes. */
  readonly id: Digest;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** Lowest first. */
  readonly layers: readonly ImageLayer[];
  readonly addedMs: number;
};

/** A name with a tag, and the image it means now. */
export type Tag = { readonly reference: Reference; readonly imageId: Digest; readonly taggedMs: number };

/** `document` is the engine's, any JSON; treat it as frozen. `name` is without the leading slash. */
export type ContainerRecord = { readonly id: ContainerId; readonly name: string; readonly document: unknown };
