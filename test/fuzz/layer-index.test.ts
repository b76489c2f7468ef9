// The WebAssembly tar index and its plain twin give the same bytes, or the same error at the same place, for any tar and any damage.
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { collectTar, TarError, type TarCore } from '../../core/hot/tar-table.ts';
import { twinTarCore } from '../../core/hot/tar-twin.ts';
import { wasmTarCore } from '../../core/hot/wasm.ts';
import { sealHeader, type TarItem, tarOf } from '../kit/tar.ts';

const seed = Number(process.env['BERTH_SEED'] ?? Date.now() % 2 ** 31);
const numRuns = process.env['BERTH_LONG'] ? 50_000 : 1500;

beforeAll(() => {
  execFileSync(process.execPath, ['.ci/build-asm.mjs']);
  console.log(`seed ${seed} (BERTH_SEED), ${numRuns} runs`);
});

function outcome(core: TarCore, tar: Uint8Array, cuts: readonly number[]) {
  const index = collectTar(core);
  try {
    let at = 0;
    for (const cut of cuts) {
      index.write(tar.subarray(at, at + cut));
      at = Math.min(tar.length, at + cut);
    }
    index.write(tar.subarray(at));
    const table = index.end();
    return {
      ...table,
      records: Buffer.from(table.records).toString('hex'),
      pool: Buffer.from(table.pool).toString('latin1'),
    };
  } catch (error) {
    if (!(error instanceof TarError)) throw error;
    return { code: error.code, offset: error.offset, message: error.message };
  }
}

const pathPart = fc.oneof(
  fc.constantFrom(
    '.',
    '..',
    '',
    'a',
    'b',
    'usr',
    'lib',
    '.wh.x',
    '.wh..wh..opq',
    '.wh.',
    '.wh..',
    'ä',
    '\xff\xfe',
    'x\0y',
    'n'.repeat(255),
    'n'.repeat(256),
  ),
  fc.string({ maxLength: 8 }),
);
const path = fc.array(pathPart, { maxLength: 6 }).map((parts) => parts.join('/'));
const digits = fc.oneof(
  fc.nat(100_000).map(String),
  fc.constantFrom(
    '0',
    '9007199254740991',
    '9007199254740992',
    '99999999999999999999',
    '-1',
    '-1.5',
    '1.123456789123',
    '1.',
    '.5',
    'x',
    '',
  ),
);
const blocks = fc.nat(8).map((n) => String(n * 512));
const mapText = fc.array(fc.oneof(blocks, digits), { maxLength: 8 }).map((parts) => parts.join(','));
const record = fc.oneof(
  fc.tuple(fc.constantFrom('path', 'linkpath', 'comment', 'uname'), path),
  fc.tuple(fc.constant('GNU.sparse.name'), path),
  fc.tuple(
    fc.constantFrom(
      'size',
      'uid',
      'gid',
      'mtime',
      'atime',
      'GNU.sparse.size',
      'GNU.sparse.realsize',
      'GNU.sparse.numblocks',
    ),
    fc.oneof(digits, blocks),
  ),
  fc.tuple(fc.constantFrom('GNU.sparse.major', 'GNU.sparse.minor'), fc.constantFrom('0', '1', '2')),
  fc.tuple(fc.constantFrom('GNU.sparse.offset', 'GNU.sparse.numbytes'), blocks),
  fc.tuple(fc.constant('GNU.sparse.map'), mapText),
  fc.tuple(
    fc
      .constantFrom(
        'user.a',
        'user.',
        'user.overlay.opaque',
        'user.berth.owner',
        'trusted.x',
        'security.capability',
        'security.selinux',
        `user.${'k'.repeat(260)}`,
      )
      .map((k) => `SCHILY.xattr.${k}`),
    fc.string({ maxLength: 20 }),
  ),
);
const sparse10 = fc.tuple(fc.array(fc.nat(6), { maxLength: 4 }), fc.nat(20)).map(([lengths, more]): TarItem => {
  let at = 0;
  const map = lengths.map((n, i) => {
    const offset = at + (i % 2);
    at = offset + n;
    return [offset * 512, n * 512];
  });
  const text = [map.length, ...map.flat()].map((n) => `${n}\n`).join('');
  const head = Buffer.concat([Buffer.from(text), Buffer.alloc(-text.length & 511)]);
  const body = Buffer.alloc(lengths.reduce((a, b) => a + b, 0) * 512, 'd');
  const pax = [
    ['GNU.sparse.major', '1'],
    ['GNU.sparse.minor', '0'],
    ['GNU.sparse.name', 'holes'],
    ['GNU.sparse.realsize', String((at + more) * 512)],
  ] as const;
  return { name: 'GNUSparseFile.0/holes', content: Buffer.concat([head, body]), pax };
});
const oldSparse = fc.array(fc.tuple(fc.nat(5), fc.nat(5)), { maxLength: 4 }).map((pairs): TarItem => {
  let at = 0;
  const field = (n: number): string => `${n.toString(8).padStart(11, '0')}\0`;
  const map = pairs.map(([gap, n]) => {
    const offset = at + gap;
    at = offset + n;
    return field(offset * 512) + field(n * 512);
  });
  const stored = pairs.reduce((sum, [, n]) => sum + n * 512, 0);
  return {
    name: 'old',
    type: 'S',
    form: 'gnu',
    content: Buffer.alloc(stored, 's'),
    patch: [
      [345, '\0'.repeat(41)],
      [386, map.join('')],
      [483, field(at * 512)],
    ],
  };
});
const plain = fc.record(
  {
    name: path,
    type: fc.constantFrom('0', '\0', '1', '2', '3', '4', '5', '6', '7', 'S', 'x', 'g', 'L', 'K', 'V', 'A'),
    mode: fc.nat(0o7777),
    uid: fc.oneof(fc.nat(70_000), fc.constantFrom(2 ** 32 - 2, 2 ** 32 - 1, -1)),
    gid: fc.nat(70_000),
    mtime: fc.oneof(fc.nat(2 ** 31), fc.constantFrom(-1, -(2 ** 40), 2 ** 52)),
    content: fc.string({ maxLength: 1400 }),
    link: path,
    major: fc.nat(5000),
    minor: fc.nat(2_000_000),
    pax: fc.array(record, { maxLength: 5 }),
    longName: path,
    longLink: path,
    prefix: path,
    form: fc.constantFrom('ustar' as const, 'gnu' as const, 'v7' as const),
    binary: fc.boolean(),
  },
  { requiredKeys: ['name'] },
);
const item: fc.Arbitrary<TarItem> = fc.oneof(
  { weight: 8, arbitrary: plain },
  { weight: 1, arbitrary: sparse10 },
  { weight: 1, arbitrary: oldSparse },
);
const cuts = fc.array(fc.oneof(fc.nat(700), fc.constantFrom(1, 511, 512, 513)), { maxLength: 20 });
const damage = fc.array(
  fc.record({
    at: fc.nat(),
    byte: fc.nat(255),
    kind: fc.constantFrom('set', 'flip', 'cut', 'repeat'),
    seal: fc.boolean(),
  }),
  { maxLength: 4 },
);

