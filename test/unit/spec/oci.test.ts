import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../../core/base/brand.ts';
import { BerthError } from '../../../core/base/errors.ts';
import { readArchive } from '../../../core/spec/archive.ts';
import {
  chainIds,
  compressionOf,
  type Index,
  platformOf,
  readImageConfig,
  readManifest,
  selectManifest,
} from '../../../core/spec/oci.ts';
import { digestOf, makeImage, makeIndex } from '../../kit/image.ts';
import { tarOf } from '../../kit/tar.ts';

const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const digest = `sha256:${'a'.repeat(64)}`;
const platform = (architecture: string, variant = ''): { os: string; architecture: string; variant: string } => ({
  os: 'linux',
  architecture,
  variant,
});
const image = makeImage({
  layers: [tarOf([{ name: 'f', content: 'x' }])],
  config: {
    Env: ['A=1'],
    Cmd: ['sh'],
    ExposedPorts: { '80/tcp': {} },
    Volumes: { '/v': {} },
    StopSignal: 'SIGINT',
    Healthcheck: { Test: ['CMD', 'true'], Interval: 5 },
    Labels: { l: 'v' },
    User: 'u',
    WorkingDir: '/w',
  },
});

describe('readManifest()', () => {
  test('reads both formats', () => {
    for (const format of ['oci', 'docker'] as const) {
      const one = makeImage({ layers: [tarOf([])], format });
      expect(readManifest(one.manifest, one.manifestType)).toMatchObject({
        kind: 'manifest',
        mediaType: one.manifestType,
        config: { digest: one.id, size: one.config.length },
        layers: [{ digest: one.layers[0]?.digest }],
      });
      const index = makeIndex([one]);
      expect(readManifest(index.bytes, index.mediaType)).toMatchObject({
        kind: 'index',
        mediaType: index.mediaType,
        manifests: [{ digest: one.digest }],
      });
    }
  });

  test('takes the type from the header, or from what it holds, when the manifest has none', () => {
    const { mediaType: _, ...bare } = JSON.parse(Buffer.from(image.manifest).toString()) as Record<string, unknown>;
    expect(readManifest(bytes(bare)).mediaType).toBe('application/vnd.oci.image.manifest.v1+json');
    expect(
      readManifest(bytes(bare), 'application/vnd.docker.distribution.manifest.v2+json; charset=utf-8').mediaType,
    ).toBe('application/vnd.docker.distribution.manifest.v2+json');
    expect(readManifest(bytes(bare), 'application/octet-stream').mediaType).toBe(
      'application/vnd.oci.image.manifest.v1+json',
    );
  });

  const config = { mediaType: image.configType, digest, size: 2 };
  test.each<[unknown, string]>([
    [5, 'image manifest: it must be an object, not 5'],
    [{}, 'image manifest: schemaVersion must be 2, not 0'],
    [{ schemaVersion: 2 }, 'image manifest: it has no config or no layers'],
    [{ schemaVersion: 2, layers: [] }, 'image manifest: it has no config or no layers'],
    [{ schemaVersion: 2, config, layers: {} }, 'image manifest: layers must be a list, not an object'],
    [
      { schemaVersion: 2, config: { ...config, digest: 'sha512:ab' }, layers: [] },
      'image manifest: config.digest must be sha256 and 64 digits, not "sha512:ab"',
    ],
    [
      { schemaVersion: 2, config, layers: [{ digest, size: 2 ** 60 }] },
      'image manifest: layers[0].size must be a whole number within ±(2^53 - 1), not 1152921504606847000',
    ],
    [
      { schemaVersion: 2, config, layers: [{ digest, size: 2 ** 50 }] },
      'image manifest: layers[0].size 1125899906842624 is out of range',
    ],
    [
      { schemaVersion: 2, config: { ...config, size: 5 << 20 }, layers: [] },
      'image manifest: its config has 5242880 bytes',
    ],
    [
      { schemaVersion: 2, config, layers: [null] },
      'image manifest: layers[0].digest must be sha256 and 64 digits, not ""',
    ],
    [
      { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', config, layers: [] },
      'image manifest: application/vnd.oci.image.index.v1+json does not fit what it holds',
    ],
    [
      { schemaVersion: 2, manifests: Array.from({ length: 1025 }, () => ({ digest, size: 1 })) },
      'image index: it has 1025 entries',
    ],
  ])('refuses %j', (value, message) => {
    expect(() => readManifest(bytes(value))).toThrow(expect.objectContaining({ code: 'image_invalid', message }));
  });
});

describe('selectManifest()', () => {
  const entry = (n: number, more: object): object => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: `sha256:${`${n}`.repeat(64)}`,
    size: 1,
    ...more,
  });
  const choose = (entries: object[], want = platform('amd64')): string | undefined =>
    selectManifest(readManifest(bytes({ schemaVersion: 2, manifests: entries })) as Index, want)?.digest.slice(7, 8);

  test.each<[string, object[], string | undefined]>([
    [
      'the first of equals',
      [entry(1, { platform: platform('amd64') }), entry(2, { platform: platform('amd64') })],
      '1',
    ],
    [
      'what fits exactly before what merely runs',
      [entry(1, { platform: platform('amd64', 'v1') }), entry(2, { platform: platform('amd64', 'v3') })],
      '1',
    ],
    [
      'no attestation',
      [
        entry(1, { platform: platform('amd64'), annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } }),
        entry(2, { platform: platform('amd64') }),
      ],
      '2',
    ],
    ['nothing unknown', [entry(1, { platform: { os: 'unknown', architecture: 'unknown' } })], undefined],
    [
      'the only image when it names no platform',
      [entry(1, {}), entry(2, { platform: { os: 'unknown', architecture: 'unknown' } })],
      '1',
    ],
    ['none of two that name no platform', [entry(1, {}), entry(2, {})], undefined],
    ['nothing of another system', [entry(1, { platform: { os: 'windows', architecture: 'amd64' } })], undefined],
    ['nothing out of nothing', [], undefined],
  ])('chooses %s', (_, entries, chosen) => {
    expect(choose(entries)).toBe(chosen);
  });

  test('chooses the newest variant that runs', () => {
    const entries = ['v5', 'v6', 'v7'].map((variant, i) => entry(i + 5, { platform: platform('arm', variant) }));
    expect(['v5', 'v6', 'v7', 'v8'].map((variant) => choose(entries, platform('arm', variant)))).toEqual([
      '5',
      '6',
      '7',
      '7',
    ]);
  });
});

