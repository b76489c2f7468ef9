// Properties of every plan, over intents drawn at random: total, deterministic, and such that the helper can decode it.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BerthError } from '../../../core/base/errors.ts';
import { planContainer } from '../../../core/plan/container.ts';
import { explainPlan } from '../../../core/plan/explain.ts';
import type { Facts } from '../../../core/plan/facts.ts';
import { LAUNCH } from '../../../proto/policy/launch.ts';
import { CLONE_NEWUSER, CLONE_NEWUTS } from '../../../proto/abi/sched.gen.ts';
import { baseFacts, DONOR, donorFacts, hostFacts, intent, layer, V2_HOST } from '../../cases/load.ts';

const RUNS = process.env['BERTH_LONG'] ? 200_000 : 1_500;

const words = (...list: string[]) => fc.constantFrom(...list);
const nasty = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 6 }),
  words('__proto__', 'constructor', 'a=b', '/', '..', '\0', ''),
);
/** Mostly one of these. */
const or = (...list: string[]) => fc.oneof({ weight: 12, arbitrary: words(...list) }, { weight: 1, arbitrary: nasty });
const path = or('/data', '/data/x', '/etc', '/etc/hosts', '/dev/shm', '/dev/x', '/proc/x', '/', '/a/../b');
const number = fc.oneof(
  fc.constantFrom(
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    -1,
    -2,
    10,
    1000,
    1024,
    65_536,
    6_291_456,
    67_108_864,
    1e9,
    2 ** 53 - 1,
  ),
  fc.integer(),
);
const list = <T>(of: fc.Arbitrary<T>) => fc.option(fc.array(of, { maxLength: 3 }), { nil: null, freq: 1 });
const mode = or('', '', '', 'host', 'none', 'private', 'shareable', 'default', 'container:donor', 'container:other');

