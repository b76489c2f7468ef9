// The layer worker for real, as root: images are mounted with their tars as devices and compared with unpacked trees, entry by entry.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { decodeImageIndex } from '../../core/spec/image-index.ts';
import { BASE, CASES } from '../kit/layer-cases.ts';
import { mergeFiles, unpackFiles } from '../kit/layer-worker.ts';
import { erofsFrom } from '../kit/erofs.ts';
import { imageOf, imageOfIndexes, listing, writeLayer } from '../kit/layers.ts';
import { root, suite } from '../kit/need.ts';
import { tarOf } from '../kit/tar.ts';
import { differences, type Facts, type MountJob, mountedFacts, treeFacts } from '../kit/tree-facts.ts';

const scratch = mkdtempSync(join(tmpdir(), 'berth-layer-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const erofs = erofsFrom(scratch);

function mountAll(jobs: readonly MountJob[]): (Facts | string)[] {
  mkdirSync(join(scratch, 'on'), { recursive: true });
  return mountedFacts(join(scratch, 'on'), jobs);
}

suite('an image of odd layers', [root, erofs], () => {
  test('shows the same mounted, unpacked and in its index, in all cases', { timeout: 120_000 }, () => {
    const baseTar = tarOf(BASE);
    const base = writeLayer(baseTar, join(scratch, 'base'));
    const before = listing(imageOf([baseTar]).index, [baseTar]);
    const jobs: MountJob[] = [];
    const unpacked: Facts[] = [];
    const names: string[] = [];
    for (const one of CASES) {
      if ('error' in one) continue; // refused before there is an image: test/unit/layer/parity.test.ts
      const at = join(scratch, one.name);
      const tar = tarOf(one.items);
      const layer = writeLayer(tar, at);
      const image = imageOfIndexes([base.table, layer.table]);
      writeFileSync(`${at}.image`, image.erofs);
      mkdirSync(`${at}.root`);
      const unpack = unpackFiles([base, layer], `${at}.root`);
      expect(unpack.error).toBe('');
      expect(readFileSync(unpack.index).equals(image.index.bytes)).toBe(true);
      const lines = listing(decodeImageIndex(readFileSync(unpack.index)), [baseTar, tar]);
      expect(lines.filter((line) => !before.includes(line))).toEqual(one.plus);
      jobs.push({ image: `${at}.image`, tars: [base.tar, layer.tar] });
      unpacked.push(treeFacts(`${at}.root`));
      names.push(one.name);
    }
    const mounted = mountAll(jobs);
    expect(names.length).toBe(22);
    for (const [i, name] of names.entries())
      expect([name, differences(mounted[i] as Facts, unpacked[i] ?? {})]).toEqual([name, []]);
  });
});

suite('an image with everything a tar can hold', [root, erofs], () => {
  test('is right when mounted and when unpacked', { timeout: 120_000 }, () => {
    const long = (n: number): string => Array.from({ length: n }, (_, i) => `${i}`.padStart(200, 'd')).join('/');
    const sparse = ['0', '4096', '65536', '4096', '1048576', '100'];
    const cap = '\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00';
    const tar = tarOf([
      { name: './', type: '5', mode: 0o750, uid: 7, gid: 8, mtime: 1_600_000_000 },
      { name: 'bytes-\xff\xfe', content: 'not UTF-8' },
      { name: 'caf\xc3\xa9', content: 'utf-8' },
      { name: 'CASE', content: '1' },
      { name: 'case', content: '2' },
      { name: 'old', mtime: -1_000_000, content: '' },
      { name: 'precise', pax: [['mtime', '1700000001.123456789']], content: 'x' },
      { name: 'before', pax: [['mtime', '-1.5']], content: 'x' },
      {
        name: 'ids',
        pax: [
          ['uid', '4000000000'],
          ['gid', '70000'],
        ],
        content: 'x',
      },
      { name: 'x', longName: long(15), content: 'deep' },
      { name: 'ln', type: '2', link: 'x', longLink: `/${long(18)}`, mode: 0o777 },
      { name: 'short', type: '2', link: 'a' },
      { name: 'suid', mode: 0o4755, content: 'x' },
      { name: 'sticky', type: '5', mode: 0o1777 },
      {
        name: 'ping',
        content: 'x',
        pax: [
          ['SCHILY.xattr.security.capability', cap],
          ['SCHILY.xattr.user.mime', 'a/b'],
          ['SCHILY.xattr.user.empty', ''],
        ],
      },
      { name: 'marked', type: '5', mode: 0o755, pax: [['SCHILY.xattr.user.dir', 'v'.repeat(2000)]] },
      {
        name: 'dropped',
        content: 'x',
        pax: [
          ['SCHILY.xattr.trusted.overlay.opaque', 'y'],
          ['SCHILY.xattr.user.overlay.redirect', '/'],
          ['SCHILY.xattr.security.selinux', 'l'],
        ],
      },
      { name: 'null', type: '3', mode: 0o666, major: 1, minor: 3 },
      { name: 'wide', type: '4', mode: 0o600, major: 259, minor: 70_000 },
      { name: 'pipe', type: '6', mode: 0o622 },
      { name: 'a1', content: 'one file' },
      { name: 'dir/a2', type: '1', link: 'a1' },
      { name: 'dir/a3', type: '1', link: './dir/../a1' },
      { name: 'empty', content: '' },
      { name: 'block', content: 'b'.repeat(512) },
      {
        name: 'holes',
        content: Buffer.alloc(8292, 'h'),
        pax: [
          ['GNU.sparse.major', '0'],
          ['GNU.sparse.minor', '1'],
          ['GNU.sparse.size', '1048676'],
          ['GNU.sparse.map', sparse.join(',')],
        ],
      },
      {
        name: 'hole',
        content: '',
        pax: [
          ['GNU.sparse.size', '3000000'],
          ['GNU.sparse.map', '3000000,0'],
        ],
      },
      {
        name: 'holetail',
        content: Buffer.alloc(1024, 't'),
        pax: [
          ['GNU.sparse.size', '5000000'],
          ['GNU.sparse.map', '512,1024'],
        ],
      },
    ]);
    const layer = writeLayer(tar, join(scratch, 'all'));
    const merged = mergeFiles([layer], join(scratch, 'all.image'));
    mkdirSync(join(scratch, 'all.root'));
    expect(unpackFiles([layer], join(scratch, 'all.root')).error).toBe('');
    const unpacked = treeFacts(join(scratch, 'all.root'));
    expect(differences(mountAll([{ image: merged.image, tars: [layer.tar] }])[0] as Facts, unpacked)).toEqual([]);
    expect(Object.keys(unpacked).length).toBe(28 + 15);
    expect(unpacked['']).toMatch(/^40750 7:8 1600000000000000000/);
    expect(unpacked['before']).toContain('-1500000000');
    expect(unpacked['ping']).toMatch(/security.capability=.* user.empty= user.mime=612f62$/);
    expect(unpacked['dropped']).not.toContain('=');
    expect(unpacked['wide']).toContain(`device ${(259n << 8n) | (70_000n & 0xffn) | ((70_000n >> 8n) << 20n)}`);
    expect(unpacked['dir/a3']).toContain('3 links, as a1');
  });
});
