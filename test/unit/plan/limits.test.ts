import { describe, expect, test } from 'vitest';
import { planContainer } from '../../../core/plan/container.ts';
import type { HostFacts } from '../../../core/plan/facts.ts';
import { printList, readList } from '../../../core/plan/resources.ts';
import { Knob, ThrottleKind } from '../../../proto/gen/berth/helper/v1/plan.ts';
import { baseFacts, hostFacts, hostIntent, V2_HOST } from '../../cases/load.ts';

const V1 = hostFacts();
const SDA = { path: '/dev/sda', block: true, major: 8, minor: 16, mode: 0o660 };
const NULL = { path: '/dev/null', block: false, major: 1, minor: 3, mode: 0o666 };
const plan = (host: Record<string, unknown>, on: HostFacts = V1) =>
  planContainer(hostIntent(host), baseFacts({ host: on, devices: { '/dev/sda': SDA, '/dev/null': NULL } }));
const KNOBS = new Map(
  Object.entries(Knob).map(([name, number]) => [number as number, name.replace('KNOB_', '').toLowerCase()]),
);
const settings = (host: Record<string, unknown>, on: HostFacts = V1) =>
  Object.fromEntries(
    (plan(host, on).launch.limits?.settings ?? []).map(({ knob, value }) => [KNOBS.get(knob), Number(value)]),
  );

const MB = 1024 * 1024;

