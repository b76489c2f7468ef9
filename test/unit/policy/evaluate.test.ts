import { describe, expect, test } from 'vitest';
import { PROC_SUPER_MAGIC } from '../../../proto/abi/magic.gen.ts';
import * as plan from '../../../proto/gen/berth/helper/v1/plan.ts';
import type { Exec, Request } from '../../../proto/gen/berth/helper/v1/request.ts';
import { reasonText } from '../../../proto/policy/evaluate.ts';
import { CEILING_NAMES } from '../../../proto/policy/profile.ts';
import {
  ALL_NAMESPACES,
  type Asked,
  bound,
  file,
  hardening,
  ID,
  judged,
  launch,
  launched,
  limits,
  NEWNET,
  NEWUSER,
  process,
  stdio,
} from './ask.ts';

const ENDLESS = 2n ** 64n - 1n;
const OTHER = 'b'.repeat(64);
const { Knob, Propagation, Resource, Seccomp, KernelFilesystem } = plan;
const exec = (more: Partial<Exec>): Request['verb'] => ({
  $case: 'exec',
  value: { container: ID, id: OTHER, process, hardening, stdio, ...more },
});
const caps = (bits: bigint): Partial<plan.Launch> => ({
  process: {
    ...process,
    capabilities: { bounding: bits, effective: bits, permitted: bits, inheritable: 0n, ambient: 0n },
  },
});
const set = (...settings: [plan.Knob, bigint][]): plan.Limits => ({
  ...limits,
  settings: settings.map(([knob, value]) => ({ knob, value })),
});
const update = (...settings: [plan.Knob, bigint][]): Request['verb'] => ({
  $case: 'update',
  value: { container: ID, limits: set(...settings) },
});
const rlimit = (resource: plan.Resource, hard: bigint): Partial<plan.Launch> => ({
  process: { ...process, rlimits: [{ resource, soft: 0n, hard }] },
});
const hardened = (more: Partial<plan.Hardening>): Partial<plan.Launch> => ({ hardening: { ...hardening, ...more } });
const own = (unshare: bigint, join: [bigint, string][] = []): Partial<plan.Launch> => ({
  namespaces: {
    unshare,
    join: join.map(([namespace, container]) => ({ namespace, container })),
    uidCount: unshare & NEWUSER ? 65_536n : 0n,
  },
});
const rule = (major: bigint, minor: bigint, block = false): Partial<plan.Launch> => ({
  limits: { ...limits, deviceRules: [{ block, major, minor, read: true, write: true, mknod: true }] },
});
const tmpfs = (sizeBytes: bigint): Partial<plan.Launch> => ({
  mounts: [
    {
      source: { $case: 'tmpfs', value: { sizeBytes, mode: 0o755, uid: 0, gid: 0 } },
      target: '/t',
      readOnly: false,
      noSuid: true,
      noDev: true,
      noExec: true,
    },
  ],
});
const kernel = (filesystem: plan.KernelFilesystem): Partial<plan.Launch> => ({
  mounts: [
    {
      source: { $case: 'kernel', value: { filesystem } },
      target: '/proc',
      readOnly: false,
      noSuid: true,
      noDev: true,
      noExec: true,
    },
  ],
});
const directory = (readOnly: boolean): Partial<plan.Launch> => ({
  root: { source: { $case: 'directory', value: { descriptor: 0 } }, readOnly },
});
const layers = (count: number): string[] => Array(count).fill(`sha256:${ID}`);

