// The worker's result and the layer's index: what is written is read back, and no damage is read as something else or crashes.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { BerthError } from '../../../core/base/errors.ts';
import { decodeImageIndex, imageEntry, listDir, lookup } from '../../../core/spec/image-index.ts';
import {
  decodeLayerIndex,
  decodeResult,
  emptyResult,
  encodeLayerHeader,
  encodeResult,
  extentsOf,
  latin1,
  latin1Bytes,
  layerEntry,
  MODE,
  STATUS,
  xattrsOf,
} from '../../../core/spec/layer-index.ts';
import { buildWasm, imageOf, indexOf } from '../../kit/layers.ts';
import { type TarItem, tarOf } from '../../kit/tar.ts';

beforeAll(buildWasm);
const word = fc.nat(2 ** 32 - 1);
const long = fc.nat(Number.MAX_SAFE_INTEGER);
const seed = Number(process.env['BERTH_SEED'] ?? Date.now() % 2 ** 31);

describe('decodeResult()', () => {
  test('reads back what encodeResult() wrote', () => {
    const result = fc.record({
      status: fc.constantFrom(...(Object.keys(STATUS) as (keyof typeof STATUS)[])),
      mode: fc.constantFrom(...(Object.keys(MODE) as (keyof typeof MODE)[])),
      ...{
        entries: word,
        highestUid: word,
        highestGid: word,
        layers: word,
        droppedXattrs: word,
        leftOut: word,
        directories: word,
      },
      ...{ bytesRead: long, contentBytes: long, indexBytes: long, imageBytes: long },
      digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    });
    fc.assert(
      fc.property(result, (value) => {
        expect(decodeResult(encodeResult(value))).toEqual(value);
      }),
      { seed },
    );
  });

  test('refuses other lengths, marks, versions and numbers', () => {
    const good = encodeResult(emptyResult('merge', 'ok'));
    expect(good.length).toBe(128);
    expect(decodeResult(good.subarray(1))).toBeUndefined();
    expect(decodeResult(Buffer.concat([good, good]))).toBeUndefined();
    for (const at of [0, 7, 8, 12, 16])
      expect(decodeResult(Uint8Array.from(good, (byte, i) => (i === at ? 99 : byte)))).toBeUndefined();
    expect(decodeResult(Uint8Array.from(good, (byte, i) => (i >= 32 && i < 40 ? 255 : byte)))).toBeUndefined();
  });
});

const items: TarItem[] = [
  { name: 'etc', type: '5', mode: 0o755 },
  {
    name: 'etc/passwd',
    content: 'root',
    uid: 1,
    gid: 2,
    pax: [
      ['SCHILY.xattr.user.a', 'b'],
      ['SCHILY.xattr.user.a', 'c'],
    ],
  },
  {
    name: 'holes',
    content: Buffer.alloc(512),
    pax: [
      ['GNU.sparse.size', '9000'],
      ['GNU.sparse.map', '512,512'],
    ],
  },
  { name: 'link', type: '2', link: 'etc/passwd' },
  { name: 'null', type: '3', major: 1, minor: 3 },
];

function layerBytes(): Uint8Array {
  const table = indexOf(tarOf(items));
  return Buffer.concat([encodeLayerHeader(table), table.records, table.pool]);
}

describe('decodeLayerIndex()', () => {
  test('reads back a layer', () => {
    const index = decodeLayerIndex(layerBytes());
    expect(index).toMatchObject({
      entries: 5,
      tarBytes: tarOf(items).length,
      highestUid: 1,
      highestGid: 2,
      droppedXattrs: 0,
    });
    const passwd = layerEntry(index, 1);
    expect(passwd).toMatchObject({ name: 'etc/passwd', mode: 0o644, uid: 1, gid: 2, size: 4, mtime: 1_700_000_000n });
    expect([...xattrsOf(passwd.xattrs)].map(([key, value]) => [key, latin1(value)])).toEqual([['user.a', 'c']]);
    expect(extentsOf(layerEntry(index, 2))).toEqual([{ offset: 512, length: 512, tarOffset: expect.any(Number) }]);
    expect(layerEntry(index, 4)).toMatchObject({ major: 1, minor: 3 });
    expect(() => layerEntry(index, 5)).toThrow('there is no record 5');
  });

  test('of damaged bytes throws store_damaged or reads within bounds', () => {
    const bytes = layerBytes();
    const use = (damaged: Uint8Array): void => {
      const index = decodeLayerIndex(damaged);
      for (let i = 0; i < index.entries; i++) {
        const entry = layerEntry(index, i);
        xattrsOf(entry.xattrs);
        if (entry.kind === 1)
          for (const extent of extentsOf(entry))
            expect(extent.tarOffset + extent.length).toBeLessThanOrEqual(index.tarBytes);
      }
    };
    const refused = damageAll(bytes, use);
    expect(refused).toBeGreaterThan(100);
  });
});

function damageAll(bytes: Uint8Array, use: (damaged: Uint8Array) => void): number {
  let refused = 0;
  const run = (damaged: Uint8Array): void => {
    try {
      use(damaged);
    } catch (error) {
      if (!(error instanceof BerthError && error.code === 'store_damaged')) throw error;
      refused++;
    }
  };
  for (let at = 0; at < bytes.length; at++) {
    for (const mask of [0x01, 0x80, 0xff]) run(Uint8Array.from(bytes, (byte, i) => (i === at ? byte ^ mask : byte)));
    run(bytes.subarray(0, at));
  }
  return refused;
}