describe('planLimits()', () => {
  test('nothing asked, nothing set', () => {
    expect(plan({}).launch.limits).toEqual({ settings: [], throttles: [], cpus: '', mems: '', deviceRules: [] });
  });

  test.each([
    ['--cpus 1.5', { NanoCpus: 1.5e9 }, { cpu_quota_us: 150_000, cpu_period_us: 100_000 }, 'same'],
    ['--cpus .2', { NanoCpus: 2e8 }, { cpu_quota_us: 20_000, cpu_period_us: 100_000 }, 'same'],
    ['--cpu-quota alone', { CpuQuota: 20_000 }, { cpu_quota_us: 20_000, cpu_period_us: 100_000 }, 'same'],
    ['--cpu-period alone', { CpuPeriod: 50_000 }, { cpu_quota_us: -1, cpu_period_us: 50_000 }, 'same'],
    ['both', { CpuQuota: -1, CpuPeriod: 50_000 }, { cpu_quota_us: -1, cpu_period_us: 50_000 }, 'same'],
    ['--cpu-shares 1024', { CpuShares: 1024 }, { cpu_shares: 1024 }, { cpu_weight: 39 }],
    ['--cpu-shares 512', { CpuShares: 512 }, { cpu_shares: 512 }, { cpu_weight: 20 }],
    ['--cpu-shares 1', { CpuShares: 1 }, { cpu_shares: 2 }, { cpu_weight: 1 }],
    ['--cpu-shares too many', { CpuShares: 1e6 }, { cpu_shares: 262_144 }, { cpu_weight: 10_000 }],
    [
      '-m',
      { Memory: 64 * MB },
      { memory_max_bytes: 64 * MB, memory_swap_max_bytes: 128 * MB },
      { memory_max_bytes: 64 * MB, memory_swap_max_bytes: 64 * MB },
    ],
    [
      '-m without swap',
      { Memory: 64 * MB, MemorySwap: 64 * MB },
      { memory_max_bytes: 64 * MB, memory_swap_max_bytes: 64 * MB },
      { memory_max_bytes: 64 * MB, memory_swap_max_bytes: 0 },
    ],
    [
      '-m with all swap',
      { Memory: 64 * MB, MemorySwap: -1 },
      { memory_max_bytes: 64 * MB, memory_swap_max_bytes: -1 },
      'same',
    ],
    ['--memory-swap -1 alone', { MemorySwap: -1 }, {}, 'same'],
    ['--memory-reservation', { MemoryReservation: 8 * MB }, { memory_low_bytes: 8 * MB }, 'same'],
    ['--pids-limit', { PidsLimit: 64 }, { pids_max: 64 }, 'same'],
    ['--pids-limit -1', { PidsLimit: -1 }, { pids_max: -1 }, 'same'],
    ['--pids-limit 0', { PidsLimit: 0 }, {}, 'same'],
    ['--blkio-weight least', { BlkioWeight: 10 }, { io_weight: 10 }, { io_weight: 1 }],
    ['--blkio-weight', { BlkioWeight: 500 }, { io_weight: 500 }, { io_weight: 4950 }],
    ['--blkio-weight most', { BlkioWeight: 1000 }, { io_weight: 1000 }, { io_weight: 10_000 }],
    ['--memory-swappiness', { MemorySwappiness: 0 }, { memory_swappiness: 0 }, {}],
    ['swappiness not given', { MemorySwappiness: -1 }, {}, 'same'],
    [
      '--oom-kill-disable',
      { Memory: 64 * MB, MemorySwap: -1, OomKillDisable: true },
      { memory_max_bytes: 64 * MB, memory_swap_max_bytes: -1, oom_kill_disable: 1 },
      { memory_max_bytes: 64 * MB, memory_swap_max_bytes: -1 },
    ],
  ])('%s', (_, host, v1, v2) => {
    expect(settings(host)).toEqual(v1);
    expect(settings(host, V2_HOST)).toEqual(v2 === 'same' ? v1 : v2);
  });

  // Texts: moby, daemon/daemon_unix.go.
  test.each([
    [{ Memory: 6 * MB - 1 }, 'Minimum memory limit allowed is 6MB'],
    [{ Memory: -5 }, 'Minimum memory limit allowed is 6MB'],
    [
      { Memory: 64 * MB, MemorySwap: 32 * MB },
      'Minimum memoryswap limit should be larger than memory limit, see usage',
    ],
    [{ MemorySwap: 32 * MB }, 'You should always set the Memory limit when using Memoryswap limit, see usage'],
    [{ MemorySwap: -2 }, 'invalid memory swap limit: -2'],
    [{ MemoryReservation: 1 }, 'Minimum memory reservation allowed is 6MB'],
    [
      { Memory: 8 * MB, MemoryReservation: 16 * MB },
      'Minimum memory limit can not be less than memory reservation limit, see usage',
    ],
    [{ MemorySwappiness: 101 }, 'Invalid value: 101, valid memory swappiness range is 0-100'],
    [{ NanoCpus: 1e9, CpuPeriod: 1000 }, 'Conflicting options: Nano CPUs and CPU Period cannot both be set'],
    [{ NanoCpus: 1e9, CpuQuota: 1000 }, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
    [{ NanoCpus: 5e9 }, 'Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available'],
    [{ NanoCpus: -1 }, 'Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available'],
    [{ NanoCpus: 1 }, 'Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available'],
    [{ CpuPeriod: 999 }, 'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)'],
    [{ CpuPeriod: 1_000_001 }, 'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)'],
    [{ CpuQuota: 999 }, 'CPU cfs quota can not be less than 1ms (i.e. 1000)'],
    [{ CpuQuota: -2 }, 'invalid CPU quota (-2)'],
    [{ CpuShares: -1 }, 'invalid CPU shares (-1): value must be a positive integer'],
    [{ CpuRealtimeRuntime: 5 }, 'kernel does not support CPU real-time scheduler'],
    [{ CpusetCpus: '4' }, 'Requested CPUs are not available - requested 4, available: 0-3'],
    [{ CpusetCpus: '0-9' }, 'Requested CPUs are not available - requested 0-9, available: 0-3'],
    [{ CpusetCpus: 'a' }, 'Invalid value a for cpuset cpus'],
    [{ CpusetCpus: '3-1' }, 'Invalid value 3-1 for cpuset cpus'],
    [{ CpusetMems: '1' }, 'Requested memory nodes are not available - requested 1, available: 0'],
    [{ BlkioWeight: 9 }, 'Range of blkio weight is from 10 to 1000'],
    [{ BlkioWeight: 1001 }, 'Range of blkio weight is from 10 to 1000'],
    [{ BlkioWeightDevice: [{ Path: '/dev/sda', Weight: 5 }] }, 'weights for single devices'],
    [{ BlkioDeviceReadBps: [{ Path: '/dev/nope', Rate: 1 }] }, '--device-read-bps: /dev/nope: no such device'],
    [{ BlkioDeviceReadBps: [{ Path: '/dev/null', Rate: 1 }] }, '--device-read-bps: /dev/null: not a block device'],
    [{ BlkioDeviceWriteIOps: [{ Path: '/dev/sda', Rate: 0 }] }, 'the rate must be a whole number above 0'],
    [{ CgroupParent: '/x' }, '--cgroup-parent'],
  ])('%j is refused', (host, message) => {
    expect(() => plan(host)).toThrow(message);
  });

  test.each([
    [{ Memory: 64 * MB }, '--memory: the cgroup controller memory cannot be used here'],
    [{ PidsLimit: 5 }, '--pids-limit: the cgroup controller pids'],
    [{ NanoCpus: 1e9 }, '--cpus: the cgroup controller cpu '],
    [{ CpuShares: 5 }, '--cpu-shares: the cgroup controller cpu '],
    [{ CpusetCpus: '0' }, '--cpuset-cpus: the cgroup controller cpuset'],
    [{ BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1 }] }, '--device-read-bps: the cgroup controller'],
  ])('%j is refused where the controller is missing', (host, message) => {
    const none = hostFacts({ cgroup: { version: 'none', controllers: [], swap: false, ioWeight: false } });
    expect(() => plan(host, none)).toThrow(message);
  });

  test('without swap accounting the memory is limited with a warning', () => {
    const host = hostFacts({ cgroup: { ...V1.cgroup, swap: false } });
    expect(settings({ Memory: 64 * MB }, host)).toEqual({ memory_max_bytes: 64 * MB });
    expect(plan({ Memory: 64 * MB }, host).warnings).toEqual([expect.stringContaining('Memory limited without swap.')]);
    expect(plan({ Memory: 64 * MB, MemorySwap: -1 }, host).warnings).toEqual([]);
  });

  test('a weight that the kernel does not have is dropped with a warning', () => {
    const host = hostFacts({ cgroup: { ...V1.cgroup, ioWeight: false } });
    expect(settings({ BlkioWeight: 500 }, host)).toEqual({});
    expect(plan({ BlkioWeight: 500 }, host).warnings).toEqual([expect.stringContaining('Weight discarded.')]);
  });

  test('what v2 does not have is dropped with a warning', () => {
    expect(plan({ MemorySwappiness: 5 }, V2_HOST).warnings).toEqual([
      expect.stringContaining('Memory swappiness discarded.'),
    ]);
    expect(plan({ OomKillDisable: true }, V2_HOST).warnings).toEqual([
      expect.stringContaining('OomKillDisable discarded.'),
    ]);
    expect(plan({ OomKillDisable: true }).warnings).toEqual([expect.stringContaining('OOM killer is disabled')]);
  });

  test('processors, nodes and throttles', () => {
    const host = { CpusetCpus: '3,0-1,2', CpusetMems: '0', BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1024 }] };
    expect(plan(host).launch.limits).toMatchObject({
      cpus: '0-3',
      mems: '0',
      throttles: [{ major: 8, minor: 16, kind: ThrottleKind.THROTTLE_KIND_READ_BPS, value: 1024n }],
    });
  });
});

test('readList() and printList()', () => {
  expect(['0', '0-2,7', '5,3,4', '1-1'].map((text) => printList(readList(text) ?? []))).toEqual([
    '0',
    '0-2,7',
    '3-5',
    '1',
  ]);
  expect(['', 'x', '1-', '2-1', '0-9999', '1,,2', '-1'].map(readList)).toEqual(Array(7).fill(undefined));
});