const hostFields = {
  Binds: list(
    fc
      .tuple(words('/a', '/b'), path, words('', ':ro', ':z', ':shared'))
      .map(([from, to, how]) => `${from}:${to}${how}`),
  ),
  Tmpfs: fc.dictionary(path, or('', 'size=1m', 'mode=700,exec'), { maxKeys: 2 }),
  Mounts: list(
    fc.record({
      Type: words('bind', 'tmpfs', 'volume', 'x'),
      Source: words('', '/a'),
      Target: path,
      ReadOnly: fc.boolean(),
    }),
  ),
  NetworkMode: mode,
  PidMode: mode,
  IpcMode: mode,
  UTSMode: mode,
  UsernsMode: mode,
  CgroupnsMode: mode,
  Privileged: fc.boolean(),
  ReadonlyRootfs: fc.boolean(),
  Init: fc.option(fc.boolean()),
  CapAdd: list(or('ALL', 'NET_ADMIN', 'cap_chown')),
  CapDrop: list(or('ALL', 'KILL')),
  Memory: number,
  MemorySwap: number,
  MemoryReservation: number,
  NanoCpus: number,
  CpuQuota: number,
  CpuPeriod: number,
  CpuShares: number,
  PidsLimit: number,
  BlkioWeight: number,
  ShmSize: number,
  OomScoreAdj: number,
  CpusetCpus: or('', '0', '0-1'),
  SecurityOpt: list(or('no-new-privileges', 'seccomp=unconfined', 'systempaths=unconfined')),
  Sysctls: fc.dictionary(or('net.core.somaxconn', 'kernel.sem'), nasty, { maxKeys: 2 }),
  Ulimits: list(fc.record({ Name: or('nofile', 'core'), Soft: number, Hard: number })),
  GroupAdd: list(or('audio', '5')),
  ExtraHosts: list(or('a:192.0.2.1')),
  Dns: list(or('192.0.2.1')),
  DeviceCgroupRules: list(or('c 1:3 r')),
  ConsoleSize: fc.array(number, { maxLength: 3 }),
};
const hostConfig = fc.record(hostFields, { requiredKeys: [] });
const body = fc.record(
  {
    Cmd: list(or('true', 'x y')),
    Entrypoint: list(or('env', '/bin/x')),
    Env: list(or('A=1', 'PATH=/x', 'HOME=')),
    User: or('', 'app', '7:8'),
    WorkingDir: path,
    Hostname: or('', 'web'),
    Domainname: words('', 'example.org'),
    Tty: fc.boolean(),
    OpenStdin: fc.boolean(),
    StopSignal: or('', 'TERM', '9'),
    HostConfig: hostConfig,
  },
  { requiredKeys: [] },
);
/** One field of HostConfig set, so that nothing else refuses it. */
const single = fc.oneof(
  ...Object.entries<fc.Arbitrary<unknown>>(hostFields).map(([field, values]) =>
    values.map((value) => ({ Cmd: ['true'], HostConfig: { [field]: value } })),
  ),
);
/** As `body`, but nothing in it is nonsense: nearly all of these give a plan. */
const sane = fc.record({
  Cmd: fc.array(words('true', 'a b'), { minLength: 1, maxLength: 3 }),
  User: words('', 'app', '7:8'),
  WorkingDir: words('', '/tmp', '/a/../b'),
  Tty: fc.boolean(),
  Hostname: words('', 'web'),
  HostConfig: fc.record({
    Binds: fc.uniqueArray(words('/a:/x', '/b:/x/y', '/a:/x/y/z:ro', '/b:/etc', '/a:/dev/shm', '/a:/etc/hosts'), {
      maxLength: 5,
    }),
    Tmpfs: fc.dictionary(words('/t', '/x/t', '/run'), words('', 'size=1m'), { maxKeys: 3 }),
    PidMode: words('', 'host', 'container:donor'),
    IpcMode: words('', 'none', 'container:donor'),
    NetworkMode: words('default', 'none'),
    CapAdd: fc.uniqueArray(words('ALL', 'NET_ADMIN', 'SYS_TIME')),
    CapDrop: fc.uniqueArray(words('ALL', 'KILL')),
    Privileged: fc.boolean(),
    Memory: words('0', '67108864').map(Number),
    PidsLimit: fc.constantFrom(-1, 0, 5),
    NanoCpus: fc.constantFrom(0, 5e8),
  }),
});
const facts: fc.Arbitrary<Facts> = fc
  .record({
    v2: fc.boolean(),
    layers: fc.integer({ min: 1, max: 6 }),
    highest: fc.constantFrom(0, 65_534, 65_536, 900_000),
    caps: fc.bigInt(0n, 2n ** 41n - 1n),
  })
  .map(({ v2, layers, highest, caps }) => {
    const base = baseFacts();
    if (base.root.kind !== 'image') return base;
    const numbers = Array.from({ length: layers }, (_, i) => layer(i + 1));
    return baseFacts({
      host: { ...(v2 ? V2_HOST : hostFacts()), capabilities: caps },
      root: { ...base.root, layers: numbers, highestUid: highest },
      binds: ['/a', '/b'].map((source, descriptor) => ({ source, descriptor, kind: 'directory' })),
      joined: { donor: donorFacts(), other: donorFacts({ userNamespace: 'host' }) },
      lookups: {},
    });
  });

/** The plan, or undefined where it was refused as it should be. */
function attempt(asked: Record<string, unknown>, found: Facts): ReturnType<typeof planContainer> | undefined {
  try {
    return planContainer(intent(asked), found);
  } catch (error) {
    if (error instanceof BerthError) return undefined;
    throw error;
  }
}

