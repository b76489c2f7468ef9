import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { applyLimits } from '../../../helper/ops/cgroup.ts';
import { type CgroupHost, groupNames, openCgroups } from '../../../helper/ops/cgroup-host.ts';
import { Failed } from '../../../helper/ops/failed.ts';
import { Knob, type Limits, ThrottleKind } from '../../../proto/gen/berth/helper/v1/plan.ts';

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'berth-cgroup-'));
});
afterEach(() => rmSync(top, { recursive: true }));

/** A directory as the kernel would show the hierarchy's root. */
function hierarchy(name: string, files: Readonly<Record<string, string>> = {}): string {
  mkdirSync(join(top, name));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(top, name, file), text);
  return join(top, name);
}
const line = (point: string, type: string, options: string): string =>
  `31 23 0:28 / ${point} rw,relatime - ${type} ${type} ${options}`;
const ID = 'a'.repeat(64);

test('v1: controllers one by one and co-mounted, our parent in each hierarchy once', () => {
  const cpu = hierarchy('cpu,cpuacct');
  const pids = hierarchy('pids');
  const host = openCgroups(
    'berth-7',
    [
      line(cpu, 'cgroup', 'rw,cpu,cpuacct'),
      line(pids, 'cgroup', 'rw,pids'),
      line(hierarchy('systemd'), 'cgroup', 'rw,name=systemd'),
      line(hierarchy('unified'), 'cgroup2', 'rw'),
    ].join('\n'),
  );
  expect(host.version).toBe(1);
  expect(host.parents).toEqual([`${cpu}/berth-7`, `${pids}/berth-7`]);
  expect([...host.of.keys()]).toEqual(['cpu', 'pids']);
});

test('no hierarchy at all: nothing to make', () => {
  expect(openCgroups('berth', line('/', 'ext4', 'rw'))).toEqual({
    version: 0,
    parents: [],
    descriptors: [],
    of: new Map(),
  });
});

test('v2: what is not granted is not there', () => {
  const root = hierarchy('cgroup', { 'cgroup.controllers': 'memory pids', 'cgroup.subtree_control': 'memory pids' });
  mkdirSync(join(root, 'berth'));
  writeFileSync(join(root, 'berth', 'cgroup.subtree_control'), 'memory pids');
  const host = openCgroups('berth', line(root, 'cgroup2', 'rw'));
  expect(host.version).toBe(2);
  expect(host.of.has('memory')).toBe(true);
  expect(host.of.has('io')).toBe(false);
});

const limitsOf = (change: Partial<Limits>): Limits => ({
  settings: [],
  throttles: [],
  cpus: '',
  mems: '',
  deviceRules: [],
  ...change,
});
/** A host of this version with every controller, whose group has these files. */
function hostWith(
  version: 1 | 2,
  files: Readonly<Record<string, string>> = {},
): { host: CgroupHost; read: (file: string) => string } {
  const parent = hierarchy('all');
  mkdirSync(join(parent, ID));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(parent, ID, file), text);
  const of = new Map(
    (['cpu', 'cpuset', 'memory', 'pids', 'io', 'blkio', 'freezer', 'devices'] as const).map((name) => [name, parent]),
  );
  return {
    host: { version, parents: [parent], descriptors: [], of },
    read: (file) => readFileSync(join(parent, ID, file), 'utf8'),
  };
}

test('v1: each knob in its file', () => {
  const { host, read } = hostWith(1);
  const settings = [
    { knob: Knob.KNOB_CPU_QUOTA_US, value: -1n },
    { knob: Knob.KNOB_CPU_SHARES, value: 512n },
    { knob: Knob.KNOB_MEMORY_MAX_BYTES, value: 1000n },
    { knob: Knob.KNOB_MEMORY_SWAP_MAX_BYTES, value: 2000n },
    { knob: Knob.KNOB_PIDS_MAX, value: -1n },
  ];
  applyLimits(
    host,
    ID,
    limitsOf({
      settings,
      throttles: [{ major: 8, minor: 16, kind: ThrottleKind.THROTTLE_KIND_READ_BPS, value: 9n }],
      cpus: '0-1',
      mems: '0',
    }),
  );
  expect(read('cpu.cfs_quota_us')).toBe('-1');
  expect(read('cpu.shares')).toBe('512');
  expect(read('memory.limit_in_bytes')).toBe('1000');
  expect(read('memory.memsw.limit_in_bytes')).toBe('2000');
  expect(read('pids.max')).toBe('max');
  expect(read('blkio.throttle.read_bps_device')).toBe('8:16 9');
  expect([read('cpuset.cpus'), read('cpuset.mems')]).toEqual(['0-1', '0']);
});

test('v2: quota and period are one file, and what is not named stays', () => {
  const { host, read } = hostWith(2, { 'cpu.max': '30000 200000\n' });
  applyLimits(host, ID, limitsOf({ settings: [{ knob: Knob.KNOB_CPU_QUOTA_US, value: 20_000n }] }));
  expect(read('cpu.max')).toBe('20000 200000');
  applyLimits(
    host,
    ID,
    limitsOf({
      settings: [
        { knob: Knob.KNOB_CPU_QUOTA_US, value: -1n },
        { knob: Knob.KNOB_CPU_PERIOD_US, value: 50_000n },
      ],
    }),
  );
  expect(read('cpu.max')).toBe('max 50000');
  applyLimits(
    host,
    ID,
    limitsOf({
      settings: [{ knob: Knob.KNOB_MEMORY_MAX_BYTES, value: -1n }],
      throttles: [{ major: 8, minor: 0, kind: ThrottleKind.THROTTLE_KIND_WRITE_IOPS, value: 5n }],
    }),
  );
  expect([read('memory.max'), read('io.max')]).toEqual(['max', '8:0 wiops=5']);
});

test.each([
  [1, Knob.KNOB_CPU_WEIGHT],
  [2, Knob.KNOB_CPU_SHARES],
  [2, Knob.KNOB_MEMORY_SWAPPINESS],
] as const)('v%d has no knob %d: refused', (version, knob) => {
  expect(() => applyLimits(hostWith(version).host, ID, limitsOf({ settings: [{ knob, value: 50n }] }))).toThrow(Failed);
});

test('a limit whose controller is missing is refused by its name', () => {
  const { host } = hostWith(2);
  const without: CgroupHost = { ...host, of: new Map() };
  expect(() => applyLimits(without, ID, limitsOf({ settings: [{ knob: Knob.KNOB_PIDS_MAX, value: 5n }] }))).toThrow(
    /no pids cgroup controller/,
  );
});

test('only names that are ids count as groups of containers', () => {
  const { host } = hostWith(1);
  for (const name of ['init', `${ID}x`, 'B'.repeat(64)]) mkdirSync(join(host.parents[0] ?? '', name));
  expect([...groupNames(host)]).toEqual([ID]);
  expect(readdirSync(host.parents[0] ?? '').length).toBe(4);
});
