import { describe, expect, test } from 'vitest';
import type { ContainerId } from '../../../core/base/brand.ts';
import { containerRefs, wantedNamespaces } from '../../../core/plan/modes.ts';
import { NS_FLAGS, type NsKind, type NsSource, type NsWish, planNamespaces } from '../../../core/plan/namespaces.ts';
import { baseFacts, DONOR, donorFacts, hostIntent } from '../../cases/load.ts';

const KINDS = Object.keys(NS_FLAGS) as NsKind[];
const OTHER = 'e1'.repeat(32) as ContainerId;

function wish(over: Partial<Record<NsKind, NsSource>>): NsWish {
  return Object.fromEntries(KINDS.map((ns) => [ns, { source: over[ns] ?? { kind: 'new' }, why: 'test' }])) as NsWish;
}

describe('planNamespaces()', () => {
  const sources: NsSource[] = [{ kind: 'new' }, { kind: 'host' }, { kind: 'shared', with: DONOR }];
  const table = KINDS.flatMap((ns) => sources.map((source) => ({ ns, source, flag: BigInt(NS_FLAGS[ns]) })));

  test('there are 8 namespaces of 8 different bits, as the kernel numbers them', () => {
    expect(table).toHaveLength(24);
    expect(Object.values(NS_FLAGS).map((flag) => flag.toString(16))).toEqual([
      '10000000',
      '20000',
      '20000000',
      '40000000',
      '8000000',
      '4000000',
      '2000000',
      '80',
    ]);
  });

  test.each(table)('$ns $source.kind', ({ ns, source, flag }) => {
    const { value } = planNamespaces(wish({ [ns]: source }), 65_536n);
    const all = Object.values(NS_FLAGS).reduce((bits, bit) => bits | BigInt(bit), 0n);
    expect(value.unshare).toBe(source.kind === 'new' ? all : all & ~flag);
    expect(value.join).toEqual(source.kind === 'shared' ? [{ namespace: flag, container: DONOR }] : []);
    expect(value.uidCount).toBe(ns === 'user' && source.kind !== 'new' ? 0n : 65_536n);
  });
});

const facts = baseFacts({
  joined: {
    donor: donorFacts(),
    other: donorFacts({ id: OTHER, userNamespace: OTHER }),
    open: donorFacts({ id: 'f2'.repeat(32) as ContainerId, userNamespace: 'host' }),
  },
});
const kinds = (host: Record<string, unknown>) => {
  const wanted = wantedNamespaces(hostIntent(host).body.HostConfig, facts);
  return Object.fromEntries(KINDS.map((ns) => [ns, wanted[ns].source.kind]));
};
const DEFAULT = {
  user: 'new',
  mnt: 'new',
  pid: 'new',
  net: 'new',
  ipc: 'new',
  uts: 'new',
  cgroup: 'new',
  time: 'host',
};

describe('wantedNamespaces()', () => {
  test.each([
    [{}, {}],
    [{ PidMode: 'host' }, { pid: 'host' }],
    [{ PidMode: 'container:donor' }, { pid: 'shared', user: 'shared' }],
    [{ IpcMode: 'host' }, { ipc: 'host' }],
    [{ IpcMode: 'none' }, {}],
    [{ IpcMode: 'private' }, {}],
    [{ IpcMode: 'shareable' }, {}],
    [{ IpcMode: 'container:donor' }, { ipc: 'shared', user: 'shared' }],
    [{ UTSMode: 'host' }, { uts: 'host' }],
    [{ UTSMode: 'container:donor' }, { uts: 'shared', user: 'shared' }],
    [{ UsernsMode: 'host' }, { user: 'host' }],
    [{ UsernsMode: 'container:donor' }, { user: 'shared' }],
    [{ CgroupnsMode: 'host' }, { cgroup: 'host' }],
    [{ CgroupnsMode: 'private' }, {}],
    [{ NetworkMode: 'default' }, {}],
    [{ NetworkMode: 'none' }, {}],
    [{ NetworkMode: 'host' }, { net: 'host' }],
    [{ NetworkMode: 'container:donor' }, { net: 'shared', user: 'shared' }],
    [
      { PidMode: 'container:donor', NetworkMode: 'host' },
      { pid: 'shared', net: 'host', user: 'shared' },
    ],
    [
      {
        PidMode: 'host',
        UsernsMode: 'host',
        NetworkMode: 'host',
        IpcMode: 'host',
        UTSMode: 'host',
        CgroupnsMode: 'host',
      },
      { pid: 'host', user: 'host', net: 'host', ipc: 'host', uts: 'host', cgroup: 'host' },
    ],
    [{ PidMode: 'container:open' }, { pid: 'shared', user: 'host' }],
    [
      { PidMode: 'container:open', UsernsMode: 'host' },
      { pid: 'shared', user: 'host' },
    ],
  ])('%j', (host, expected) => {
    expect(kinds(host)).toEqual({ ...DEFAULT, ...expected });
  });

  test.each([
    [{ PidMode: 'nope' }, 'invalid PID mode: nope'],
    [{ IpcMode: 'nope' }, 'invalid IPC mode: nope'],
    [{ UTSMode: 'private' }, 'invalid UTS mode: private'],
    [{ UsernsMode: 'nope' }, 'invalid USER mode: nope'],
    [{ CgroupnsMode: 'nope' }, 'invalid cgroup namespace mode: nope'],
    [{ CgroupnsMode: 'container:donor' }, 'invalid cgroup namespace mode: container:donor'],
    [{ NetworkMode: 'mine' }, 'network mine not found'],
    [{ NetworkMode: 'bridge' }, 'network bridge is not there yet'],
    [{ NetworkMode: 'container:' }, 'invalid network mode: invalid container format container:<name|id>'],
    [{ NetworkMode: 'container' }, 'invalid network mode: invalid container format container:<name|id>'],
    [{ PidMode: 'container:gone' }, 'No such container: gone'],
    [{ PidMode: 'container:toString' }, 'No such container: toString'],
    [{ PidMode: 'container:donor', IpcMode: 'container:other' }, 'have different user namespaces'],
    [{ PidMode: 'container:donor', UsernsMode: 'host' }, 'conflicting options: --userns=host'],
  ])('%j is refused', (host, message) => {
    expect(() => kinds(host)).toThrow(message);
  });

  test('a container that does not run, or that keeps its ipc to itself, cannot be joined', () => {
    const stopped = baseFacts({ joined: { donor: donorFacts({ running: false }) } });
    const closed = baseFacts({ joined: { donor: donorFacts({ ipcShareable: false }) } });
    const { HostConfig } = hostIntent({ IpcMode: 'container:donor' }).body;
    expect(() => wantedNamespaces(HostConfig, stopped)).toThrow('it is not running');
    expect(() => wantedNamespaces(HostConfig, closed)).toThrow('non-shareable IPC');
  });

  test('containerRefs() names each once', () => {
    const host = { NetworkMode: 'container:a', PidMode: 'container:a', IpcMode: 'container:b', UTSMode: 'host' };
    expect(containerRefs(hostIntent(host).body.HostConfig)).toEqual(['a', 'b']);
  });
});
