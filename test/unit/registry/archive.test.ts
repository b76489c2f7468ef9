import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BerthError } from '../../../core/base/errors.ts';
import { type LoadedImage, loadArchive } from '../../../core/registry/archive.ts';
import { canonicalText } from '../../../core/spec/reference.ts';
import {
  digestOf,
  dockerSave20,
  dockerSave25,
  type KitImage,
  makeImage,
  makeIndex,
  ociArchive,
} from '../../kit/image.ts';
import { type TarItem, tarOf } from '../../kit/tar.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-load-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const amd64 = { os: 'linux', architecture: 'amd64', variant: '' };
const base = tarOf([{ name: 'base', content: 'b'.repeat(3_000_000) }]);
const one = makeImage({ layers: [base, tarOf([{ name: 'one', content: '1' }])], architecture: 'amd64' });
const two = makeImage({
  layers: [base, base, tarOf([{ name: 'two', content: '2' }])],
  architecture: 'amd64',
  format: 'docker',
});

/** In pieces of odd sizes, as a connection gives them. */
async function* pieces(bytes: Uint8Array, size = 70_001): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function load(bytes: Uint8Array, more: { bytesMax?: number; size?: number } = {}): Promise<readonly LoadedImage[]> {
  return loadArchive(pieces(bytes, more.size), { dir, bytesMax: more.bytesMax ?? 1 << 30 }, amd64);
}

const names = (image: LoadedImage): string[] => image.references.map(canonicalText);

function expectImage(loaded: LoadedImage | undefined, image: KitImage, form: 'tar' | 'blob' = 'tar'): void {
  expect(loaded?.configDigest).toBe(image.id);
  expect(loaded?.layers.map((layer) => layer.diffId)).toEqual(image.layers.map((layer) => layer.diffId));
  for (const [i, layer] of (loaded?.layers ?? []).entries()) {
    const bytes = Buffer.from(image.layers[i]?.[form] ?? []);
    expect([readFileSync(layer.path).equals(bytes), layer.size, layer.digest]).toEqual([
      true,
      bytes.length,
      digestOf(bytes),
    ]);
  }
}

