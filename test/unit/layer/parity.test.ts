// Odd layers show what they show in docker: 34 cases over one base, each in memory; test/root/layer.test.ts mounts and unpacks the same ones.
import { beforeAll, describe, expect, test } from 'vitest';
import { BASE, CASES } from '../../kit/layer-cases.ts';
import { buildWasm, imageOf, listing } from '../../kit/layers.ts';
import { tarOf } from '../../kit/tar.ts';

describe('mergeLayers()', () => {
  beforeAll(buildWasm);
  const base = tarOf(BASE);

  test('has all measured cases', () => {
    expect(CASES.length).toBe(34);
  });

  test.each(CASES.map((one) => [one.name, one] as const))('%s', (_, one) => {
    const tars = [base, tarOf(one.items)];
    if ('error' in one) {
      expect(() => imageOf(tars)).toThrow(one.error);
      return;
    }
    const before = listing(imageOf([base]).index, tars);
    const after = listing(imageOf(tars).index, tars);
    expect(after.filter((line) => !before.includes(line))).toEqual(one.plus);
    expect(before.filter((line) => !after.includes(line))).toEqual(one.minus);
  });
});
