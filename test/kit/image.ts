// Makes images for tests without Docker, all in memory. Every image is a plain value that the other functions take:
//   tarOf(items)                             kit/tar.ts: a layer from a list of entries
//   tarOfDirectory(dir)                      a layer from a directory, with owners, links and devices as they are
//   busyboxTar()                             a layer with busybox-static, a link per applet, /etc/passwd and the usual directories
//   makeImage({ layers, config, … })         an image of such layers, lowest first
//   busyboxImage(config)                     makeImage over busyboxTar(), `sh` as its command
//   dockerSave20(images), dockerSave25(images)  the bytes of `docker save`, as 20.10 and as 25 and later write them
//   ociArchive(images)                       the bytes of an OCI layout in a tar; writeOciLayout(dir, images) writes the directory
// kit/registry.ts pushes them.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import type { Digest } from '../../core/base/brand.ts';
import { type TarItem, tarOf } from './tar.ts';

export type KitLayer = {
  /** Uncompressed. */
  readonly tar: Uint8Array;
  readonly diffId: Digest;
  /** What a registry holds. */
  readonly blob: Uint8Array;
  readonly digest: Digest;
  readonly mediaType: string;
};

export type KitImage = {
  readonly layers: readonly KitLayer[];
  readonly config: Uint8Array;
  /** The image's id. */
  readonly id: Digest;
  readonly configType: string;
  readonly manifest: Uint8Array;
  readonly digest: Digest;
  readonly manifestType: string;
  readonly architecture: string;
  readonly variant: string;
};

export type ImageWish = {
  /** Uncompressed tars, lowest first. */
  readonly layers: readonly Uint8Array[];
  /** Docker's Config: Cmd, Env, … */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly format?: 'oci' | 'docker';
  readonly compress?: 'gzip' | 'zstd' | 'none';
  /** Of gzip; 1 is fast. */
  readonly level?: number;
  readonly architecture?: string;
  readonly variant?: string;
  readonly os?: string;
  /** RFC 3339. */
  readonly created?: string;
};

export type NamedImage = { readonly image: KitImage; readonly tags: readonly string[] };

/** The digest of bytes. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const hexOf = (digest: string): string => digest.slice('sha256:'.length);

/** This machine's architecture in Go's words. */
export const hostArchitecture: string = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch;

const TYPES = {
  oci: {
    layer: {
      none: 'application/vnd.oci.image.layer.v1.tar',
      gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
      zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
    },
    config: 'application/vnd.oci.image.config.v1+json',
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
  },
  docker: {
    layer: {
      none: 'application/vnd.docker.image.rootfs.diff.tar',
      gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
    },
    config: 'application/vnd.docker.container.image.v1+json',
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  },
} as const;

function compress(tar: Uint8Array, how: 'gzip' | 'zstd' | 'none', level: number): Uint8Array {
  if (how === 'none') return tar;
  if (how === 'zstd') return zstdCompressSync(tar, { params: { [constants.ZSTD_c_compressionLevel]: 3 } });
  return gzipSync(tar, { level });
}

/** An image of these layers. */
export function makeImage(wish: ImageWish): KitImage {
  const { format = 'oci', compress: how = 'gzip', level = 6, architecture = hostArchitecture, variant = '' } = wish;
  const types = TYPES[format];
  const layers = wish.layers.map((tar): KitLayer => {
    const blob = compress(tar, how, level);
    return { tar, diffId: digestOf(tar), blob, digest: digestOf(blob), mediaType: types.layer[how] };
  });
  const created = wish.created ?? '2024-01-02T03:04:05Z';
  const config = json({
    created,
    architecture,
    ...(variant === '' ? {} : { variant }),
    os: wish.os ?? 'linux',
    config: wish.config ?? {},
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, i) => ({ created, created_by: `kit layer ${i}` })),
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: digestOf(config), size: config.length },
    layers: layers.map(({ mediaType, digest, blob }) => ({ mediaType, digest, size: blob.length })),
  });
  const id = digestOf(config);
  return {
    layers,
    config,
    id,
    configType: types.config,
    manifest,
    digest: digestOf(manifest),
    manifestType: types.manifest,
    architecture,
    variant,
  };
}

