// Layers made to harm: each is refused in one line that names the entry, or shows a right tree; none crashes or reaches outside.
import { beforeAll, describe, expect, test } from 'vitest';
import { TarError } from '../../../core/hot/tar-table.ts';
import { LayerFault, oneLine } from '../../../core/layer/fault.ts';
import { lookup } from '../../../core/spec/image-index.ts';
import { buildWasm, imageOf, listing } from '../../kit/layers.ts';
import { type TarItem, tarEntry, tarHeader, tarOf } from '../../kit/tar.ts';

beforeAll(buildWasm);

const dir = (name: string): TarItem => ({ name, type: '5', mode: 0o755 });
const map = (...numbers: number[]): [string, string][] => [
  ['GNU.sparse.size', '8192'],
  ['GNU.sparse.map', numbers.join(',')],
];

function refusal(bytes: Uint8Array): string {
  try {
    imageOf([bytes]);
  } catch (error) {
    if (error instanceof TarError || error instanceof LayerFault) return error.message;
    throw error;
  }
  return 'accepted';
}

const REFUSED: [string, Uint8Array, RegExp][] = [
  [
    'a hard link out of the root',
    tarOf([{ name: 'h', type: '1', link: '../../etc/shadow' }]),
    /"h", byte 0: this layer has no "etc" on the way to "etc"/,
  ],
  ['a hard link to itself', tarOf([{ name: 'h', type: '1', link: 'h' }]), /hard link to "h"/],
  ['a hard link to the root', tarOf([{ name: 'h', type: '1', link: '..' }]), /root of a layer is a directory/],
  ['a file as the root', tarOf([{ name: '..', content: 'x' }]), /the root of a layer is a directory, nothing else/],
  [
    'a symbolic link as the root',
    tarOf([{ name: './', type: '2', link: '/etc' }]),
    /the root of a layer is a directory/,
  ],
  ['a file without a name', tarOf([{ name: '', content: 'x' }]), /the root of a layer is a directory/],
  [
    'a path through a loop of links',
    tarOf([{ name: 'a', type: '2', link: 'b' }, { name: 'b', type: '2', link: 'a' }, { name: 'a/x' }]),
    /more than 40 symbolic links/,
  ],
  [
    'a path through a link out of the root',
    tarOf([{ name: 'a', type: '2', link: '../../../tmp' }, { name: 'a/x' }]),
    /"a\/x".*no "tmp" on the way/,
  ],
  [
    'a path through a device',
    tarOf([{ name: 'd', type: '3', major: 1, minor: 3 }, { name: 'd/x' }]),
    /"d" is not a directory/,
  ],
  ['a path through a whiteout', tarOf([{ name: '.wh.d' }, { name: 'd/x' }]), /"d" is not a directory/],
  ['a name of 256 bytes', tarOf([{ name: 'x', longName: `a/${'n'.repeat(256)}` }]), /longer than 255 bytes/],
  ['a path of 4,200 bytes', tarOf([{ name: 'x', longName: 'abcdefg/'.repeat(525) }]), /longer than 4,096 bytes/],
  ['a path of a megabyte', tarOf([{ name: 'x', longName: 'a/'.repeat(400_000) }]), /longer than 4,096 bytes/],
  ['a long name of 2 MiB', tarOf([{ name: 'x', longName: 'a'.repeat(2 ** 21) }]), /over 1 MiB/],
  ['a link of 4,096 bytes', tarOf([{ name: 'x', type: '2', longLink: 'l'.repeat(4096) }]), /symbolic link is longer/],
  ['an empty link', tarOf([{ name: 'x', type: '2' }]), /link has no target/],
  ['a zero byte in a pax path', tarOf([{ name: 'x', pax: [['path', 'a\0b']] }]), /zero byte/],
  ['a uid of 2^32 - 1', tarOf([{ name: 'x', pax: [['uid', '4294967295']] }]), /uid or gid/],
  ['a uid of -1', tarOf([{ name: 'x', uid: -1 }]), /uid or gid/],
  ['a size beyond 2^53', tarOf([{ name: 'x', size: 2 ** 60 }]), /number in its header/],
  ['a negative size', tarOf([{ name: 'x', size: -512 }]), /size is impossible/],
  ['a pax size beyond 2^53', tarOf([{ name: 'x', pax: [['size', '9007199254740993']] }]), /damaged pax header/],
  [
    'a pax length that lies',
    Buffer.concat([
      tarHeader({ name: 'p', type: 'x', content: '99 path=a\n' }),
      Buffer.from('99 path=a\n'.padEnd(512, '\0')),
      tarOf([{ name: 'x' }]),
    ]),
    /damaged pax/,
  ],
  [
    'two pax headers',
    Buffer.concat([
      tarEntry({ name: 'p', pax: [['path', 'a']] }).subarray(0, 1024),
      tarOf([{ name: 'x', pax: [['path', 'b']] }]),
    ]),
    /two pax headers/,
  ],
  [
    'a sparse map out of order',
    tarOf([{ name: 'x', content: 'd'.repeat(1024), pax: map(4096, 512, 0, 512) }]),
    /sparse map is damaged/,
  ],
  [
    'a sparse map beyond the file',
    tarOf([{ name: 'x', content: 'd'.repeat(1024), pax: map(7680, 1024) }]),
    /sparse map is damaged/,
  ],
  [
    'a sparse map of more than is stored',
    tarOf([{ name: 'x', content: 'd'.repeat(512), pax: map(0, 4096) }]),
    /sparse map is damaged/,
  ],
  [
    'a sparse map off the blocks',
    tarOf([{ name: 'x', content: 'd'.repeat(512), pax: map(100, 512) }]),
    /not aligned to 512/,
  ],
  [
    'a sparse map of an unknown form',
    tarOf([
      {
        name: 'x',
        pax: [
          ['GNU.sparse.major', '2'],
          ['GNU.sparse.minor', '0'],
          ['GNU.sparse.realsize', '5'],
        ],
      },
    ]),
    /unknown form/,
  ],
  [
    'a sparse file of a petabyte',
    tarOf([
      {
        name: 'x',
        content: 'd'.repeat(512),
        pax: [
          ['GNU.sparse.size', '1125899906842624'],
          ['GNU.sparse.map', '512,512'],
        ],
      },
    ]),
    /too fine a map/,
  ],
  ['a device number that is none', tarOf([{ name: 'x', type: '3', major: 4096 }]), /device number does not exist/],
  ['an unknown type', tarOf([{ name: 'x', type: 'V' }]), /"x", byte 0: entries of this type/],
  [
    'a wrong checksum',
    tarOf([{ name: 'first' }, { name: 'x', badSum: true }]),
    /in or after entry "first", byte 512: the checksum/,
  ],
  [
    'data after the end',
    Buffer.concat([tarOf([{ name: 'x' }]), Buffer.from('garbage')]),
    /byte 1536: there are bytes after the end/,
  ],
  [
    'a lone block of zeros',
    Buffer.concat([tarEntry({ name: 'x' }), Buffer.alloc(512), tarOf([{ name: 'y' }])]),
    /lone block of zeros/,
  ],
  ['a whiteout of the parent', tarOf([{ name: 'a/.wh...' }]), /whiteout of nothing/],
  [
    'attributes of 100 KiB',
    tarOf([
      {
        name: 'x',
        pax: [
          ['SCHILY.xattr.user.a', 'v'.repeat(60_000)],
          ['SCHILY.xattr.user.b', 'v'.repeat(40_000)],
        ],
      },
    ]),
    /more than 65536 bytes/,
  ],
  [
    'an attribute name of 300 bytes',
    tarOf([{ name: 'x', pax: [[`SCHILY.xattr.user.${'k'.repeat(300)}`, 'v']] }]),
    /extended attribute with a name over 255/,
  ],
  ['random bytes', Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) & 255)), /byte 0: the checksum/],
  ['text', Buffer.from('hello world\n'.repeat(100)), /checksum/],
  ['half a block', Buffer.from('hello'), /ends within an entry/],
];

