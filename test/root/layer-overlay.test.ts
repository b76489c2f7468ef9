// The kernel's overlay as oracle of the merge: random stacks of layers, each layer unpacked in overlay form and stacked by the kernel, show
// what our one merged EROFS image shows. Hard links are left out: overlay counts names that upper layers hide.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { TarError } from '../../core/hot/tar-table.ts';
import { LayerFault } from '../../core/layer/fault.ts';
import { layerTree } from '../../core/layer/tree.ts';
import { erofsFrom } from '../kit/erofs.ts';
import { unpackFiles } from '../kit/layer-worker.ts';
import { imageOfIndexes, indexOf, writeLayer } from '../kit/layers.ts';
import { root, suite } from '../kit/need.ts';
import { type TarItem, tarOf } from '../kit/tar.ts';
import { differences, type Facts, type MountJob, mountedFacts, type OverlayJob } from '../kit/tree-facts.ts';

const scratch = mkdtempSync(join(tmpdir(), 'berth-overlay-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const seed = Number(process.env['BERTH_SEED'] ?? Date.now() % 2 ** 31);
const STACKS = process.env['BERTH_LONG'] ? 300 : 24;

const name = fc.constantFrom('a', 'b', 'c', 'd');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const target = fc.oneof(
  path,
  path.map((text) => `/${text}`),
  path.map((text) => `../${text}`),
);
const facts = {
  mode: fc.constantFrom(0o755, 0o700, 0o4711, 0o1777),
  uid: fc.nat(3),
  gid: fc.nat(3),
  mtime: fc.nat(2_000_000_000),
};
const item: fc.Arbitrary<TarItem> = fc.oneof(
  fc.record({ name: path, type: fc.constant('0'), content: fc.string({ maxLength: 20 }), ...facts }),
  fc.record({ name: path, type: fc.constant('5'), ...facts }),
  fc.record({ name: path, type: fc.constant('2'), link: target, ...facts }),
  fc.record({ name: path, type: fc.constant('1'), link: path, ...facts }),
  fc.record({ name: fc.tuple(path, name).map(([dir, base]) => `${dir}/.wh.${base}`), type: fc.constant('0') }),
  fc.record({ name: name.map((base) => `.wh.${base}`), type: fc.constant('0') }),
  fc.record({ name: path.map((dir) => `${dir}/.wh..wh..opq`), type: fc.constant('0') }),
);

/** Leaves out, one by one, the entries that break a rule together with those before them. */
function valid(items: readonly TarItem[]): TarItem[] {
  const kept: TarItem[] = [];
  for (const one of items) {
    try {
      layerTree(indexOf(tarOf([...kept, one])), 0);
      kept.push(one);
    } catch (error) {
      if (!(error instanceof LayerFault || error instanceof TarError)) throw error;
    }
  }
  return kept;
}

suite('random stacks of layers', [root, erofsFrom(scratch)], () => {
  test('are the same merged and stacked by the kernel', { timeout: 600_000 }, () => {
    console.log(`seed ${seed} (BERTH_SEED), ${STACKS} stacks`);
    const stacks = fc.sample(
      fc.array(fc.array(item, { minLength: 3, maxLength: 14 }), { minLength: 2, maxLength: 3 }),
      { seed, numRuns: STACKS },
    );
    const jobs: (MountJob | OverlayJob)[] = [];
    const described: string[] = [];
    for (const [i, stack] of stacks.entries()) {
      const items = [[{ name: './', type: '5', mode: 0o755 }, ...(stack[0] ?? [])], ...stack.slice(1)].map(valid);
      const layers = items.map((layer, n) => writeLayer(tarOf(layer), join(scratch, `${i}.${n}`)));
      writeFileSync(join(scratch, `${i}.image`), imageOfIndexes(layers.map((layer) => layer.table)).erofs);
      jobs.push({ image: join(scratch, `${i}.image`), tars: layers.map((layer) => layer.tar), links: false });
      const lowers = layers.map((_, n) => {
        const dir = join(scratch, `${i}.${n}.root`);
        mkdirSync(dir);
        expect(unpackFiles(layers.slice(0, n + 1), dir, ['top']).error).toBe('');
        return dir;
      });
      jobs.push({ lowers: lowers.reverse() });
      described.push(JSON.stringify(items.map((layer) => layer.map(({ name, type, link }) => [type, name, link]))));
    }
    mkdirSync(join(scratch, 'on'));
    const seen = mountedFacts(join(scratch, 'on'), jobs) as Facts[];
    let paths = 0;
    for (const [i, stack] of described.entries()) {
      paths += Object.keys(seen[2 * i] ?? {}).length;
      expect([stack, differences(seen[2 * i] ?? {}, seen[2 * i + 1] ?? {})]).toEqual([stack, []]);
    }
    expect(paths).toBeGreaterThan(STACKS * 4);
  });
});
