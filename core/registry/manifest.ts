// Fetches manifests and configs: by tag or digest, the right one of an index, always checked against their digest.
import { createHash } from 'node:crypto';
import { asDigest, type Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { type Descriptor, IMAGE_LIMITS, MEDIA, noMatchingManifest, readManifest, selectManifest } from '../spec/oci.ts';
import type { Manifest } from '../spec/oci.ts';
import type { Platform } from '../spec/platform.ts';
import { familiarName, familiarText, type Reference } from '../spec/reference.ts';
import { faultText, type RegistryFault, readBytes, readFault } from './answer.ts';
import type { RegistryClient } from './client.ts';

const ACCEPT = [MEDIA.ociIndex, MEDIA.dockerList, MEDIA.ociManifest, MEDIA.dockerManifest].join(', ');
const DEPTH_MAX = 3;

/** `digest`: what the name means (perhaps an index); `manifest`: the one for the platform, and its bytes and digest. */
export type Resolved = {
  readonly digest: Digest;
  readonly manifest: Manifest;
  readonly manifestBytes: Uint8Array;
  readonly manifestDigest: Digest;
};

/** The scope of a token that may read a repository. */
export function pullScope(reference: Reference): string {
  return `repository:${reference.path}:pull`;
}

/** Resolves a reference to one image's manifest. Throws image_not_found and registry with Docker's messages, image_invalid. */
export async function resolveManifest(client: RegistryClient, reference: Reference, want: Platform): Promise<Resolved> {
  let name: string = reference.digest ?? reference.tag ?? 'latest';
  let top: Digest | undefined;
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    const { bytes, contentType, digest } = await fetchManifest(client, reference, name);
    top ??= digest;
    const read = readManifest(bytes, contentType);
    if (read.kind === 'manifest') return { digest: top, manifest: read, manifestBytes: bytes, manifestDigest: digest };
    const entry = selectManifest(read, want);
    if (entry === undefined) throw new BerthError('image_not_found', noMatchingManifest(want));
    name = entry.digest;
  }
  throw new BerthError('image_invalid', `image index: more than ${DEPTH_MAX} of them inside each other`);
}

type Fetched = { readonly bytes: Uint8Array; readonly contentType: string | undefined; readonly digest: Digest };

async function fetchManifest(client: RegistryClient, reference: Reference, name: string): Promise<Fetched> {
  const path = `${reference.path}/manifests/${name}`;
  const answer = await client.ask({ method: 'GET', path, headers: { accept: ACCEPT }, scope: pullScope(reference) });
  if (answer.statusCode !== 200) throw pullError(reference, await readFault(answer));
  const bytes = await readBytes(answer, IMAGE_LIMITS.manifestBytes, `manifest ${name}`);
  const digest = sha256(bytes);
  const said = answer.headers['docker-content-digest'];
  const wanted = asDigest(name) ?? (said === undefined ? digest : asDigest(String(said)));
  if (wanted !== digest) throw new BerthError('registry', `manifest verification failed for digest ${wanted ?? said}`);
  return { bytes, contentType: answer.headers['content-type'], digest };
}

/** Docker's sentence for a manifest that a registry does not give. Source: moby distribution/errors.go, translatePullError, v28. */
export function pullError(reference: Reference, fault: RegistryFault): BerthError {
  const cause = faultText(fault);
  switch (fault.code) {
    case 'DENIED':
      return new BerthError(
        'image_not_found',
        `pull access denied for ${familiarName(reference)}, repository does not exist or may require 'docker login': ${cause}`,
      );
    case 'MANIFEST_UNKNOWN':
      return new BerthError('image_not_found', `manifest for ${familiarText(reference)} not found: ${cause}`);
    case 'NAME_UNKNOWN':
      return new BerthError('image_not_found', `repository ${familiarName(reference)} not found: ${cause}`);
    default:
      break;
  }
  if (fault.status === 404) {
    const unknown = 'manifest unknown: manifest unknown';
    return new BerthError('image_not_found', `manifest for ${familiarText(reference)} not found: ${unknown}`);
  }
  return new BerthError('registry', cause);
}

/** A small blob's bytes, checked. Throws registry. */
export async function fetchConfig(
  client: RegistryClient,
  reference: Reference,
  config: Descriptor,
): Promise<Uint8Array> {
  const path = `${reference.path}/blobs/${config.digest}`;
  const answer = await client.ask({ method: 'GET', path, scope: pullScope(reference) });
  if (answer.statusCode !== 200)
    throw new BerthError('registry', `config ${config.digest}: ${faultText(await readFault(answer))}`);
  const bytes = await readBytes(answer, config.size, `config ${config.digest}`);
  if (sha256(bytes) === config.digest) return bytes;
  throw new BerthError('registry', `image config verification failed for digest ${config.digest}`);
}

function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}