test('what a plain container, a plain exec and every other verb ask is allowed by default', () => {
  const verbs: Request['verb'][] = [
    launched({}),
    exec({}),
    { $case: 'signal', value: { container: ID, exec: '', signal: 9, all: true } },
    { $case: 'pause', value: { container: ID, frozen: true } },
    update([Knob.KNOB_PIDS_MAX, -1n]),
    { $case: 'remove', value: { container: ID } },
    { $case: 'attach', value: { container: ID, exec: '' } },
    { $case: 'importLayer', value: { diffId: `sha256:${ID}`, sizeBytesMax: 1n } },
    { $case: 'mergeImage', value: { layers: layers(3) } },
    { $case: 'dropLayer', value: { diffId: `sha256:${ID}` } },
    { $case: 'dropImage', value: { layers: layers(3) } },
    { $case: 'watch', value: {} },
    { $case: 'forget', value: { container: ID, exec: OTHER } },
  ];
  expect(verbs.flatMap((verb) => judged({ verb }))).toEqual([]);
  expect(verbs.flatMap((verb) => judged({ verb, profile: { verbs: [] } })).length).toBe(verbs.length);
});

const LAST_CEILINGS_SEEN = new Set<string>();
const table: [string, Asked, string[]][] = [
  [
    'a verb that is not on the list',
    { verb: launched({}), profile: { verbs: ['exec', 'import*'] } },
    ['verbs launch: launch / exec import*'],
  ],
  ['no verb', { verb: undefined }, ['present verb: nothing / a value']],
  [
    'a directory as root',
    { verb: launched(directory(false)), profile: { rootDirectories: false }, seen: { files: [file('/srv/r')] } },
    ['rootDirectories launch.root: a directory as root / no such thing'],
  ],
  [
    'a root to be written where only reading is allowed',
    {
      verb: launched(directory(false)),
      profile: { bindRead: ['/srv'], bindWrite: [] },
      seen: { files: [file('/srv/r')] },
    },
    ['bindWrite launch.root.directory.descriptor: /srv/r read-write / none'],
  ],
  [
    'a bind outside of every list',
    {
      verb: launched(bound({}, true)),
      profile: { bindRead: ['/srv/a'], bindWrite: ['/srv/b'] },
      seen: { files: [file('/srv/ab')] },
    },
    ['bindRead launch.mounts[0].bind.descriptor: /srv/ab read-only / beneath /srv/a /srv/b'],
  ],
  [
    'a bind to be written that may be read',
    {
      verb: launched(bound()),
      profile: { bindRead: ['/srv'], bindWrite: ['/srv/b'] },
      seen: { files: [file('/srv/a')] },
    },
    ['bindWrite launch.mounts[0].bind.descriptor: /srv/a read-write / beneath /srv/b'],
  ],
  [
    '/etc',
    { verb: launched(bound({}, true)), seen: { files: [file('/etc', { uid: 0 })] } },
    ['bindDenied launch.mounts[0].bind.descriptor: /etc read-only / nothing that is, holds or lies beneath /etc'],
  ],
  [
    'a file in /etc',
    { verb: launched(bound({ file: true })), seen: { files: [file('/etc/shadow', { uid: 0, isDirectory: false })] } },
    [
      'bindDenied launch.mounts[0].bind.descriptor: /etc/shadow read-write / nothing that is, holds or lies beneath /etc',
    ],
  ],
  [
    'a directory that holds /var/lib/berth/helper',
    { verb: launched(bound()), profile: { bindOwned: [] }, seen: { files: [file('/var')] } },
    [
      'bindDenied launch.mounts[0].bind.descriptor: /var read-write / nothing that is, holds or lies beneath /var/lib/berth/helper',
    ],
  ],
  [
    '/run/berth.slots, by /run/berth*',
    { verb: launched(bound()), seen: { files: [file('/run/berth.slots/1')] } },
    [
      'bindDenied launch.mounts[0].bind.descriptor: /run/berth.slots/1 read-write / nothing that is, holds or lies beneath /run/berth*',
    ],
  ],
  [
    'a directory of the helper, whatever the profile says',
    {
      verb: launched(bound()),
      profile: { bindDenied: [] },
      seen: { own: ['/tmp/s/lib/helper'], files: [file('/tmp/s')] },
    },
    [
      'bindDenied launch.mounts[0].bind.descriptor: /tmp/s read-write / nothing that is, holds or lies beneath /tmp/s/lib/helper',
    ],
  ],
  [
    "somebody else's home",
    { verb: launched(bound()), seen: { files: [file('/home/bob', { uid: 1001 })] } },
    [
      "bindOwned launch.mounts[0].bind.descriptor: /home/bob read-write, of uid 1001 / beneath /home only what is uid 1000's",
    ],
  ],
  [
    'the directory that holds all homes',
    { verb: launched(bound()), seen: { files: [file('/home', { uid: 0 })] } },
    ["bindOwned launch.mounts[0].bind.descriptor: /home read-write, of uid 0 / beneath /home only what is uid 1000's"],
  ],
  [
    'a file system of the kernel mounted elsewhere',
    { verb: launched(bound()), seen: { files: [file('/srv/chroot/proc', { fsType: PROC_SUPER_MAGIC })] } },
    [
      'bindKernelFilesystems launch.mounts[0].bind.descriptor: /srv/chroot/proc, of a file system of the kernel / no such thing',
    ],
  ],
  [
    'a descriptor that did not come',
    { verb: launched(bound({ descriptor: 1 })), seen: { files: [file('/srv')] } },
    ['descriptor launch.mounts[0].bind.descriptor: number 1, which did not come / a file or directory with a path'],
  ],
  [
    'a descriptor without a path',
    { verb: launched(bound()), seen: { files: [file('pipe:[7]')] } },
    ['descriptor launch.mounts[0].bind.descriptor: number 0, pipe:[7] / a file or directory with a path'],
  ],
  [
    'shared propagation',
    { verb: launched(bound({ propagation: Propagation.PROPAGATION_SHARED })), seen: { files: [file('/srv')] } },
    ['propagation launch.mounts[0].bind.propagation: shared / at most slave'],
  ],
  [
    'an unknown propagation',
    {
      verb: launched(bound({ propagation: 9 as plan.Propagation })),
      profile: { propagation: 'shared' },
      seen: { files: [file('/srv')] },
    },
    ['propagation launch.mounts[0].bind.propagation: number 9 / at most shared'],
  ],
  [
    'a file system of the kernel inside',
    {
      verb: launched(kernel(KernelFilesystem.KERNEL_FILESYSTEM_CGROUP)),
      profile: { kernelFilesystems: ['proc', 'dev*'] },
    },
    ['kernelFilesystems launch.mounts[0].kernel.filesystem: cgroup / proc dev*'],
  ],
  [
    'a tmpfs too large',
    { verb: launched(tmpfs(11n)), profile: { tmpfsBytesMax: 10 } },
    ['tmpfsBytesMax launch.mounts[0].tmpfs.size_bytes: 11 / at most 10'],
  ],
  [
    'a tmpfs without a size',
    { verb: launched(tmpfs(0n)), profile: { tmpfsBytesMax: 10 } },
    ['tmpfsBytesMax launch.mounts[0].tmpfs.size_bytes: no limit / at most 10'],
  ],
  [
    "the host's network",
    { verb: launched(own(ALL_NAMESPACES & ~NEWNET)) },
    ['hostNamespaces launch.namespaces.unshare: net / time'],
  ],
  [
    "the host's user namespace, and to trace there",
    { verb: launched({ ...own(ALL_NAMESPACES & ~NEWUSER), ...caps(1n << 19n) }) },
    [
      'hostNamespaces launch.namespaces.unshare: user / time',
      "hostUserTrace launch.namespaces: SYS_PTRACE in the host's user namespace / no such thing",
    ],
  ],
  [
    "the host's user namespace, granted, but not tracing there",
    {
      verb: launched({ ...own(ALL_NAMESPACES & ~NEWUSER), ...caps(1n << 19n) }),
      profile: { hostNamespaces: ['user'] },
    },
    ["hostUserTrace launch.namespaces: SYS_PTRACE in the host's user namespace / no such thing"],
  ],
  [
    "a joined container that lives in the host's",
    {
      verb: launched(
        own(ALL_NAMESPACES & ~(NEWUSER | NEWNET), [
          [NEWUSER, OTHER],
          [NEWNET, OTHER],
        ]),
      ),
      seen: { hostNamespaces: ['user'] },
    },
    ['hostNamespaces launch.namespaces.unshare: user / time'],
  ],
  [
    'joining',
    {
      verb: launched(
        own(ALL_NAMESPACES & ~(NEWUSER | NEWNET), [
          [NEWUSER, OTHER],
          [NEWNET, OTHER],
        ]),
      ),
      profile: { joinNamespaces: ['user'] },
    },
    ['joinNamespaces launch.namespaces.join[1].namespace: net / user'],
  ],
  [
    'more ids',
    {
      verb: launched({ namespaces: { unshare: ALL_NAMESPACES, join: [], uidCount: 65_537n } }),
      profile: { uidCountMax: 65_536 },
    },
    ['uidCountMax launch.namespaces.uid_count: 65537 / at most 65536'],
  ],
  [
    'capabilities',
    { verb: launched(caps((1n << 12n) | (1n << 0n) | (1n << 45n))), profile: { capabilities: ['CHOWN', 'NET_B*'] } },
    ['capabilities launch.process.capabilities.bounding: NET_ADMIN number 45 / CHOWN NET_B*'],
  ],
  [
    'a capability that bounding does not hold',
    {
      verb: launched({
        process: {
          ...process,
          capabilities: { bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 1n << 21n },
        },
      }),
      profile: { capabilities: [] },
    },
    ['capabilities launch.process.capabilities.ambient: SYS_ADMIN / none'],
  ],
  [
    'seccomp unconfined',
    { verb: launched(hardened({ seccomp: Seccomp.SECCOMP_UNCONFINED })), profile: { seccomp: 'default' } },
    ['seccomp launch.hardening.seccomp: unconfined / at most default'],
  ],
  [
    'no word on seccomp',
    { verb: launched(hardened({ seccomp: Seccomp.SECCOMP_UNSPECIFIED })) },
    ['seccomp launch.hardening.seccomp: number 0 / at most unconfined'],
  ],
  [
    'privileges that may grow',
    { verb: launched({}), profile: { noNewPrivileges: true } },
    ['noNewPrivileges launch.process.no_new_privileges: privileges to gain / none'],
  ],
  [
    'a mask that is missing',
    {
      verb: launched(hardened({ maskedPaths: ['/proc/keys'] })),
      profile: { maskedPaths: ['/proc/kcore', '/proc/keys'] },
    },
    ['maskedPaths launch.hardening.masked_paths: without /proc/kcore / with /proc/kcore /proc/keys'],
  ],
  [
    'a read-only path that is missing',
    { verb: launched({}), profile: { readOnlyPaths: ['/proc/sys'] } },
    ['readOnlyPaths launch.hardening.read_only_paths: without /proc/sys / with /proc/sys'],
  ],
  [
    'a sysctl',
    {
      verb: launched(hardened({ sysctls: [{ name: 'net.ipv4.ip_forward', value: '1' }] })),
      profile: { sysctls: ['net.core.*'] },
    },
    ['sysctls launch.hardening.sysctls[0].name: net.ipv4.ip_forward / net.core.*'],
  ],
  [
    'a device',
    {
      verb: launched({ devices: [{ path: 'sda', block: true, major: 8, minor: 0, mode: 0o600, uid: 0, gid: 0 }] }),
      profile: { devices: ['c *'] },
    },
    ['devices launch.devices[0].block: b 8:0 / c *'],
  ],
  [
    'a rule for all minors where one is granted',
    { verb: launched(rule(10n, -1n)), profile: { devices: ['c 1:3', 'c 10:200'] } },
    ['devices launch.limits.device_rules[0].block: c 10:* / c 1:3 c 10:200'],
  ],
  [
    'a rule for all of a kind',
    { verb: launched(rule(-1n, 3n)), profile: { devices: ['c 1:3', 'c 1:*'] } },
    ['devices launch.limits.device_rules[0].block: c * / c 1:3 c 1:*'],
  ],
  [
    'memory above',
    { verb: launched({ limits: set([Knob.KNOB_MEMORY_MAX_BYTES, 101n]) }), profile: { memoryBytesMax: 100 } },
    ['memoryBytesMax launch.limits.settings[0].knob: 101 / at most 100'],
  ],
  [
    'memory endless',
    { verb: launched({ limits: set([Knob.KNOB_MEMORY_MAX_BYTES, -1n]) }), profile: { memoryBytesMax: 100 } },
    ['memoryBytesMax launch.limits.settings[0].knob: no limit / at most 100'],
  ],
  [
    'memory not set',
    { verb: launched({}), profile: { memoryBytesMax: 100 } },
    ['memoryBytesMax launch.limits.settings: no limit / at most 100'],
  ],
  [
    'swap not set',
    { verb: launched({}), profile: { memorySwapBytesMax: 100 } },
    ['memorySwapBytesMax launch.limits.settings: no limit / at most 100'],
  ],
  [
    'pids not set',
    { verb: launched({}), profile: { pidsMax: 100 } },
    ['pidsMax launch.limits.settings: no limit / at most 100'],
  ],
  [
    'pids above, by an update',
    { verb: update([Knob.KNOB_PIDS_MAX, 101n]), profile: { pidsMax: 100, memoryBytesMax: 1 } },
    ['pidsMax update.limits.settings[0].knob: 101 / at most 100'],
  ],
  [
    'processors not set',
    { verb: launched({}), profile: { cpusMax: 1.5 } },
    ['cpusMax launch.limits.settings: no limit / at most 1.5'],
  ],
  [
    'processors above',
    {
      verb: launched({ limits: set([Knob.KNOB_CPU_QUOTA_US, 80_000n], [Knob.KNOB_CPU_PERIOD_US, 50_000n]) }),
      profile: { cpusMax: 1.5 },
    },
    ['cpusMax launch.limits.settings: 1.6 / at most 1.5'],
  ],
  [
    'processors above, by the usual period',
    { verb: launched({ limits: set([Knob.KNOB_CPU_QUOTA_US, 160_000n]) }), profile: { cpusMax: 1.5 } },
    ['cpusMax launch.limits.settings: 1.6 / at most 1.5'],
  ],
  [
    'a quota alone, by an update',
    { verb: update([Knob.KNOB_CPU_QUOTA_US, 1_000n]), profile: { cpusMax: 1.5 } },
    ['cpusMax update.limits.settings: no limit / at most 1.5'],
  ],
  [
    'cpu shares',
    { verb: update([Knob.KNOB_CPU_SHARES, 2048n]), profile: { cpuSharesMax: 1024 } },
    ['cpuSharesMax update.limits.settings[0].knob: 2048 / at most 1024'],
  ],
  [
    'cpu weight',
    { verb: update([Knob.KNOB_CPU_WEIGHT, 200n]), profile: { cpuWeightMax: 100 } },
    ['cpuWeightMax update.limits.settings[0].knob: 200 / at most 100'],
  ],
  [
    'io weight',
    { verb: update([Knob.KNOB_IO_WEIGHT, 200n]), profile: { ioWeightMax: 100 } },
    ['ioWeightMax update.limits.settings[0].knob: 200 / at most 100'],
  ],
  [
    'no OOM killer',
    { verb: update([Knob.KNOB_OOM_KILL_DISABLE, 1n]), profile: { oomKillDisable: false } },
    ['oomKillDisable update.limits.settings[0].knob: no OOM killer / no such thing'],
  ],
  [
    'an unknown knob',
    { verb: update([99 as plan.Knob, 1n]) },
    ['knob update.limits.settings[0].knob: number 99 / a known one'],
  ],
  [
    'to be killed later than others',
    { verb: launched({ process: { ...process, oomScoreAdj: -1 } }) },
    ['oomScoreAdjMin launch.process.oom_score_adj: -1 / at least 0'],
  ],
  [
    'a resource limit above',
    { verb: launched(rlimit(Resource.RESOURCE_NOFILE, 11n)), profile: { rlimits: { nofile: 10 } } },
    ['rlimits launch.process.rlimits[0].resource: nofile 11 / at most 10'],
  ],
  [
    'an endless resource limit',
    {
      verb: launched(rlimit(Resource.RESOURCE_NOFILE, ENDLESS)),
      profile: { rlimits: { nofile: 10, '*': 'unlimited' } },
    },
    ['rlimits launch.process.rlimits[0].resource: nofile unlimited / at most 10'],
  ],
  [
    'a resource limit nobody names',
    { verb: launched(rlimit(Resource.RESOURCE_CORE, 0n)), profile: { rlimits: { nofile: 10 } } },
    ['rlimits launch.process.rlimits[0].resource: core 0 / none'],
  ],
  [
    'realtime priority, by default',
    { verb: launched(rlimit(Resource.RESOURCE_RTPRIO, 1n)) },
    ['rlimits launch.process.rlimits[0].resource: rtprio 1 / at most 0'],
  ],
  [
    'a terminal',
    { verb: exec({ stdio: { ...stdio, tty: true } }), profile: { tty: false } },
    ['tty exec.stdio.tty: a terminal / no such thing'],
  ],
  [
    'more layers',
    { verb: { $case: 'mergeImage', value: { layers: layers(3) } }, profile: { layersMax: 2 } },
    ['layersMax merge_image.layers: 3 / at most 2'],
  ],
  [
    'more layers of a root',
    {
      verb: launched({ root: { source: { $case: 'image', value: { layers: layers(3) } }, readOnly: true } }),
      profile: { layersMax: 2 },
    },
    ['layersMax launch.root.image.layers: 3 / at most 2'],
  ],
  [
    'a larger layer',
    {
      verb: { $case: 'importLayer', value: { diffId: `sha256:${ID}`, sizeBytesMax: 11n } },
      profile: { layerBytesMax: 10 },
    },
    ['layerBytesMax import_layer.size_bytes_max: 11 / at most 10'],
  ],
  [
    'more bytes of layers in all',
    {
      verb: { $case: 'importLayer', value: { diffId: `sha256:${ID}`, sizeBytesMax: 6n } },
      profile: { layersBytesMax: 10 },
      seen: { layersBytes: 5 },
    },
    ['layersBytesMax import_layer.size_bytes_max: 11 / at most 10'],
  ],
  [
    'more containers',
    { verb: launched({}), profile: { containersMax: 2 }, seen: { containers: 2 } },
    ['containersMax launch.id: 3 / at most 2'],
  ],
  ['more execs', { verb: exec({}), profile: { execsMax: 0 } }, ['execsMax exec.id: 1 / at most 0']],
  [
    "an exec in a container of the host's user namespace",
    { verb: exec({}), seen: { hostNamespaces: ['user'] } },
    ['hostNamespaces exec.container: user / time'],
  ],
  [
    'to trace by an exec there',
    {
      verb: exec({ process: { ...process, ...caps(1n << 19n).process } }),
      profile: { hostNamespaces: ['*'] },
      seen: { hostNamespaces: ['user'] },
    },
    ["hostUserTrace exec.process: SYS_PTRACE in the host's user namespace / no such thing"],
  ],
  [
    "an exec's capabilities",
    { verb: exec({}), profile: { capabilities: ['*_*'] } },
    [
      'capabilities exec.process.capabilities.bounding: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP / *_*',
    ],
  ],
];