test.each(REFUSED)('refuses %s', (_, bytes, sentence) => {
  expect(refusal(bytes)).toMatch(sentence);
});

describe('takes in a right way', () => {
  const show = (items: readonly TarItem[]): string[] => {
    const tar = tarOf(items);
    return listing(imageOf([tar]).index, [tar]);
  };

  test('a path that climbs: it stays in the root', () => {
    expect(show([{ name: '../../../../etc/passwd', content: 'x' }])).toEqual(['etc 40755', 'etc/passwd 100644 n1 x']);
  });

  test('a link out of the root: it is kept as text and resolved inside', () => {
    const tar = tarOf([
      { name: 'out', type: '2', link: '../../../../etc/passwd' },
      dir('etc'),
      { name: 'etc/passwd', content: 'inside' },
    ]);
    expect(lookup(imageOf([tar]).index, '/out')).toMatchObject({
      kind: 'found',
      path: '/etc/passwd',
      entry: { size: 6 },
    });
  });

  test('a path through a link to a directory of the same layer', () => {
    expect(
      show([dir('usr'), dir('usr/lib'), { name: 'lib', type: '2', link: '/usr/lib' }, { name: 'lib/x', content: 'x' }]),
    ).toEqual([...['lib 120777 -> /usr/lib', 'usr 40755', 'usr/lib 40755', 'usr/lib/x 100644 n1 x']]);
  });

  test('names that differ only in case or encoding', () => {
    const items = ['A', 'a', 'e\xcc\x81', '\xc3\xa9', '\xe9'].map((name): TarItem => ({ name, content: name }));
    expect(show(items)).toEqual(items.map(({ name }) => `${name} 100644 n1 ${name}`).sort());
  });

  test('a directory replaced by a file, and its old content is gone', () => {
    expect(
      show([
        { name: 'd/x', content: '1' },
        { name: 'd', content: '2' },
      ]),
    ).toEqual(['d 100644 n1 2']);
  });

  test('a whiteout and then a directory: nothing from below shows in it', () => {
    const tars = [
      tarOf([{ name: 'd/x', content: '1' }]),
      tarOf([{ name: '.wh.d' }, dir('d'), { name: 'd/y', content: '2' }]),
    ];
    expect(listing(imageOf(tars).index, tars)).toEqual(['d 40755', 'd/y 100644 n1 2']);
  });

  test('an opaque directory that is only implied: it keeps the mode of the lower one', () => {
    const tars = [tarOf([{ name: 'd', type: '5', mode: 0o711 }, { name: 'd/x' }]), tarOf([{ name: 'd/.wh..wh..opq' }])];
    expect(listing(imageOf(tars).index, tars)).toEqual(['d 40711']);
  });

  test('a global pax header: it says nothing about entries, as in docker', () => {
    const body = '14 path=global\n'.replace('14', '15');
    const tar = Buffer.concat([
      tarHeader({ name: 'g', type: 'g', content: body }),
      Buffer.from(body.padEnd(512, '\0')),
      tarOf([{ name: 'x', content: 'y' }]),
    ]);
    expect(listing(imageOf([tar]).index, [tar])).toEqual(['x 100644 n1 y']);
  });

  test('sizes of directories, links and devices: no data follow them', () => {
    expect(
      show([
        { ...dir('d'), size: 99_999 },
        { name: 'l', type: '2', link: 'd', size: 512 },
        { name: 'f', content: 'x' },
      ]),
    ).toHaveLength(3);
  });
});