describe('planContainer()', () => {
  test('is total: a plan that the helper can decode, or a BerthError of one line', () => {
    fc.assert(
      fc.property(fc.oneof(body, single), facts, (asked, found) => {
        let plan: ReturnType<typeof planContainer>;
        try {
          plan = planContainer(intent(asked), found);
        } catch (error) {
          expect(error).toBeInstanceOf(BerthError);
          expect((error as BerthError).message).not.toBe('');
          return;
        }
        expect(() => LAUNCH[0](plan.launch, { path: [] }, undefined)).not.toThrow();
      }),
      { numRuns: RUNS },
    );
  }, 300_000);

  test('gives a plan for most sane intents, and the helper can decode each', () => {
    let plans = 0;
    let tried = 0;
    fc.assert(
      fc.property(sane, facts, (asked, found) => {
        tried++;
        const plan = attempt(asked, found);
        if (plan === undefined) return;
        plans++;
        expect(() => LAUNCH[0](plan.launch, { path: [] }, undefined)).not.toThrow();
      }),
      { numRuns: 500 },
    );
    expect(plans / tried).toBeGreaterThan(0.3);
  });

  test('is deterministic, and so is its text', () => {
    fc.assert(
      fc.property(sane, facts, (asked, found) => {
        const [first, second] = [attempt(asked, found), attempt(structuredClone(asked), structuredClone(found))];
        expect(second).toEqual(first);
        if (first !== undefined && second !== undefined) {
          expect(explainPlan(second, found.host.cgroup)).toBe(explainPlan(first, found.host.cgroup));
        }
      }),
      { numRuns: 200 },
    );
  });

  test('keeps what must hold of every plan', () => {
    fc.assert(
      fc.property(sane, facts, (asked, found) => {
        const plan = attempt(asked, found);
        if (plan === undefined) return;
        const { launch } = plan;
        const targets = launch.mounts.map((mount) => mount.target);
        for (const [i, target] of targets.entries()) {
          expect(targets.slice(0, i).filter((earlier) => earlier.startsWith(`${target}/`))).toEqual([]);
        }
        expect(new Set(targets).size).toBe(targets.length);
        const caps = launch.process?.capabilities;
        expect((caps?.bounding ?? 0n) & ~found.host.capabilities).toBe(0n);
        expect((caps?.effective ?? 0n) & ~(caps?.permitted ?? 0n)).toBe(0n);
        if (launch.process?.uid !== 0) expect(caps?.permitted).toBe(0n);
        const { unshare = 0n, join = [], uidCount = 0n } = launch.namespaces ?? {};
        for (const { namespace, container } of join) {
          expect(unshare & namespace).toBe(0n);
          expect(container).toBe(DONOR);
        }
        if (join.length > 0) expect(join.map((one) => one.namespace)).toContain(BigInt(CLONE_NEWUSER));
        expect(uidCount > 0n).toBe((unshare & BigInt(CLONE_NEWUSER)) !== 0n);
        expect(uidCount % 65_536n).toBe(0n);
        if ((unshare & BigInt(CLONE_NEWUTS)) === 0n) expect(launch.hostname).toBe('');
        const layers = launch.root?.source?.$case === 'image' ? launch.root.source.value.layers : [];
        expect(layers.toReversed()).toEqual(found.root.kind === 'image' ? found.root.layers : []);
      }),
      { numRuns: 500 },
    );
  });
});

test('planContainer() takes any configuration of an image', () => {
  const hostile = fc.record({
    env: fc.array(or('PATH=/x', 'A=1', 'HOME=/h'), { maxLength: 3 }),
    entrypoint: fc.option(fc.array(or('env'), { maxLength: 2 }), { nil: undefined }),
    cmd: fc.option(fc.array(or('true', '/bin/x'), { maxLength: 2 }), { nil: undefined }),
    workingDir: path,
    user: or('', 'app', '4294967295', '-1', '0:0'),
    volumes: fc.array(path, { maxLength: 2 }),
    stopSignal: or('', 'TERM', '64'),
  });
  const texts = fc.record({ passwd: fc.string({ unit: 'binary' }), group: fc.string({ unit: 'binary' }) });
  fc.assert(
    fc.property(hostile, texts, (config, accounts) => {
      const base = baseFacts();
      const found = baseFacts({ ...accounts, root: { ...base.root, config } as Facts['root'], lookups: {} });
      const plan = attempt({}, found);
      if (plan !== undefined) expect(() => LAUNCH[0](plan.launch, { path: [] }, undefined)).not.toThrow();
    }),
    { numRuns: RUNS },
  );
}, 300_000);

