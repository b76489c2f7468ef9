import { describe, expect, test } from 'vitest';
import { capabilityNames, planCapabilities } from '../../../core/plan/capabilities.ts';
import { CAP_MASK } from '../../../proto/abi/capability.gen.ts';

const BASE = { add: [], drop: [], privileged: false, uid: 0, available: CAP_MASK };
const plan = (over: Partial<Parameters<typeof planCapabilities>[0]>) => planCapabilities({ ...BASE, ...over });
const names = (over: Partial<Parameters<typeof planCapabilities>[0]>) => capabilityNames(plan(over).value.bounding);
const DEFAULT = names({});

describe('planCapabilities()', () => {
  test("Docker's 14", () => {
    expect(plan({}).value.bounding).toBe(0xa80425fbn);
    expect(DEFAULT).toHaveLength(14);
  });

  test.each([
    ['added without its prefix', { add: ['net_admin'] }, [...DEFAULT, 'CAP_NET_ADMIN']],
    ['added with it', { add: ['CAP_SYS_PTRACE'] }, [...DEFAULT, 'CAP_SYS_PTRACE']],
    ['dropped', { drop: ['CHOWN'] }, DEFAULT.filter((n) => n !== 'CAP_CHOWN')],
    ['all dropped', { drop: ['ALL'] }, []],
    ['all dropped, one added', { drop: ['all'], add: ['KILL'] }, ['CAP_KILL']],
    ['dropped and added is there', { drop: ['KILL'], add: ['KILL'] }, DEFAULT],
    [
      'all added, one dropped',
      { add: ['ALL'], drop: ['SYS_ADMIN'] },
      capabilityNames(CAP_MASK).filter((n) => n !== 'CAP_SYS_ADMIN'),
    ],
    ['all added and all dropped', { add: ['ALL'], drop: ['ALL'] }, capabilityNames(CAP_MASK)],
    ['privileged', { privileged: true, drop: ['ALL'] }, capabilityNames(CAP_MASK)],
  ])('%s', (_, over, expected) => {
    expect(new Set(names(over))).toEqual(new Set(expected));
  });

  test('root has them at once, anybody else in the bounding set alone', () => {
    const root = plan({}).value;
    expect(root).toMatchObject({ effective: root.bounding, permitted: root.bounding, inheritable: 0n, ambient: 0n });
    expect(plan({ uid: 1000 }).value).toMatchObject({ bounding: root.bounding, effective: 0n, permitted: 0n });
  });

  test('what the helper lacks is left out with a warning, but refused where it is named', () => {
    const available = CAP_MASK & ~(1n << 24n); // CAP_SYS_RESOURCE
    expect(plan({ privileged: true, available }).value.bounding).toBe(available);
    expect(plan({ privileged: true, available }).warnings).toEqual([
      'capabilities left out, because the helper itself lacks them: CAP_SYS_RESOURCE',
    ]);
    expect(plan({ add: ['ALL'], available }).value.bounding).toBe(available);
    expect(() => plan({ add: ['SYS_RESOURCE'], available })).toThrow(
      'not available in the current environment: "CAP_SYS_RESOURCE"',
    );
    expect(plan({ available: 0n }).value.bounding).toBe(0n);
  });

  test.each([
    [{ add: ['nope'] }, 'invalid CapAdd: unknown capability: "CAP_NOPE"'],
    [{ drop: ['CAP_NOPE'] }, 'invalid CapDrop: unknown capability: "CAP_NOPE"'],
  ])('%j is refused', (over, message) => {
    expect(() => plan(over)).toThrow(message);
  });
});