describe('an image index', () => {
  const image = (): ReturnType<typeof imageOf> => imageOf([tarOf(items)]);

  test('of damaged bytes throws store_damaged or reads within bounds', () => {
    const use = (damaged: Uint8Array): void => {
      const index = decodeImageIndex(damaged);
      for (let inode = 0; inode < index.inodes; inode++) {
        const entry = imageEntry(index, inode);
        for (const extent of entry.extents)
          expect(extent.tarOffset + extent.length).toBeLessThanOrEqual(index.tarBytes[entry.layer] ?? 0);
        listDir(index, inode);
      }
      for (const path of ['/etc/passwd', '/link', '/holes/x']) lookup(index, path);
    };
    expect(damageAll(image().index.bytes, use)).toBeGreaterThan(100);
  });

  test('keeps the facts of the layers', () => {
    const { index } = image();
    expect(index).toMatchObject({ inodes: 6, highestUid: 1, highestGid: 2, tarBytes: [tarOf(items).length] });
    expect(lookup(index, 'null')).toMatchObject({ entry: { kind: 'char', major: 1, minor: 3 } });
    expect(lookup(index, '/holes')).toMatchObject({
      entry: { kind: 'file', size: 9000, extents: [{ offset: 512, length: 512 }] },
    });
    expect(listDir(index, 0).map(({ name }) => name)).toEqual(['etc', 'holes', 'link', 'null']);
  });
});

describe('lookup()', () => {
  const tree: TarItem[] = [
    { name: 'usr/bin/sh', content: 'sh' },
    { name: 'bin', type: '2', link: 'usr/bin' },
    { name: 'abs', type: '2', link: '/usr/bin/sh' },
    { name: 'up', type: '2', link: '../../../../../usr/bin/../bin/sh' },
    { name: 'usr/back', type: '2', link: '../bin/sh' },
    { name: 'a', type: '2', link: 'b' },
    { name: 'b', type: '2', link: 'a' },
    { name: 'dangling', type: '2', link: 'usr/none' },
    { name: 'slash', type: '2', link: 'usr/bin/sh/' },
    { name: 'caf\xc3\xa9', content: 'utf-8' },
    ...Array.from(
      { length: 40 },
      (_, i): TarItem => ({ name: `l${i}`, type: '2', link: i === 0 ? 'usr' : `l${i - 1}` }),
    ),
    { name: 'l40', type: '2', link: 'l39' },
  ];
  const found = (path: string): object => ({ kind: 'found', path });
  const CASES: [string, object][] = [
    ['/', found('/')],
    ['', found('/')],
    ['..', found('/')],
    ['/usr/bin/sh', found('/usr/bin/sh')],
    ['usr//bin/./sh', found('/usr/bin/sh')],
    ['/bin/sh', found('/usr/bin/sh')],
    ['/bin', found('/usr/bin')],
    ['/abs', found('/usr/bin/sh')],
    ['/up', found('/usr/bin/sh')],
    ['/usr/back', found('/usr/bin/sh')],
    ['/bin/../back', found('/usr/bin/sh')],
    ['/café', found('/caf\xc3\xa9')],
    ['/l39/bin/sh', found('/usr/bin/sh')],
    ['/l40', { kind: 'too_many_links', path: '/l0' }],
    ['/a', { kind: 'too_many_links' }],
    ['/dangling', { kind: 'missing', path: '/usr/none' }],
    ['/nothing/at/all', { kind: 'missing', path: '/nothing' }],
    ['/usr/bin/sh/', { kind: 'not_directory', path: '/usr/bin/sh' }],
    ['/usr/bin/sh/x', { kind: 'not_directory', path: '/usr/bin/sh' }],
    ['/usr/bin/sh/..', { kind: 'not_directory', path: '/usr/bin/sh' }],
    ['/slash', { kind: 'not_directory', path: '/usr/bin/sh' }],
  ];
  test.each(CASES)('%j', (path, want) => {
    expect(lookup(imageOf([tarOf(tree)]).index, path)).toMatchObject(want);
  });

  test('with nofollow gives the link itself, but follows those on the way', () => {
    const { index } = imageOf([tarOf(tree)]);
    expect(lookup(index, '/bin', { nofollow: true })).toMatchObject({
      entry: { kind: 'symlink', link: 'usr/bin' },
      path: '/bin',
    });
    expect(lookup(index, '/bin/sh', { nofollow: true })).toMatchObject({
      entry: { kind: 'file' },
      path: '/usr/bin/sh',
    });
  });

  test('finds every name of a large directory', () => {
    const names = Array.from({ length: 3000 }, (_, i) => `${(i * 7919) % 3000}`.repeat(1 + (i % 5)));
    const { index } = imageOf([tarOf([...new Set(names)].map((name) => ({ name: `d/${name}`, content: name })))]);
    for (const name of names)
      expect(lookup(index, `/d/${name}`)).toMatchObject({ kind: 'found', entry: { size: name.length } });
    expect(lookup(index, '/d/x').kind).toBe('missing');
  });
});

test('latin1() and latin1Bytes() are each other reversed for any bytes', () => {
  const all = Uint8Array.from({ length: 10_000 }, (_, i) => i & 255);
  expect(Buffer.from(latin1Bytes(latin1(all))).equals(all)).toBe(true);
});
