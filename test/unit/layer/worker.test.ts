// The worker as a process: what it reads, how it ends, what it says. Needs no rights.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { execFileSync, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeImageIndex, lookup } from '../../../core/spec/image-index.ts';
import { decodeResult } from '../../../core/spec/layer-index.ts';
import { importBlob, mergeFiles, runWorker, unpackFiles } from '../../kit/layer-worker.ts';
import { buildWasm } from '../../kit/layers.ts';
import { tarOf } from '../../kit/tar.ts';
import { treeFacts } from '../../kit/tree-facts.ts';

const scratch = mkdtempSync(join(tmpdir(), 'berth-worker-'));
beforeAll(buildWasm);
afterAll(() => {
  execFileSync('chmod', ['-R', 'u+rwX', scratch]); // an unpacked tree has directories that forbid their owner to remove anything
  rmSync(scratch, { recursive: true });
});

const tar = tarOf([
  { name: 'bin', type: '5', mode: 0o755 },
  { name: 'bin/sh', mode: 0o755, uid: 3, gid: 900, content: Buffer.alloc(300_000, 'program') },
  { name: 'etc/passwd', content: 'root:x:0:0::/:/bin/sh\n', pax: [['SCHILY.xattr.trusted.x', 'y']] },
]);
let number = 0;

function importOf(blob: Uint8Array, maxBytes = 0) {
  const at = join(scratch, `${number++}`);
  writeFileSync(`${at}.blob`, blob);
  return importBlob(`${at}.blob`, at, maxBytes);
}

const zstdSkippable = Buffer.concat([Buffer.from('502a4d1804000000', 'hex'), Buffer.from('note')]);
const middle = 100_000;
const FORMS: [string, Uint8Array][] = [
  ['plain', tar],
  ['gzip', gzipSync(tar)],
  ['gzip in two members', Buffer.concat([gzipSync(tar.subarray(0, middle)), gzipSync(tar.subarray(middle))])],
  ['gzip padded with zeros', Buffer.concat([gzipSync(tar), Buffer.alloc(10_000)])],
  ['zstd', zstdCompressSync(tar)],
  [
    'zstd in frames, some to be skipped',
    Buffer.concat([
      zstdSkippable,
      zstdCompressSync(tar.subarray(0, middle)),
      zstdSkippable,
      zstdCompressSync(tar.subarray(middle)),
    ]),
  ],
];

