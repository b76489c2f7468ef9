// The plan of every case as text. A change of a plan shows as a change of a file here; `-u` accepts it.
import { describe, expect, test } from 'vitest';
import { planContainer } from '../../core/plan/container.ts';
import { explainPlan } from '../../core/plan/explain.ts';
import { LAUNCH } from '../../proto/policy/launch.ts';
import { loadCases } from '../cases/load.ts';

const cases = loadCases();

test('there are cases', () => {
  expect(cases.length).toBeGreaterThan(20);
});

describe('planContainer() and explainPlan()', () => {
  test.each(cases)('$name: $about', async ({ name, about, intent, facts }) => {
    const plan = planContainer(intent, facts);
    const text = explainPlan(plan, facts.host.cgroup);
    await expect(`# ${about}\n${text}`).toMatchFileSnapshot(`plans/${name}.txt`);
  });

  test.each(cases)('$name: the helper can decode it', ({ intent, facts }) => {
    expect(() => LAUNCH[0](planContainer(intent, facts).launch, { path: [] }, undefined)).not.toThrow();
  });
});