function damaged(
  tar: Uint8Array,
  marks: readonly { at: number; byte: number; kind: string; seal: boolean }[],
): Uint8Array {
  let out = Buffer.from(tar);
  for (const { at, byte, kind, seal } of marks) {
    const where = at % Math.max(1, out.length);
    if (kind === 'cut') out = out.subarray(0, where);
    else if (kind === 'repeat')
      out = Buffer.concat([out.subarray(0, where & ~511), out.subarray(Math.max(0, (where & ~511) - 512))]);
    else out[where] = kind === 'set' ? byte : (out[where] ?? 0) ^ (1 << (byte & 7));
    if (seal && (where & ~511) + 512 <= out.length) sealHeader(out.subarray(where & ~511, (where & ~511) + 512));
  }
  return out;
}

describe('collectTar()', () => {
  test('gives the same with WebAssembly and the twin, for good and damaged tars in any chunks', {
    timeout: 600_000,
  }, () => {
    const seen = { good: 0, refused: new Set<number>() };
    fc.assert(
      fc.property(fc.array(item, { maxLength: 6 }), cuts, damage, (items, parts, marks) => {
        const tar = damaged(tarOf(items), marks);
        const mine = outcome(wasmTarCore(), tar, parts);
        if ('code' in mine) seen.refused.add(mine.code);
        else seen.good++;
        expect(mine).toEqual(outcome(twinTarCore(), tar, parts));
      }),
      { seed, numRuns },
    );
    console.log(`good ${seen.good}, refused for ${[...seen.refused].sort((a, b) => a - b).join(' ')}`);
    expect(seen.good).toBeGreaterThan(numRuns / 50);
    expect(seen.refused.size).toBeGreaterThan(15);
  });

  test('gives the same however the tar is cut into chunks', { timeout: 300_000 }, () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 5 }), cuts, (items, parts) => {
        const tar = tarOf(items);
        expect(outcome(wasmTarCore(), tar, parts)).toEqual(outcome(wasmTarCore(), tar, []));
      }),
      { seed, numRuns: Math.ceil(numRuns / 4) },
    );
  });

  test('survives random bytes', { timeout: 300_000 }, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), cuts, (bytes, parts) => {
        expect(outcome(wasmTarCore(), bytes, parts)).toEqual(outcome(twinTarCore(), bytes, parts));
      }),
      { seed, numRuns: Math.ceil(numRuns / 4) },
    );
  });
});