describe('import', () => {
  test.each(FORMS)('reads %s', (_, blob) => {
    const run = importOf(blob);
    expect([run.error, run.code]).toEqual(['', 0]);
    expect(readFileSync(run.tar).equals(tar)).toBe(true);
    expect(run.result).toMatchObject({
      status: 'ok',
      mode: 'import',
      entries: 3,
      highestUid: 3,
      highestGid: 900,
      contentBytes: tar.length,
      droppedXattrs: 1,
    });
    expect(run.result?.bytesRead).toBe(blob.length);
    expect(run.result?.indexBytes).toBe(statSync(run.index).size);
  });

  test('reads a pipe that comes in small pieces', async () => {
    const at = join(scratch, 'pipe');
    for (const end of ['tar', 'idx', 'result']) writeFileSync(`${at}.${end}`, '');
    const script = `exec ${process.execPath} core/layer/main.ts import 0 3<&0 4<>${at}.tar 5<>${at}.idx 6>${at}.result`;
    const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'inherit'] });
    const blob = gzipSync(tar);
    for (let i = 0; i < blob.length; i += 97) child.stdin.write(blob.subarray(i, i + 97));
    child.stdin.end();
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
    expect(readFileSync(`${at}.tar`).equals(tar)).toBe(true);
  });

  const gz = gzipSync(tar);
  const REFUSED: [string, Uint8Array, string, RegExp][] = [
    ['gzip cut short', gz.subarray(0, gz.length - 20), 'input', /gzip data are cut short/],
    [
      'gzip with a flipped bit',
      Buffer.from(gz).fill((gz[60] ?? 0) ^ 16, 60, 61),
      'input',
      /gzip data are damaged near byte/,
    ],
    [
      'gzip with a wrong sum',
      Buffer.from(gz).fill((gz.at(-5) ?? 0) ^ 1, gz.length - 5, gz.length - 4),
      'input',
      /incorrect/,
    ],
    ['gzip and then garbage', Buffer.concat([gz, Buffer.from('garbage')]), 'input', /gzip data are damaged near byte/],
    [
      'gzip and then zeros and a member',
      Buffer.concat([gz, Buffer.alloc(100), gz]),
      'input',
      /bytes after the end of the layer's gzip data/,
    ],
    ['zstd cut short', zstdCompressSync(tar).subarray(0, -3), 'input', /zstd data are cut short/],
    [
      'zstd and then garbage',
      Buffer.concat([zstdCompressSync(tar), Buffer.from('garbage')]),
      'input',
      /bytes after the end of the layer's zstd data/,
    ],
    ['bzip2', Buffer.from('BZh91AY&SY'), 'input', /compressed with bzip2; gzip, zstd and plain tars can be read/],
    ['xz', Buffer.from('fd377a585a0000', 'hex'), 'input', /compressed with xz/],
    [
      'a tar cut short',
      gzipSync(tar.subarray(0, 200_000)),
      'input',
      /in or after entry "bin\/sh".*ends within an entry/,
    ],
    [
      'a hard link to nothing',
      gzipSync(tarOf([{ name: 'h', type: '1', link: 'x' }])),
      'input',
      /layer entry "h", byte 0: hard link/,
    ],
  ];
  test.each(REFUSED)('refuses %s', (_, blob, status, sentence) => {
    const run = importOf(blob);
    expect(run.code).toBe(1);
    expect(run.error).toMatch(sentence);
    expect(run.error).toMatch(/^berth layer import: [\x20-\x7e]{1,1000}\n$/);
    expect(run.result).toMatchObject({ status, mode: 'import' });
  });

  test('stops a bomb at its bound, without writing more', () => {
    const run = importOf(gzipSync(tarOf([{ name: 'bomb', content: Buffer.alloc(50_000_000) }])), 1_000_000);
    expect(run.result?.status).toBe('limit');
    expect(run.error).toContain('more than the allowed 1000000 bytes');
    expect(statSync(run.tar).size).toBeLessThanOrEqual(1_000_000);
  });

  test('takes a layer of exactly the bound', () => {
    expect(importOf(gzipSync(tar), tar.length).code).toBe(0);
    expect(importOf(gzipSync(tar), tar.length - 1).result?.status).toBe('limit');
  });

  test('takes an empty layer', () => {
    expect(importOf(gzipSync(tarOf([]))).result).toMatchObject({ status: 'ok', entries: 0 });
  });

  test('says so when the disk is full', () => {
    const at = join(scratch, 'full');
    writeFileSync(`${at}.blob`, tar);
    const limited = `ulimit -f 100; exec ${process.execPath} core/layer/main.ts import 0 3<${at}.blob 4<>${at}.tar 5<>${at}.idx 6>${at}.result`;
    expect(() => execFileSync('sh', ['-c', limited], { stdio: ['ignore', 'ignore', 'pipe'] })).toThrow(/EFBIG/);
    expect(decodeResult(readFileSync(`${at}.result`))?.status).toBe('io');
  });

  test('refuses an output that is not new', () => {
    const at = join(scratch, 'used');
    writeFileSync(`${at}.tar`, 'x');
    writeFileSync(`${at}.blob`, tar);
    const run = runWorker(
      ['import', '0'],
      { 3: [`${at}.blob`, 'r'], 4: [`${at}.tar`, 'r+'], 5: [`${at}.idx`, 'w+'] },
      scratch,
    );
    expect(run.error).toContain('descriptor 4 (tar) is not a new, empty file');
  });
});

describe('hash', () => {
  test('gives the SHA-256 of the file', () => {
    const path = join(scratch, 'hashed');
    writeFileSync(path, Buffer.alloc(3_000_001, 'h'));
    const run = runWorker(['hash'], { 3: [path, 'r'] }, scratch);
    expect(run.result).toMatchObject({ status: 'ok', mode: 'hash', bytesRead: 3_000_001 });
    expect(Buffer.from(run.result?.digest ?? []).toString('hex')).toBe(
      createHash('sha256').update(readFileSync(path)).digest('hex'),
    );
  });
});