describe('planContainer() at the edges', () => {
  const plan = (asked: Record<string, unknown>, over: Partial<Facts> = {}) =>
    planContainer(intent({ Cmd: ['true'], ...asked }), baseFacts({ lookups: {}, ...over })).launch;

  test('orders layers topmost first, many of them', () => {
    const base = baseFacts().root;
    const layers = Array.from({ length: 128 }, (_, i) => layer(i));
    const { root } = plan({}, { root: { ...base, layers } as Facts['root'] });
    expect(root?.source).toEqual({ $case: 'image', value: { layers: layers.toReversed() } });
    expect(() => plan({}, { root: { ...base, layers: [] } as Facts['root'] })).toThrow('the image has no layers');
  });

  test('maps as many ids as the image and the process need', () => {
    const base = baseFacts().root;
    const count = (highestUid: number, User = '') =>
      plan({ User }, { root: { ...base, highestUid } as Facts['root'] }).namespaces?.uidCount;
    expect([count(0), count(65_535), count(65_536), count(0, '200000')]).toEqual([
      65_536n,
      65_536n,
      131_072n,
      262_144n,
    ]);
    expect(() => count(2_000_000)).toThrow(
      'a file of the image has id 2000000: at most 1048576 ids can be mapped here',
    );
    expect(() => count(0, '2000000')).toThrow('the process asks for id 2000000');
  });

  test('a rootless user with one id is root in the container and nobody else', () => {
    const host = hostFacts({ rootless: true, uidCountMax: 1 });
    expect(plan({}, { host })).toMatchObject({ namespaces: { uidCount: 1n }, process: { uid: 0, groups: [] } });
    expect(() => plan({ User: '5' }, { host })).toThrow('id 5 cannot be used: this user has one id only');
    expect(() => plan({ HostConfig: { GroupAdd: ['5'] } }, { host })).toThrow('--group-add');
  });

  test('--init needs a pid namespace of its own', () => {
    const joined = { donor: donorFacts() };
    expect(plan({ HostConfig: { Init: true } }).init).toBe(true);
    expect(plan({ HostConfig: { Init: true, PidMode: 'container:donor' } }, { joined }).init).toBe(false);
  });

  test('the stop signal is the user’s, the image’s or TERM', () => {
    const stop = (StopSignal: string) => planContainer(intent({ Cmd: ['true'], StopSignal }), baseFacts()).stopSignal;
    expect([stop(''), stop('INT'), stop('RTMIN+3')]).toEqual([15, 2, 37]);
    expect(() => stop('NOPE')).toThrow('invalid signal: NOPE');
  });

  test('ports, links and other fields that nobody would follow are refused by name', () => {
    expect(() => plan({ HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '8080' }] } } })).toThrow(
      'HostConfig.PortBindings: publishing ports',
    );
    expect(() => plan({ HostConfig: { Links: ['a:b'] } })).toThrow('HostConfig.Links');
    expect(() => plan({ HostConfig: { OomScoreAdj: 1001 } })).toThrow('range for oom score adj is [-1000, 1000]');
    expect(() => plan({ WorkingDir: 'x' })).toThrow(
      "the working directory 'x' is invalid, it needs to be an absolute path",
    );
  });

  test('takes a plan’s time of a millisecond or two', () => {
    const asked = intent({ Cmd: ['true'] });
    const found = baseFacts();
    planContainer(asked, found);
    const began = performance.now();
    for (let i = 0; i < 200; i++) planContainer(asked, found);
    expect((performance.now() - began) / 200).toBeLessThan(5);
  });
});