describe('loadArchive() takes', () => {
  test('docker save of 20.10, where a layer may be a link to another', async () => {
    const images = await load(
      dockerSave20([
        { image: one, tags: ['one:1', 'h.x:5/one:2'] },
        { image: two, tags: [] },
      ]),
    );
    expect(images.map(names)).toEqual([['docker.io/library/one:1', 'h.x:5/one:2'], []]);
    expectImage(images[0], one);
    expectImage(images[1], two);
    expect(images[1]?.layers[0]?.path).toBe(images[0]?.layers[0]?.path);
  });

  test('docker save of 25 and later', async () => {
    const images = await load(
      dockerSave25([
        { image: one, tags: ['one:1'] },
        { image: two, tags: ['two:1'] },
      ]),
    );
    expect(images.map(names)).toEqual([['docker.io/library/one:1'], ['docker.io/library/two:1']]);
    expectImage(images[0], one);
    expectImage(images[1], two);
  });

  test('an OCI layout, with layers as a registry has them', async () => {
    const images = await load(
      ociArchive([
        { image: one, tags: ['one:1', 'one:2'] },
        { image: two, tags: [] },
      ]),
    );
    expect(images.map(names)).toEqual([['docker.io/library/one:1', 'docker.io/library/one:2'], []]);
    expect(images.map((image) => image.manifestDigest)).toEqual([one.digest, two.digest]);
    expectImage(images[0], one, 'blob');
    expect(images[0]?.layers[0]?.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+gzip');
  });

  test.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('an archive compressed with %s', async (_, compress) => {
    expectImage((await load(compress(dockerSave20([{ image: one, tags: ['a:1'] }]))))[0], one);
  });

  test('any sizes of pieces, `./` before names, zeros after the end', async () => {
    const items = unpack(dockerSave25([{ image: one, tags: ['one:1'] }])).map((item) => ({
      ...item,
      name: `./${item.name}`,
    }));
    const bytes = Buffer.concat([tarOf([{ name: './', type: '5' }, ...items]), Buffer.alloc(20_000)]);
    for (const size of [511, 512, 513, bytes.length]) {
      expectImage((await load(bytes, { size }))[0], one);
      for (const name of readdirSync(dir)) rmSync(join(dir, name));
    }
  });

  test('long names in pax and GNU headers, numbers in base 256', async () => {
    const config = `${'deep/'.repeat(40)}config.json`;
    const layer = `${'far/'.repeat(50)}layer.tar`;
    const manifest = JSON.stringify([{ Config: config, RepoTags: ['long:1'], Layers: [layer, 'pax.tar'] }]);
    const tar = tarOf([
      { name: 'x', longName: config, content: one.config, form: 'gnu' },
      { name: 'y', longName: layer, content: one.layers[0]?.tar ?? '', binary: true, form: 'gnu' },
      {
        name: 'z',
        pax: [
          ['path', 'pax.tar'],
          ['size', `${one.layers[1]?.tar.length}`],
        ],
        size: 0,
        content: one.layers[1]?.tar ?? '',
      },
      { name: 'manifest.json', content: manifest },
    ]);
    expectImage((await load(tar))[0], one);
  });

  test('the image for the machine out of an index, wherever it is nested', async () => {
    const arm = makeImage({ layers: [base], architecture: 'arm64' });
    const index = makeIndex([arm, one]);
    const items = unpack(
      ociArchive([
        { image: one, tags: [] },
        { image: arm, tags: [] },
      ]),
    ).filter(({ name }) => name !== 'index.json');
    const top = {
      schemaVersion: 2,
      manifests: [
        {
          mediaType: index.mediaType,
          digest: index.digest,
          size: index.bytes.length,
          annotations: { 'io.containerd.image.name': 'docker.io/library/multi:1' },
        },
      ],
    };
    const images = await load(
      tarOf([
        ...items,
        { name: `blobs/sha256/${index.digest.slice(7)}`, content: index.bytes },
        { name: 'index.json', content: JSON.stringify(top) },
      ]),
    );
    expect(images.map((image) => [image.configDigest, names(image)])).toEqual([
      [one.id, ['docker.io/library/multi:1']],
    ]);
  });

  test('a later entry of the same name instead of the earlier', async () => {
    const items = unpack(dockerSave25([{ image: one, tags: ['one:1'] }]));
    const images = await load(tarOf([{ name: 'manifest.json', content: '[]' }, ...items]));
    expectImage(images[0], one);
  });
});

/** The entries of a tar that kit/tar.ts wrote. */
function unpack(tar: Uint8Array): TarItem[] {
  const items: TarItem[] = [];
  const text = (at: number, length: number): string =>
    Buffer.from(tar.subarray(at, at + length))
      .toString('latin1')
      .replace(/\0.*$/s, '');
  for (let at = 0; tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    items.push({ name: text(at, 100), type: text(at + 156, 1), content: tar.subarray(at + 512, at + 512 + size) });
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return items;
}

describe('loadArchive() refuses', () => {
  const good = dockerSave25([{ image: one, tags: ['one:1'] }]);
  const config = { name: 'c.json', content: one.config };
  const manifest = (value: unknown): TarItem => ({ name: 'manifest.json', content: JSON.stringify(value) });
  const layers = one.layers.map((layer, i): TarItem => ({ name: `${i}.tar`, content: layer.tar }));
  const docker = (change: Record<string, unknown>): Uint8Array =>
    tarOf([
      config,
      ...layers,
      manifest([{ Config: 'c.json', RepoTags: ['a:1'], Layers: ['0.tar', '1.tar'], ...change }]),
    ]);
  const layout = (change: (item: TarItem) => TarItem | undefined): Uint8Array =>
    tarOf(unpack(ociArchive([{ image: one, tags: ['a:1'] }])).flatMap((item) => change(item) ?? []));
  const blob = (digest: string): string => `blobs/sha256/${digest.slice(7)}`;

  test.each<[string, Uint8Array, string | RegExp]>([
    ['nothing', Buffer.alloc(0), 'invalid archive: it has neither manifest.json nor index.json'],
    [
      'something else than a tar',
      Buffer.from('hello '.repeat(200)),
      'invalid archive: it is no tar, or damaged: bad header',
    ],
    [
      'a root file system',
      tarOf([{ name: 'bin/sh', content: 'x' }]),
      'invalid archive: it has neither manifest.json nor index.json',
    ],
    [
      'what Docker before 1.10 saved',
      tarOf([{ name: 'repositories', content: '{}' }]),
      'invalid archive: it has no manifest.json',
    ],
    ['a cut one', good.subarray(0, good.length - 700_000), 'invalid archive: unexpected EOF'],
    ['a cut header', good.subarray(0, 100), 'invalid archive: unexpected EOF'],
    ['damaged gzip', gzipSync(good).fill(7, 2000, 2100), 'invalid archive: its compression is damaged'],
    ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0, 0]), 'invalid archive: it is compressed with xz'],
    [
      'names with ..',
      tarOf([{ name: '../../etc/passwd', content: 'x' }]),
      'invalid archive: hostile name "../../etc/passwd"',
    ],
    ['absolute names', tarOf([{ name: '/etc/passwd', content: 'x' }]), 'invalid archive: hostile name "/etc/passwd"'],
    ['names with control characters', tarOf([{ name: 'a\nb', content: 'x' }]), 'invalid archive: hostile name "a\\nb"'],
    [
      'links that lead out',
      tarOf([{ name: 'a/b', type: '2', link: '../../x' }]),
      'invalid archive: link "a/b" leads out of the archive',
    ],
    [
      'absolute links',
      tarOf([{ name: 'a', type: '2', link: '/etc/shadow' }]),
      'invalid archive: hostile link "/etc/shadow"',
    ],
    [
      'links in a circle',
      tarOf([
        { name: 'manifest.json', type: '2', link: 'm' },
        { name: 'm', type: '2', link: 'manifest.json' },
      ]),
      'invalid archive: "manifest.json" is a link through more than 8 links',
    ],
    [
      'devices',
      tarOf([{ name: 'null', type: '3' }]),
      'invalid archive: "null" is neither file, directory nor link (type "3")',
    ],
    [
      'sparse files',
      tarOf([{ name: 'x', pax: [['GNU.sparse.major', '1']], content: 'x' }]),
      'invalid archive: it has a sparse file',
    ],
    [
      'a file of more bytes than there are',
      tarOf([{ name: 'x', size: 2 ** 33 - 1 }]),
      'invalid archive: unexpected EOF',
    ],
    [
      'a damaged pax header',
      tarOf([{ name: 'x', type: 'x', content: '99 path=a\n' }]),
      'invalid archive: a pax header is damaged',
    ],
    [
      'a large pax header',
      tarOf([{ name: 'x', type: 'x', size: 5_000_000 }]),
      'invalid archive: a header has 5000000 bytes',
    ],
    [
      'a manifest that is no JSON',
      tarOf([{ name: 'manifest.json', content: '{' }]),
      'manifest.json: it is not JSON in UTF-8',
    ],
    [
      'a manifest of another shape',
      tarOf([manifest([{ Config: 5 }])]),
      'manifest.json: items[0].Config must be a string, not 5',
    ],
    ['no images', tarOf([manifest([])]), 'invalid archive: manifest.json lists 0 images'],
    ['a missing config', docker({ Config: 'd.json' }), 'invalid archive: "d.json" is missing'],
    [
      'a config that leads out',
      docker({ Config: '../../../etc/passwd' }),
      'invalid archive: "../../../etc/passwd" is missing',
    ],
    ['a missing layer', docker({ Layers: ['0.tar', '2.tar'] }), 'invalid archive: layer "2.tar" is missing'],
    ['too few layers', docker({ Layers: ['0.tar'] }), 'invalid manifest, layers length mismatch: expected 2, got 1'],
    [
      'a bad tag',
      docker({ RepoTags: ['A:1'] }),
      'invalid tag "A:1": invalid reference format: repository name (library/A) must be lowercase',
    ],
    ['a name without a tag', docker({ RepoTags: ['a'] }), 'invalid tag "a"'],
    [
      'a large config',
      tarOf([
        { name: 'c.json', content: Buffer.alloc(5_000_000) },
        manifest([{ Config: 'c.json', RepoTags: null, Layers: [] }]),
      ]),
      'invalid archive: "c.json" has 5000000 bytes',
    ],
    [
      'an image of Windows',
      tarOf([
        { name: 'c.json', content: JSON.stringify({ os: 'windows', rootfs: { type: 'layers' } }) },
        manifest([{ Config: 'c.json', Layers: [] }]),
      ]),
      'image config: image operating system "windows" cannot be used on this platform',
    ],
    [
      'a layout of another version',
      layout((item) => (item.name === 'oci-layout' ? { ...item, content: '{"imageLayoutVersion":"2.0"}' } : item)),
      'invalid archive: oci-layout is missing or of another version than 1.0.0',
    ],
    [
      'a layout without its mark',
      layout((item) => (item.name === 'oci-layout' ? undefined : item)),
      'invalid archive: oci-layout is missing or of another version than 1.0.0',
    ],
    [
      'a missing blob',
      layout((item) => (item.name === blob(one.digest) ? undefined : item)),
      `invalid archive: blob ${one.digest} is missing`,
    ],
    [
      'other bytes for a manifest',
      layout((item) => (item.name === blob(one.digest) ? { ...item, content: two.manifest } : item)),
      `invalid archive: blob ${one.digest} is damaged: its digest is ${two.digest}`,
    ],
    [
      'other bytes for a config',
      layout((item) => (item.name === blob(one.id) ? { ...item, content: two.config } : item)),
      `invalid archive: blob ${one.id} is damaged: its digest is ${two.id}`,
    ],
    [
      'other bytes for a layer',
      layout((item) => (item.name === blob(one.layers[1]?.digest ?? '') ? { ...item, content: 'x' } : item)),
      `invalid archive: ${blob(one.layers[1]?.digest ?? '')} is damaged: its digest is ${digestOf(Buffer.from('x'))}`,
    ],
  ])('%s', async (_, bytes, message) => {
    await expect(load(bytes, { bytesMax: 2 ** 33 })).rejects.toMatchObject({
      code: 'image_invalid',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });

  test('more bytes than allowed, also behind compression', async () => {
    const bomb = gzipSync(tarOf([{ name: 'x', content: Buffer.alloc(30_000_000) }]));
    await expect(load(bomb, { bytesMax: 20_000_000 })).rejects.toMatchObject({
      message: 'invalid archive: it holds more than 20000000 bytes',
    });
    expect(readdirSync(dir)).toEqual([]);
  });

  test('more files than any image has', async () => {
    const tar = tarOf(Array.from({ length: 10_001 }, (_, i): TarItem => ({ name: `${i}`, type: '2', link: 'x' })));
    await expect(load(tar)).rejects.toMatchObject({ message: 'invalid archive: it has more than 10000 files' });
  });

  test('images of another machine, by name', async () => {
    const arm = makeImage({ layers: [base], architecture: 'arm64' });
    const index = makeIndex([arm]);
    const items = unpack(ociArchive([{ image: arm, tags: [] }])).filter(({ name }) => name !== 'index.json');
    const top = { schemaVersion: 2, manifests: [{ mediaType: index.mediaType, digest: index.digest, size: 1 }] };
    const tar = tarOf([
      ...items,
      { name: blob(index.digest), content: index.bytes },
      { name: 'index.json', content: JSON.stringify(top) },
    ]);
    await expect(load(tar)).rejects.toMatchObject({
      code: 'image_not_found',
      message: 'no matching manifest for linux/amd64 in the manifest list entries',
    });
  });

  test('and leaves the stream it came from as it is', async () => {
    const source = Readable.from(
      pieces(
        tarOf([
          { name: '/abs', content: 'x' },
          { name: 'y', content: Buffer.alloc(500_000) },
        ]),
      ),
    );
    await expect(loadArchive(source, { dir, bytesMax: 1 << 30 }, amd64)).rejects.toMatchObject({
      code: 'image_invalid',
    });
    await new Promise((done) => setImmediate(done));
    expect(source.destroyed).toBe(false);
    source.destroy();
  });

  test('a stream that breaks, with its own error', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield gzipSync(good).subarray(0, 5000);
      throw new Error('client went away');
    }
    await expect(loadArchive(broken(), { dir, bytesMax: 1 << 30 }, amd64)).rejects.toThrow('client went away');
  });
});