describe('a tar cut at any block', () => {
  const items: TarItem[] = [
    dir('./'),
    { name: 'f', content: 'x'.repeat(1500) },
    { name: 'p', pax: [['path', 'q/'.repeat(300)]], content: 'y' },
    { name: 'n', longName: 'z'.repeat(200), longLink: 'f', type: '2' },
    {
      name: 's',
      content: Buffer.alloc(1024),
      pax: [
        ['GNU.sparse.size', '9000'],
        ['GNU.sparse.map', '0,512,4096,512'],
      ],
    },
    { name: 'h', type: '1', link: 'f' },
  ];
  const whole = tarOf(items);
  const starts = items.map((_, i) => items.slice(0, i).reduce((sum, item) => sum + tarEntry(item).length, 0));

  test('is refused within an entry and taken between two', () => {
    let taken = 0;
    for (let at = 0; at < whole.length; at += 256) {
      const answer = refusal(whole.subarray(0, at));
      const between = starts.includes(at) || at >= whole.length - 1024;
      if (between && at % 512 === 0) expect([at, answer]).toEqual([at, 'accepted']);
      else expect([at, answer]).toEqual([at, expect.stringMatching(/the tar ends within an entry/)]);
      if (answer === 'accepted') taken++;
    }
    expect(taken).toBe(starts.length + 2);
  });
});

test('oneLine() makes names with anything in them one printable line of bounded length', () => {
  const line = oneLine(refusal(tarOf([{ name: 'x\x1b[2J\n', type: 'V' }])));
  expect(line).toBe('tar entry "x\\x1b[2J\\x0a", byte 0: entries of this type are not supported');
  expect(oneLine('\xff'.repeat(5000)).length).toBe(1000);
});
