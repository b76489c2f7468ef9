import { describe, expect, test } from 'vitest';
import { planUpdate } from '../../../core/plan/update.ts';
import { readBody, updateBody } from '../../../core/spec/docker-api.ts';
import { Knob } from '../../../proto/gen/berth/helper/v1/plan.ts';
import { hostFacts, hostIntent, V2_HOST } from '../../cases/load.ts';

const MB = 1024 * 1024;
const plan = (update: Record<string, unknown>, host: Record<string, unknown> = {}, on = hostFacts()) =>
  planUpdate({ update: readBody(updateBody, update), body: hostIntent(host).body }, { host: on, devices: {} });
const settings = (...args: Parameters<typeof plan>) =>
  (plan(...args).limits?.settings ?? []).map(({ knob, value }) => [knob, Number(value)]);

describe('planUpdate()', () => {
  test('nothing named, nothing sent', () => {
    expect(plan({}).limits).toBeUndefined();
    expect(plan({ RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } })).toMatchObject({
      limits: undefined,
      hostConfig: { RestartPolicy: { Name: 'always' } },
    });
  });

  test.each([
    ['pids', { PidsLimit: 5 }, {}, [[Knob.KNOB_PIDS_MAX, 5]]],
    ['pids, no limit any more', { PidsLimit: -1 }, { PidsLimit: 5 }, [[Knob.KNOB_PIDS_MAX, -1]]],
    ['pids 0 is no limit, too', { PidsLimit: 0 }, { PidsLimit: 5 }, [[Knob.KNOB_PIDS_MAX, -1]]],
    [
      '--cpus',
      { NanoCpus: 5e8 },
      {},
      [
        [Knob.KNOB_CPU_QUOTA_US, 50_000],
        [Knob.KNOB_CPU_PERIOD_US, 100_000],
      ],
    ],
    [
      'quota with the old period',
      { CpuQuota: 5000 },
      { CpuPeriod: 20_000 },
      [
        [Knob.KNOB_CPU_QUOTA_US, 5000],
        [Knob.KNOB_CPU_PERIOD_US, 20_000],
      ],
    ],
    [
      'period with the old quota',
      { CpuPeriod: 20_000 },
      { CpuQuota: 5000 },
      [
        [Knob.KNOB_CPU_QUOTA_US, 5000],
        [Knob.KNOB_CPU_PERIOD_US, 20_000],
      ],
    ],
    ['memory', { Memory: 64 * MB }, {}, [[Knob.KNOB_MEMORY_MAX_BYTES, 64 * MB]]],
    [
      'memory and swap',
      { Memory: 64 * MB, MemorySwap: 96 * MB },
      {},
      [
        [Knob.KNOB_MEMORY_MAX_BYTES, 64 * MB],
        [Knob.KNOB_MEMORY_SWAP_MAX_BYTES, 96 * MB],
      ],
    ],
    ['shares', { CpuShares: 512 }, {}, [[Knob.KNOB_CPU_SHARES, 512]]],
  ])('%s', (_, update, host, expected) => {
    expect(settings(update, host)).toEqual(expected);
  });

  test('on v2 swap is what the sum leaves', () => {
    expect(settings({ Memory: 48 * MB }, { Memory: 32 * MB }, V2_HOST)).toEqual([
      [Knob.KNOB_MEMORY_MAX_BYTES, 48 * MB],
      [Knob.KNOB_MEMORY_SWAP_MAX_BYTES, 16 * MB],
    ]);
    expect(settings({ MemorySwap: 96 * MB }, { Memory: 32 * MB }, V2_HOST)).toEqual([
      [Knob.KNOB_MEMORY_SWAP_MAX_BYTES, 64 * MB],
    ]);
    expect(settings({ MemorySwap: -1 }, {}, V2_HOST)).toEqual([[Knob.KNOB_MEMORY_SWAP_MAX_BYTES, -1]]);
  });

  test('the new intent has the change and keeps the rest', () => {
    const { hostConfig } = plan({ PidsLimit: 9, CpusetCpus: '0' }, { Memory: 64 * MB, PidsLimit: 5 });
    expect(hostConfig).toMatchObject({ Memory: 64 * MB, PidsLimit: 9, CpusetCpus: '0' });
  });

  test.each([
    [
      { NanoCpus: 1e9 },
      { CpuPeriod: 1000 },
      'Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set',
    ],
    [
      { NanoCpus: 1e9 },
      { CpuQuota: 1000 },
      'Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set',
    ],
    [
      { CpuPeriod: 1000 },
      { NanoCpus: 1e9 },
      'Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set',
    ],
    [
      { CpuQuota: 1000 },
      { NanoCpus: 1e9 },
      'Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set',
    ],
    [
      { Memory: 64 * MB },
      { Memory: 16 * MB },
      'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
    ],
    [{ Memory: 1 }, {}, 'Minimum memory limit allowed is 6MB'],
    [
      { RestartPolicy: { Name: 'always' } },
      { AutoRemove: true },
      'Restart policy cannot be updated because AutoRemove is enabled',
    ],
    [{ Ulimits: [{ Name: 'nofile', Soft: 1, Hard: 1 }] }, {}, 'Ulimits: it can be set at creation only'],
  ])('%j on %j is refused', (update, host, message) => {
    expect(() => plan(update, host)).toThrow(message);
  });
});