test('no damage to an archive makes anything but a refusal, or an image with other digests', async () => {
  const small = makeImage({ layers: [tarOf([{ name: 'f', content: 'x'.repeat(900) }])], architecture: 'amd64' });
  const archives = [dockerSave20, dockerSave25, ociArchive].map((write) => write([{ image: small, tags: ['a:1'] }]));
  const damage = fc.record({
    archive: fc.constantFrom(...archives),
    flips: fc.array(fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    }),
    cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: 1 }),
  });
  await fc.assert(
    fc.asyncProperty(damage, async ({ archive, flips, cut }) => {
      const bytes = Buffer.from(archive);
      for (const [at, change] of flips) bytes[Math.floor(at * bytes.length)]! ^= change;
      const spool = mkdtempSync(join(dir, 'x'));
      const images = await loadArchive(
        pieces(bytes.subarray(0, Math.ceil(cut * bytes.length))),
        { dir: spool, bytesMax: 1 << 20 },
        amd64,
      ).catch((error: unknown) => {
        if (!(error instanceof BerthError)) throw error;
        return [];
      });
      for (const layer of images.flatMap((image) => image.layers))
        expect(digestOf(readFileSync(layer.path))).toBe(layer.digest);
      rmSync(spool, { recursive: true });
    }),
    { numRuns: 300 },
  );
});