describe('merge', () => {
  test('makes an image and an index of layers, in their order', () => {
    const top = importOf(gzipSync(tarOf([{ name: 'etc/.wh.passwd' }, { name: 'etc/group', content: 'g' }])));
    const layers = [importOf(gzipSync(tar)), top];
    const run = mergeFiles(layers, join(scratch, 'merged'));
    expect([run.error, run.code]).toEqual(['', 0]);
    expect(run.result).toMatchObject({
      entries: 5,
      layers: 2,
      directories: 3,
      highestGid: 900,
      imageBytes: statSync(run.image).size,
    });
    const index = decodeImageIndex(readFileSync(run.index));
    expect(lookup(index, '/etc/passwd')).toEqual({ kind: 'missing', path: '/etc/passwd' });
    expect(lookup(index, '/etc/group')).toMatchObject({ entry: { layer: 1, size: 1 } });
    expect(lookup(index, '/bin/sh')).toMatchObject({
      entry: { layer: 0, extents: [{ offset: 0, length: 300_000, tarOffset: 1024 }] },
    });
  });

  test('refuses a damaged index', () => {
    const layer = importOf(gzipSync(tar));
    const bytes = readFileSync(layer.index);
    for (const at of [0, 8, 20, 128 + 31, 128 + 50, bytes.length - 1]) {
      const bad = Buffer.from(bytes);
      bad.fill((bad[at] ?? 0) ^ 0xff, at, at + 1);
      writeFileSync(layer.index, at === bytes.length - 1 ? bytes.subarray(0, at) : bad);
      const run = mergeFiles([layer], join(scratch, `bad${at}`));
      if (at !== 128 + 31)
        expect([at, run.code, run.error]).toEqual([
          at,
          1,
          expect.stringMatching(/^berth layer merge: layer index is damaged: .*\n$/),
        ]);
    }
  });

  test.each([['0'], ['257'], ['x'], [''], ['1e3']])('refuses %j layers', (count) => {
    const run = runWorker(['merge', count], {}, scratch);
    expect(run.result).toMatchObject({ status: 'internal', mode: 'merge' });
    expect(run.error).toContain(`argument "${count}" is not a number from 1 to 256`);
  });
});

describe('unpack', () => {
  test('as one uid records other owners and leaves devices out', () => {
    const tarWithDevice = tarOf([
      { name: 'dev/null', type: '3', mode: 0o666, major: 1, minor: 3 },
      { name: 'd', type: '5', mode: 0o500, uid: 5, gid: 6 },
      { name: 'd/f', content: 'x', gid: 42 },
    ]);
    const layers = [importOf(gzipSync(tarWithDevice))];
    const into = join(scratch, 'rootless');
    mkdirSync(into);
    const run = unpackFiles(layers, into, ['rootless']);
    expect([run.error, run.result?.leftOut]).toEqual(['', 1]);
    const facts = treeFacts(into);
    expect(Object.keys(facts)).toEqual(['', 'd', 'd/f', 'dev']);
    expect(facts['d/f']).toContain(`user.berth.owner=${Buffer.from('0:42').toString('hex')}`);
    expect(facts['d']).toMatch(
      new RegExp(`^40500 ${process.getuid?.()}:.*user.berth.owner=${Buffer.from('5:6').toString('hex')}$`),
    );
  });

  test('makes the top layer alone in overlay form', () => {
    const layers = [
      importOf(
        gzipSync(
          tarOf([
            { name: 'etc', type: '5', mode: 0o711 },
            { name: 'etc/a', content: 'a' },
            { name: 'opt/b', content: 'b' },
            { name: 'gone', content: 'c' },
          ]),
        ),
      ),
      importOf(
        gzipSync(tarOf([{ name: 'etc/new', content: 'n' }, { name: '.wh.gone' }, { name: 'opt/.wh..wh..opq' }])),
      ),
    ];
    const into = join(scratch, 'top');
    mkdirSync(into);
    const run = unpackFiles(layers, into, ['rootless', 'top']);
    expect(run.error).toBe('');
    const facts = treeFacts(into, { times: false });
    expect(Object.keys(facts)).toEqual(['', 'etc', 'etc/new', 'gone', 'opt']);
    expect(facts['etc']).toMatch(/^40711 /);
    expect(facts['gone']).toMatch(/^20000 .* device 0$/);
    expect(facts['opt']).toContain('user.overlay.opaque=79');
  });

  test('refuses what is there already', () => {
    const into = join(scratch, 'there');
    mkdirSync(join(into, 'bin'), { recursive: true });
    const run = unpackFiles([importOf(gzipSync(tar))], into, ['rootless']);
    expect(run.result?.status).toBe('io');
    expect(run.error).toMatch(/unpacking "bin": mkdirat bin: EEXIST/);
  });
});

test('an unknown mode ends with 1 and one line', () => {
  expect(() => runWorker(['explode'], {}, scratch)).not.toThrow();
  const run = runWorker(['explode'], {}, scratch);
  expect([run.code, run.result]).toEqual([1, undefined]);
  expect(run.error).toBe('berth layer explode: unknown mode "explode"; known are import, hash, merge, unpack\n');
  expect(existsSync(scratch)).toBe(true);
});