describe('evaluate() refuses, naming rule, field, what was asked and the most allowed,', () => {
  test.each(table)('%s', (_name, asked, reasons) => {
    expect(judged(asked)).toEqual(reasons);
    for (const reason of reasons) LAST_CEILINGS_SEEN.add(reason.split(' ')[0] ?? '');
  });

  test('and every ceiling is in the table above', () => {
    expect(CEILING_NAMES.filter((name) => !LAST_CEILINGS_SEEN.has(name))).toEqual([]);
  });
});

describe('evaluate() allows', () => {
  test.each<[string, Asked]>([
    ['an own home', { verb: launched(bound()), seen: { files: [file('/home/alice')] } }],
    [
      'a file of an own home',
      { verb: launched(bound({ file: true })), seen: { files: [file('/home/alice/x', { isDirectory: false })] } },
    ],
    [
      "somebody else's directory outside of homes",
      { verb: launched(bound()), seen: { files: [file('/srv/data', { uid: 0 })] } },
    ],
    ['a name that only begins like a denied one', { verb: launched(bound()), seen: { files: [file('/etcetera')] } }],
    [
      'a file called like a directory that would hold a denied one',
      { verb: launched(bound({ file: true })), seen: { files: [file('/var', { isDirectory: false, uid: 1000 })] } },
    ],
    [
      'reading what may be written',
      {
        verb: launched(bound({}, true)),
        profile: { bindRead: [], bindWrite: ['/srv'] },
        seen: { files: [file('/srv/a')] },
      },
    ],
    [
      'everything beneath / where / is written',
      {
        verb: launched(bound()),
        profile: { bindWrite: ['/'], bindDenied: [], bindOwned: [] },
        seen: { files: [file('/')] },
      },
    ],
    ['an endless limit where it is unlimited', { verb: launched(rlimit(Resource.RESOURCE_MEMLOCK, ENDLESS)) }],
    [
      'exactly as much',
      {
        verb: launched({ limits: set([Knob.KNOB_MEMORY_MAX_BYTES, 100n], [Knob.KNOB_CPU_QUOTA_US, 150_000n]) }),
        profile: { memoryBytesMax: 100, cpusMax: 1.5 },
      },
    ],
    [
      '--privileged in an own user namespace',
      { verb: launched({ ...caps(2n ** 41n - 1n), ...hardened({ seccomp: Seccomp.SECCOMP_UNCONFINED }) }) },
    ],
    [
      'an update that does not touch what must be set',
      { verb: update([Knob.KNOB_CPU_SHARES, 2n]), profile: { memoryBytesMax: 1, pidsMax: 1, cpusMax: 1 } },
    ],
    ['all minors by a list that has them', { verb: launched(rule(136n, -1n)) }],
    ['one minor of a list of all', { verb: launched(rule(136n, 4n)) }],
  ])('%s', (_name, asked) => {
    expect(judged(asked)).toEqual([]);
  });
});

test('a launch of which parts are missing is refused part by part', () => {
  const empty = {
    ...launch,
    root: undefined,
    process: undefined,
    namespaces: undefined,
    limits: undefined,
    hardening: undefined,
    stdio: undefined,
  };
  expect(judged({ verb: { $case: 'launch', value: empty } }).map((reason) => reason.split(':')[0])).toEqual(
    ['root', 'process', 'namespaces', 'limits', 'hardening', 'stdio'].map((field) => `present launch.${field}`),
  );
});

test('reasonText() is one line', () => {
  const reason = { rule: 'pidsMax', field: 'launch.limits.settings', asked: 'no limit', allowed: 'at most 100' };
  expect(reasonText(reason)).toBe('launch.limits.settings: asked for no limit, allowed is at most 100 (rule pidsMax)');
});
