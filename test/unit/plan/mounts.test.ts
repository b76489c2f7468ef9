import { describe, expect, test } from 'vitest';
import { planContainer } from '../../../core/plan/container.ts';
import type { Facts, Found } from '../../../core/plan/facts.ts';
import { cleanPath, depth, isWithin } from '../../../core/plan/paths.ts';
import { baseFacts, hostIntent } from '../../cases/load.ts';

const BINDS = ['/a', '/b', '/c'].map((source, descriptor) => ({ source, descriptor, kind: 'directory' as const }));
const launch = (host: Record<string, unknown>, over: Partial<Facts> = {}) =>
  planContainer(hostIntent(host), baseFacts({ binds: BINDS, ...over }));
const targets = (host: Record<string, unknown>) => launch(host).launch.mounts.map((mount) => mount.target);

describe('planMounts()', () => {
  test('the defaults', () => {
    expect(targets({})).toEqual([
      '/proc',
      '/sys',
      '/dev',
      '/dev/pts',
      '/dev/mqueue',
      '/dev/shm',
      '/etc/resolv.conf',
      '/etc/hostname',
      '/etc/hosts',
      '/sys/fs/cgroup',
    ]);
  });

  test("keeps the user's order among mounts of equal depth", () => {
    const own = targets({ Binds: ['/a:/z', '/b:/y', '/c:/x'] }).filter((target) => /^\/[xyz]$/.test(target));
    expect(own).toEqual(['/z', '/y', '/x']);
  });

  test('puts parents before what lies beneath them', () => {
    const all = targets({ Binds: ['/a:/x/y/z', '/b:/x', '/c:/etc'], Tmpfs: { '/x/y': '' } });
    expect(all.indexOf('/x')).toBeLessThan(all.indexOf('/x/y'));
    expect(all.indexOf('/x/y')).toBeLessThan(all.indexOf('/x/y/z'));
    expect(all.indexOf('/etc')).toBeLessThan(all.indexOf('/etc/hosts'));
  });

  test.each(['/dev/shm', '/dev/mqueue', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf'])(
    "the user's %s takes the place of ours",
    (target) => {
      const { mounts } = launch({ Binds: [`/a:${target}`] }).launch;
      const there = mounts.filter((mount) => mount.target === target);
      expect(there.map((mount) => mount.source?.$case)).toEqual(['bind']);
      expect(mounts).toHaveLength(10);
    },
  );

  test('--ipc=none has no /dev/shm, --shm-size sets its size', () => {
    expect(targets({ IpcMode: 'none' })).not.toContain('/dev/shm');
    const shm = launch({ ShmSize: 4096 }).launch.mounts.find((mount) => mount.target === '/dev/shm');
    expect(shm?.source).toMatchObject({ value: { sizeBytes: 4096n, mode: 0o1777 } });
    expect(() => launch({ ShmSize: -1 })).toThrow('SHM size can not be less than 0');
  });

  test("--tmpfs size=N% is a share of the machine's memory", () => {
    const { mounts } = launch({ Tmpfs: { '/t': 'size=1k,size=10%,mode=700', '/u': 'size=10%,size=4096' } }).launch;
    const sizes = mounts.filter(({ target }) => /^\/[tu]$/.test(target)).map(({ source }) => source?.value);
    expect(sizes).toMatchObject([{ sizeBytes: 800_000_000n, mode: 0o700 }, { sizeBytes: 4096n }]);
  });

  test('--privileged makes /sys and its cgroups writable, and devices in binds usable', () => {
    const flags = (host: Record<string, unknown>) => {
      const { mounts } = launch({ ...host, Binds: ['/a:/x'] }).launch;
      const of = (target: string) => mounts.find((mount) => mount.target === target);
      return [of('/sys')?.readOnly, of('/sys/fs/cgroup')?.readOnly, of('/x')?.noDev];
    };
    expect(flags({})).toEqual([true, true, true]);
    expect(flags({ Privileged: true })).toEqual([false, false, false]);
  });

  test('--read-only makes the generated files read-only, too', () => {
    const { launch: plan } = launch({ ReadonlyRootfs: true });
    expect(plan.root?.readOnly).toBe(true);
    const files = plan.mounts.filter((mount) => mount.source?.$case === 'file');
    expect(files.map((mount) => mount.readOnly)).toEqual([true, true, true]);
  });

  test('a source that was not opened is refused', () => {
    expect(() => launch({ Binds: ['/gone:/x'] })).toThrow('bind source path does not exist: /gone');
  });

  const DIRECTORY: Found = { at: '/there', kind: 'directory' };
  const FILE: Found = { at: '/there', kind: 'file', mode: 0o644, uid: 0, gid: 0, head: new Uint8Array() };
  test.each([
    ['file', DIRECTORY, true],
    ['directory', FILE, true],
    ['file', FILE, false],
    ['directory', DIRECTORY, false],
    ['directory', { at: '/there', kind: 'missing' }, false],
  ] as const)('a %s over what is %o: refused %s', (kind, found, refused) => {
    const run = () =>
      launch(
        { Binds: ['/a:/there'] },
        { binds: [{ source: '/a', descriptor: 0, kind }], lookups: { '/there': found } },
      );
    if (refused) expect(run).toThrow('Are you trying to mount a directory onto a file (or vice-versa)?');
    else expect(run).not.toThrow();
  });

  test('VOLUMEs of the image are told of, labels and shared memory are warned about', () => {
    const facts = baseFacts();
    const root = {
      ...facts.root,
      config: { ...(facts.root.kind === 'image' ? facts.root.config : {}), volumes: ['/data'] },
    } as Facts['root'];
    expect(launch({}, { root }).reasons).toContainEqual(expect.objectContaining({ about: 'volume /data' }));
    expect(launch({ Binds: ['/a:/x:Z'] }).warnings).toEqual(['SELinux labels (z, Z) of binds have no effect here']);
    expect(launch({ Binds: ['/a:/x:rshared'] }).warnings).toEqual([expect.stringContaining('a shared bind')]);
    expect(launch({ Binds: ['/a:/x:rshared'], UsernsMode: 'host' }).warnings).toEqual([]);
    expect(launch({ Binds: ['/a:/x:rslave'] }).warnings).toEqual([]);
    expect(launch({ IpcMode: 'host' }).warnings).toEqual([expect.stringContaining("/dev/shm is the container's own")]);
  });
});

test('cleanPath() stops at the root, depth() and isWithin() go by components', () => {
  expect(['/', '//a/./b/', '/a/../../b', 'a', '/..'].map(cleanPath)).toEqual(['/', '/a/b', '/b', '/a', '/']);
  expect(['/', '/a', '/a/b'].map(depth)).toEqual([0, 1, 2]);
  expect([isWithin('/a/b', '/a'), isWithin('/a', '/a'), isWithin('/ab', '/a'), isWithin('/a', '/')]).toEqual([
    true,
    true,
    false,
    true,
  ]);
});
