// A real system through the layer worker: Debian's tree, mounted from its tar without unpacking, equals what tar and umoci unpack, entry by entry.
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { collectTar } from '../../core/hot/tar-table.ts';
import { wasmTarCore } from '../../core/hot/wasm.ts';
import { decodeImageIndex, lookup } from '../../core/spec/image-index.ts';
import { debianTar } from '../bench/debian.ts';
import { importBlob, mergeFiles, unpackFiles } from '../kit/layer-worker.ts';
import { erofsFrom } from '../kit/erofs.ts';
import { buildWasm, imageOfIndexes } from '../kit/layers.ts';
import { root, suite, tool } from '../kit/need.ts';
import { writeOciLayout } from '../kit/oci-layout.ts';
import { tarEntry, tarHeader, type TarItem, tarOf } from '../kit/tar.ts';
import { differences, type Facts, mountedFacts, treeFacts } from '../kit/tree-facts.ts';

const scratch = mkdtempSync(join(tmpdir(), 'berth-debian-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const dir = (name: string): string => {
  mkdirSync(join(scratch, name));
  return join(scratch, name);
};

suite("Debian's tree", [root, erofsFrom(scratch), tool('debootstrap')], () => {
  const tar = (): string => debianTar() ?? '';

  test('is the same mounted, unpacked and by tar; the overlay on it too', { timeout: 600_000 }, () => {
    const megabytes = statSync(tar()).size / 1e6;
    execFileSync('sh', ['-c', `gzip -1 -c ${tar()} > ${scratch}/gz`]);
    writeFileSync(join(scratch, 'zst'), zstdCompressSync(readFileSync(tar())));
    const plain = importBlob(tar(), join(scratch, 'plain'));
    const gz = importBlob(join(scratch, 'gz'), join(scratch, 'debian'));
    const zst = importBlob(join(scratch, 'zst'), join(scratch, 'zstd'));
    for (const run of [plain, gz, zst]) expect(run.error).toBe('');
    expect(readFileSync(gz.index).equals(readFileSync(plain.index))).toBe(true);
    expect(execFileSync('cmp', [gz.tar, tar()]).length).toBe(0);
    const merged = mergeFiles([gz], join(scratch, 'image'));
    const unpacked = unpackFiles([gz], dir('unpacked'));
    expect(unpacked.error).toBe('');
    const speed = (run: { ms: number }): string =>
      `${run.ms.toFixed(0)} ms (${((megabytes / run.ms) * 1000).toFixed(0)} MB/s)`;
    console.log(
      `debian: ${megabytes.toFixed(0)} MB, ${gz.result?.entries} entries; import plain ${speed(plain)}, gzip ${speed(gz)}, zstd ${speed(zst)}; merge ${merged.ms.toFixed(0)} ms, image ${(merged.result?.imageBytes ?? 0) >> 10} KiB; unpack ${speed(unpacked)}; all with process start`,
    );

    execFileSync('tar', ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-xpf', tar(), '-C', dir('tarred')]);
    const facts = treeFacts(join(scratch, 'tarred'));
    expect(Object.keys(facts).length).toBeGreaterThan(5000);
    const job = { image: merged.image, tars: [gz.tar] };
    const overlay = { ...job, upper: dir('upper'), work: dir('work') };
    const [mounted, onTop] = mountedFacts(dir('on'), [job, overlay]) as Facts[];
    expect(differences(mounted ?? {}, facts)).toEqual([]);
    // The overlay's root has the time of its upper directory.
    expect(differences({ ...onTop, '': '' }, { ...facts, '': '' })).toEqual([]);
    expect(differences(treeFacts(join(scratch, 'unpacked')), facts)).toEqual([]);

    const index = decodeImageIndex(readFileSync(merged.index));
    const shell = lookup(index, '/bin/sh');
    expect(shell).toMatchObject({ kind: 'found', path: expect.stringMatching(/^\/(usr\/)?bin\/dash$/) });
    const passwd = lookup(index, '/etc/passwd');
    if (passwd.kind !== 'found') throw new Error('no /etc/passwd');
    const { tarOffset = 0, length = 0 } = passwd.entry.extents[0] ?? {};
    const text = Buffer.alloc(length);
    const fd = openSync(gz.tar, 'r');
    expect(readSync(fd, text, 0, length, tarOffset)).toBe(length);
    closeSync(fd);
    expect(text.toString()).toBe(readFileSync(join(scratch, 'tarred/etc/passwd'), 'utf8'));
  });
});

// Times of directories no layer describes are umoci's own clock; the case has none of those.
const UPPER: readonly TarItem[] = [
  { name: 'etc/', type: '5', mode: 0o755 },
  { name: 'etc/hostname', content: 'berth\n' },
  { name: 'etc/.wh.passwd-' },
  { name: 'usr/', type: '5', mode: 0o755 },
  { name: 'usr/share/', type: '5', mode: 0o755 },
  { name: 'usr/share/.wh.doc' },
  { name: 'usr/share/zoneinfo/', type: '5', mode: 0o711, uid: 5 },
  { name: 'usr/share/zoneinfo/.wh..wh..opq' },
  {
    name: 'usr/share/zoneinfo/UTC',
    content: 'utc',
    pax: [
      ['SCHILY.xattr.user.zone', 'utc'],
      ['mtime', '1700000000.5'],
    ],
  },
  { name: 'opt/', type: '5', mode: 0o700 },
  { name: 'opt/a', content: 'one', mode: 0o4755, uid: 1000, gid: 1000 },
  { name: 'opt/b', type: '1', link: 'opt/a' },
  { name: 'opt/l', type: '2', link: '../etc/hostname' },
  { name: 'var/', type: '5', mode: 0o755 },
  { name: 'var/cache', content: 'a file now' },
];
const TOP: readonly TarItem[] = [
  { name: 'opt/', type: '5', mode: 0o755, mtime: 1_650_000_000 },
  { name: 'opt/.wh.b' },
  { name: 'opt/l/', type: '5', mode: 0o755 },
  { name: 'opt/l/deep', content: 'directory over link' },
  { name: 'usr/', type: '5', mode: 0o755, mtime: 1_650_000_001 },
  { name: 'usr/share/', type: '5', mode: 0o755, mtime: 1_650_000_002 },
  { name: 'usr/share/doc/', type: '5', mode: 0o755 },
  { name: 'usr/share/doc/back', content: 'again' },
];

suite('three layers', [root, erofsFrom(scratch), tool('debootstrap'), tool('umoci')], () => {
  test('are the same mounted, unpacked and by umoci', { timeout: 600_000 }, () => {
    const blobs = [debianTar() ?? '', join(scratch, 'upper.tar'), join(scratch, 'top.tar')];
    writeFileSync(blobs[1] ?? '', tarOf(UPPER));
    writeFileSync(blobs[2] ?? '', tarOf(TOP));
    const layers = blobs.map((blob, i) => importBlob(blob, join(scratch, `three${i}`)));
    const merged = mergeFiles(layers, join(scratch, 'three'));
    const unpacked = unpackFiles(layers, dir('three.root'));
    expect([...layers, merged, unpacked].map((run) => run.error)).toEqual(['', '', '', '', '']);
    writeOciLayout(join(scratch, 'oci'), blobs);
    execFileSync('umoci', ['unpack', '--image', `${join(scratch, 'oci')}:latest`, join(scratch, 'bundle')], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const theirs = treeFacts(join(scratch, 'bundle/rootfs'));
    const [mounted] = mountedFacts(dir('three.on'), [
      { image: merged.image, tars: layers.map((layer) => layer.tar) },
    ]) as Facts[];
    expect(differences(mounted ?? {}, treeFacts(join(scratch, 'three.root')))).toEqual([]);
    expect(differences(mounted ?? {}, theirs)).toEqual([]);
  });
});

suite('large things', [root, erofsFrom(scratch)], () => {
  test('a directory of 100,000 names, links of 4,094 bytes, attributes of every size', { timeout: 300_000 }, () => {
    const items: TarItem[] = Array.from({ length: 100_000 }, (_, i) => ({
      name: `big/${(i * 7919) % 100_000}-${'n'.repeat(i % 60)}`,
      content: i % 1000 === 0 ? `${i}` : '',
    }));
    items.push(
      { name: 'l', type: '2', longLink: 'x/'.repeat(2047) },
      { name: 'm', type: '2', longLink: 'y'.repeat(700) },
    );
    for (let i = 0; i < 50; i++)
      items.push({ name: `x${i}`, content: 'x', pax: [['SCHILY.xattr.user.big', 'v'.repeat(i * 80)]] });
    writeFileSync(join(scratch, 'large'), tarOf(items));
    const layer = importBlob(join(scratch, 'large'), join(scratch, 'large'));
    const merged = mergeFiles([layer], join(scratch, 'large.image'));
    const unpacked = unpackFiles([layer], dir('large.root'));
    expect([layer.error, merged.error, unpacked.error]).toEqual(['', '', '']);
    console.log(
      `100,000 names: import ${layer.ms.toFixed(0)} ms, merge ${merged.ms.toFixed(0)} ms, image ${(merged.result?.imageBytes ?? 0) >> 10} KiB`,
    );
    const [mounted] = mountedFacts(dir('large.on'), [{ image: merged.image, tars: [layer.tar] }]) as Facts[];
    expect(differences(mounted ?? {}, treeFacts(join(scratch, 'large.root')))).toEqual([]);
  });

  test('a file of 5 GiB, and one that lies beyond it', { timeout: 300_000 }, () => {
    buildWasm();
    const size = 5 * 2 ** 30;
    const path = join(scratch, 'huge.tar');
    const head = tarHeader({ name: 'huge', size });
    const tail = Buffer.concat([tarEntry({ name: 'after', content: 'beyond 4 GiB' }), Buffer.alloc(1024)]);
    const fd = openSync(path, 'w');
    writeSync(fd, head, 0, 512, 0);
    writeSync(fd, Buffer.from('the end'), 0, 7, 512 + size - 7);
    writeSync(fd, tail, 0, tail.length, 512 + size);
    ftruncateSync(fd, 512 + size + tail.length);
    closeSync(fd);
    const core = wasmTarCore();
    expect(core.feed(head)).toBe(size);
    core.pass(size);
    core.feed(tail);
    core.finish();
    const part = core.take();
    const table = { ...collectTar(wasmTarCore()).end(), ...part, entries: 2, tarBytes: 512 + size + tail.length };
    const image = imageOfIndexes([table]);
    writeFileSync(join(scratch, 'huge.image'), image.erofs);
    const [facts] = mountedFacts(dir('huge.on'), [
      { image: join(scratch, 'huge.image'), tars: [path], tails: true },
    ]) as Facts[];
    expect(facts).toEqual({ after: '12 beyond 4 GiB', huge: `${size} the end` });
  });
});