export type KitIndex = { readonly bytes: Uint8Array; readonly digest: Digest; readonly mediaType: string };

/** An index over images, with their platforms. `extra`: entries put first as they are. */
export function makeIndex(images: readonly KitImage[], extra: readonly unknown[] = []): KitIndex {
  const mediaType = TYPES[images[0]?.manifestType === TYPES.docker.manifest ? 'docker' : 'oci'].index;
  const bytes = json({
    schemaVersion: 2,
    mediaType,
    manifests: [
      ...extra,
      ...images.map((image) => ({
        ...descriptorOf(image),
        platform: {
          os: 'linux',
          architecture: image.architecture,
          ...(image.variant === '' ? {} : { variant: image.variant }),
        },
      })),
    ],
  });
  return { bytes, digest: digestOf(bytes), mediaType };
}

function descriptorOf(image: KitImage): { mediaType: string; digest: Digest; size: number } {
  return { mediaType: image.manifestType, digest: image.digest, size: image.manifest.length };
}

/** A layer from a directory: sorted, with numbers for owners, extended attributes too. */
export function tarOfDirectory(dir: string): Uint8Array {
  const scratch = mkdtempSync(join(tmpdir(), 'berth-kit-'));
  try {
    const file = join(scratch, 'layer.tar');
    execFileSync(
      'tar',
      [
        '--numeric-owner',
        '--sort=name',
        '--xattrs',
        '--format=pax',
        '--pax-option=delete=atime,delete=ctime',
        '-C',
        dir,
        '-cf',
        file,
        '.',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    return readFileSync(file);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** Where busybox-static is; undefined when it is not installed (a dynamic busybox would not run in its own image). */
export function staticBusybox(): string | undefined {
  return ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path) && !hasInterpreter(readFileSync(path)));
}

/** Whether a 64-bit ELF file names a loader (PT_INTERP). Source: man 5 elf. */
function hasInterpreter(elf: Buffer): boolean {
  const [table, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  return Array.from({ length: count }, (_, i) => elf.readUInt32LE(table + i * size)).includes(3);
}

/** A layer with busybox: a link for each applet, `/etc/passwd`, `/tmp` and the other usual directories. Throws when it is not installed. */
export function busyboxTar(): Uint8Array {
  const busybox = staticBusybox();
  if (busybox === undefined) throw new Error('busybox-static is not installed (Debian package busybox-static)');
  const applets = execFileSync(busybox, ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((name) => name !== '' && name !== 'busybox');
  const directory = (name: string, mode = 0o755): TarItem => ({ name: `${name}/`, type: '5', mode });
  const file = (name: string, content: string): TarItem => ({ name, content, mode: 0o644 });
  return tarOf([
    directory('bin'),
    { name: 'bin/busybox', mode: 0o755, content: readFileSync(busybox) },
    ...applets.map((name): TarItem => ({ name: `bin/${name}`, type: '2', link: 'busybox', mode: 0o777 })),
    ...['dev', 'etc', 'home', 'proc', 'sys', 'usr', 'var'].map((name) => directory(name)),
    directory('root', 0o700),
    directory('tmp', 0o1777),
    file(
      'etc/passwd',
      'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nuser:x:1000:1000:user:/home:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n',
    ),
    file('etc/group', 'root:x:0:\ndaemon:x:1:\nstaff:x:50:user\nuser:x:1000:\nnogroup:x:65534:\n'),
    file('etc/shadow', 'root:*:::::::\n'),
  ]);
}

/** busybox as an image whose command is `sh`. */
export function busyboxImage(config: Readonly<Record<string, unknown>> = {}, more: Partial<ImageWish> = {}): KitImage {
  const usual = { Cmd: ['sh'], Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] };
  return makeImage({ layers: [busyboxTar()], ...more, config: { ...usual, ...config } });
}

const withParents = (items: readonly TarItem[]): TarItem[] => {
  const parents = new Set(items.flatMap(({ name }) => (name.includes('/') ? [`${dirname(name)}/`] : [])));
  return [...[...parents].sort().map((name): TarItem => ({ name, type: '5', mode: 0o755 })), ...items];
};

const unique = (items: readonly TarItem[]): TarItem[] => [...new Map(items.map((item) => [item.name, item])).values()];

/** `docker save` of 20.10: a directory per layer, a layer that occurs twice as a symbolic link. */
export function dockerSave20(images: readonly NamedImage[]): Uint8Array {
  const first = new Map<string, string>();
  const items: TarItem[] = [];
  const manifest = images.map(({ image, tags }) => {
    const names = image.layers.map((layer, i) => {
      const id = hexOf(digestOf(Buffer.from(`${image.id} ${i}`)));
      const name = `${id}/layer.tar`;
      const before = first.get(layer.diffId);
      first.set(layer.diffId, before ?? id);
      items.push({ name: `${id}/VERSION`, content: '1.0' }, { name: `${id}/json`, content: json({ id }) });
      items.push(
        before === undefined ? { name, content: layer.tar } : { name, type: '2', link: `../${before}/layer.tar` },
      );
      return name;
    });
    items.push({ name: `${hexOf(image.id)}.json`, content: image.config });
    return { Config: `${hexOf(image.id)}.json`, RepoTags: tags.length ? tags : null, Layers: names };
  });
  return tarOf([
    ...withParents(unique(items)),
    { name: 'manifest.json', content: json(manifest) },
    { name: 'repositories', content: json({}) },
  ]);
}

function layoutItems(images: readonly NamedImage[]): TarItem[] {
  const manifests = images.flatMap(({ image, tags }) =>
    (tags.length ? tags : [undefined]).map((tag) => {
      const annotations =
        tag === undefined
          ? {}
          : {
              annotations: {
                'io.containerd.image.name': tag.includes('/') ? tag : `docker.io/library/${tag}`,
                'org.opencontainers.image.ref.name': tag.split(':').at(-1),
              },
            };
      return { ...descriptorOf(image), ...annotations };
    }),
  );
  const small = images
    .flatMap(({ image }) => [image.manifest, image.config])
    .map((content): TarItem => ({ name: `blobs/sha256/${hexOf(digestOf(content))}`, content }));
  return [
    ...small,
    { name: 'index.json', content: json({ schemaVersion: 2, mediaType: TYPES.oci.index, manifests }) },
    { name: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
  ];
}

const blobItem = (digest: string, content: Uint8Array): TarItem => ({ name: `blobs/sha256/${hexOf(digest)}`, content });

/** `docker save` of 25 and later: an OCI layout with uncompressed layers and a manifest.json beside its index.json. */
export function dockerSave25(images: readonly NamedImage[]): Uint8Array {
  const plain = images.map(({ image, tags }) => {
    const layers = image.layers.map((layer) => ({
      mediaType: TYPES.oci.layer.none,
      digest: layer.diffId,
      size: layer.tar.length,
    }));
    const manifest = json({
      schemaVersion: 2,
      mediaType: TYPES.oci.manifest,
      config: { mediaType: TYPES.oci.config, digest: image.id, size: image.config.length },
      layers,
    });
    return { image: { ...image, manifest, digest: digestOf(manifest), manifestType: TYPES.oci.manifest }, tags };
  });
  const manifest = plain.map(({ image, tags }) => ({
    Config: `blobs/sha256/${hexOf(image.id)}`,
    RepoTags: tags.length ? tags : null,
    Layers: image.layers.map((layer) => `blobs/sha256/${hexOf(layer.diffId)}`),
  }));
  const layers = plain.flatMap(({ image }) => image.layers.map((layer) => blobItem(layer.diffId, layer.tar)));
  return tarOf([
    ...withParents(unique([...layers, ...layoutItems(plain)])),
    { name: 'manifest.json', content: json(manifest) },
  ]);
}

function ociItems(images: readonly NamedImage[]): TarItem[] {
  const layers = images.flatMap(({ image }) => image.layers.map((layer) => blobItem(layer.digest, layer.blob)));
  return withParents(unique([...layers, ...layoutItems(images)]));
}

/** An OCI layout in a tar, layers as a registry has them. */
export function ociArchive(images: readonly NamedImage[]): Uint8Array {
  return tarOf(ociItems(images));
}

/** The same as a directory, for umoci and skopeo (`oci:DIR:TAG`). */
export function writeOciLayout(dir: string, images: readonly NamedImage[]): void {
  for (const { name, content, type } of ociItems(images)) {
    if (type === '5') continue;
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), content ?? '');
  }
}
