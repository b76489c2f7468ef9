// An OCI layout of layers that are already on disk: enough for umoci to unpack it.
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Writes the layout into a new directory; the image's tag is `latest`. Layers are uncompressed tars, bottom first. */
export function writeOciLayout(dir: string, tars: readonly string[]): void {
  const blobs = join(dir, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const layers = tars.map((tar) => {
    const bytes = readFileSync(tar);
    const digest = sha256(bytes);
    copyFileSync(tar, join(blobs, digest));
    return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${digest}`, size: bytes.length };
  });
  const blob = (value: unknown, mediaType: string): { mediaType: string; digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value));
    writeFileSync(join(blobs, sha256(bytes)), bytes);
    return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length };
  };
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => layer.digest) };
  const config = blob(
    { architecture: 'amd64', os: 'linux', config: {}, rootfs },
    'application/vnd.oci.image.config.v1+json',
  );
  const manifest = blob({ schemaVersion: 2, config, layers }, 'application/vnd.oci.image.manifest.v1+json');
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  writeFileSync(
    join(dir, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}
