import { describe, expect, test } from 'vitest';
import { planRlimits, RLIMIT_NAMES, rlimitName, UNLIMITED } from '../../../core/plan/rlimits.ts';
import { hostFacts } from '../../cases/load.ts';

const plan = (asked: Parameters<typeof planRlimits>[0], host = hostFacts({ rlimits: {} })) =>
  Object.fromEntries(
    planRlimits(asked, host).value.map(({ resource, soft, hard }) => [rlimitName(resource), [soft, hard]]),
  );

describe('planRlimits()', () => {
  test('states every resource', () => {
    expect(Object.keys(plan([])).sort()).toEqual([...RLIMIT_NAMES].sort());
    expect(RLIMIT_NAMES).toHaveLength(16);
    expect(plan([])).toMatchObject({ nofile: [1024n, 524_288n], core: [0n, UNLIMITED], nproc: [UNLIMITED, UNLIMITED] });
  });

  test('--ulimit sets one, -1 is unlimited', () => {
    const asked = [
      { name: 'nofile', soft: 5, hard: 10 },
      { name: 'core', soft: -1, hard: -1 },
    ];
    expect(plan(asked)).toMatchObject({ nofile: [5n, 10n], core: [UNLIMITED, UNLIMITED] });
  });

  test('defaults are cut at what the helper has, and what is asked above it is refused', () => {
    const host = hostFacts({ rlimits: { nofile: 4096n, core: 0n } });
    expect(plan([], host)).toMatchObject({ nofile: [1024n, 4096n], core: [0n, 0n] });
    expect(plan([{ name: 'nofile', soft: 4096, hard: 4096 }], host)).toMatchObject({ nofile: [4096n, 4096n] });
    expect(() => plan([{ name: 'nofile', soft: 1, hard: 4097 }], host)).toThrow('this host allows at most 4096');
    expect(() => plan([{ name: 'core', soft: -1, hard: -1 }], host)).toThrow('this host allows at most 0');
  });

  test.each([
    [{ name: 'nope', soft: 1, hard: 1 }, 'invalid ulimit type: nope'],
    [{ name: 'as', soft: 1, hard: 1 }, 'invalid ulimit type: as'],
    [{ name: 'nofile', soft: 2, hard: 1 }, 'ulimit soft limit must be less than or equal to hard limit: 2 > 1'],
    [
      { name: 'nofile', soft: -1, hard: 1 },
      'ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 1',
    ],
    [{ name: 'nofile', soft: -2, hard: 1 }, 'ulimit nofile: -2 is no whole number'],
  ])('%j is refused', (limit, message) => {
    expect(() => plan([limit])).toThrow(message);
  });
});