describe('readImageConfig()', () => {
  test("gives Docker's Config, diff ids and history", () => {
    const read = readImageConfig(image.config);
    expect(read.config).toMatchObject({
      Env: ['A=1'],
      Cmd: ['sh'],
      Entrypoint: null,
      ExposedPorts: { '80/tcp': {} },
      Volumes: { '/v': {} },
      StopSignal: 'SIGINT',
      Healthcheck: { Test: ['CMD', 'true'], Interval: 5 },
      Labels: { l: 'v' },
      User: 'u',
      WorkingDir: '/w',
    });
    expect(read.diffIds).toEqual(image.layers.map((layer) => layer.diffId));
    expect(read.history).toMatchObject([{ created_by: 'kit layer 0', empty_layer: false }]);
    expect(platformOf({ os: '', architecture: 'arm64', variant: 'v8' })).toEqual(platform('arm64'));
  });

  test('takes a config without a config', () => {
    const read = readImageConfig(bytes({ rootfs: { type: 'layers', diff_ids: null }, config: null }));
    expect([read.diffIds, read.config.Env, read.config.Cmd]).toEqual([[], null, null]);
  });

  test.each<[unknown, string]>([
    ['x', 'image config: it must be an object, not "x"'],
    [{ os: 'windows' }, 'image config: image operating system "windows" cannot be used on this platform'],
    [{ rootfs: { type: 'zip' } }, 'image config: rootfs.type is "zip"'],
    [{ rootfs: { diff_ids: ['x'] } }, 'image config: diff id "x" is no sha256 digest'],
    [{ rootfs: { diff_ids: Array.from({ length: 257 }, () => digest) } }, 'image config: it has 257 layers'],
    [{ history: [{}, { empty_layer: true }] }, 'image config: too many non-empty layers in History section'],
    [{ config: { Env: [5] } }, 'image config: config.Env[0] must be a string, not 5'],
    [{ config: { User: {} } }, 'image config: config.User must be a string, not an object'],
  ])('refuses %j', (value, message) => {
    expect(() => readImageConfig(bytes(value))).toThrow(expect.objectContaining({ code: 'image_invalid', message }));
  });

  test('refuses what is no UTF-8', () => {
    expect(() => readImageConfig(Buffer.from([0x22, 0xff, 0x22]))).toThrow('it is not JSON in UTF-8');
  });
});

test('chainIds() are what the specification says', () => {
  const sha256 = (text: string): Digest => digestOf(Buffer.from(text));
  const [a, b, c] = ['a', 'b', 'c'].map(sha256) as [Digest, Digest, Digest];
  const ab = `sha256:${createHash('sha256').update(`${a} ${b}`).digest('hex')}`;
  expect(chainIds([a, b, c], sha256)).toEqual([
    a,
    ab,
    `sha256:${createHash('sha256').update(`${ab} ${c}`).digest('hex')}`,
  ]);
  expect(chainIds([], sha256)).toEqual([]);
});

test.each([
  ['application/vnd.oci.image.layer.v1.tar', 'none'],
  ['application/vnd.oci.image.layer.v1.tar+zstd', 'zstd'],
  ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'gzip'],
  ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', undefined],
  ['toString', undefined],
])('compressionOf(%j) is %j', (type, compression) => {
  expect(compressionOf(type)).toBe(compression);
});

test('no JSON makes a reader throw anything but a BerthError', () => {
  const names = [
    'schemaVersion',
    'config',
    'layers',
    'manifests',
    'digest',
    'size',
    'platform',
    'rootfs',
    'diff_ids',
    'history',
    'mediaType',
    'annotations',
    'Config',
    'RepoTags',
    'Layers',
    '__proto__',
  ];
  const leaf = fc.oneof(fc.constantFrom(null, 2, digest, -1, '', 'linux'), fc.integer(), fc.string());
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie('tree')),
    ),
  }));
  const quiet = (read: () => unknown): void => {
    try {
      read();
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
    }
  };
  fc.assert(
    fc.property(tree, (value) => {
      const given = bytes(value);
      const all = { digest: () => digest as Digest, bytes: () => given };
      quiet(() => readManifest(given));
      quiet(() => readImageConfig(given));
      quiet(() => readArchive(all, platform('amd64')));
      quiet(() =>
        readArchive(
          { ...all, digest: (name) => (name === 'manifest.json' ? undefined : (digest as Digest)) },
          platform('amd64'),
        ),
      );
    }),
    { numRuns: 2000 },
  );
});
