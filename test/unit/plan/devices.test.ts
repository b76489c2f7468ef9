import { describe, expect, test } from 'vitest';
import { planContainer } from '../../../core/plan/container.ts';
import { baseFacts, hostFacts, hostIntent } from '../../cases/load.ts';

const NULL = { path: '/dev/null', block: false, major: 1, minor: 3, mode: 0o666 };
const TUN = { path: '/dev/net/tun', block: false, major: 10, minor: 200, mode: 0o600 };
const facts = baseFacts({
  devices: { '/dev/null': NULL, '/dev/net/tun': TUN },
  host: hostFacts({ privilegedDevices: [NULL, TUN, { ...NULL, path: '/dev/ptmx' }] }),
});
const plan = (host: Record<string, unknown>) => planContainer(hostIntent(host), facts).launch;
const paths = (host: Record<string, unknown>) => plan(host).devices.map((device) => device.path);
const DEFAULT = ['null', 'zero', 'full', 'random', 'urandom', 'tty'];
const device = (from: string, to = '', rights = 'rwm') => ({
  Devices: [{ PathOnHost: from, PathInContainer: to, CgroupPermissions: rights }],
});

describe('planDevices()', () => {
  test('the defaults are open to all', () => {
    expect(paths({})).toEqual(DEFAULT);
    expect(plan({}).devices[0]).toEqual({
      path: 'null',
      block: false,
      major: 1,
      minor: 3,
      mode: 0o666,
      uid: 0,
      gid: 0,
    });
  });

  test('--device under its own and under another name', () => {
    expect(plan(device('/dev/net/tun')).devices.at(-1)).toMatchObject({
      path: 'net/tun',
      major: 10,
      minor: 200,
      mode: 0o600,
    });
    expect(paths(device('/dev/null', '/dev/mynull'))).toEqual([...DEFAULT, 'mynull']);
    expect(paths(device('/dev/null', '/dev/zero'))).toEqual(DEFAULT);
  });

  test('--privileged adds what the profile allows and what is not made anyway', () => {
    expect(paths({ Privileged: true })).toEqual([...DEFAULT, 'net/tun']);
  });

  test('--device-cgroup-rule', () => {
    const rule = { major: 10n, minor: -1n, read: true, write: true, mknod: false };
    expect(plan({ DeviceCgroupRules: ['c 10:* rw'] }).limits?.deviceRules).toEqual([{ block: false, ...rule }]);
    expect(plan({ DeviceCgroupRules: ['a 10:* rw'] }).limits?.deviceRules).toEqual([
      { block: false, ...rule },
      { block: true, ...rule },
    ]);
  });

  test.each([
    [device('/dev/nope'), 'error gathering device information while adding custom device "/dev/nope"'],
    [device('/dev/null', '/dev/x', 'q'), 'invalid device mode: q'],
    [device('/dev/null', '/dev/x', 'rr'), 'invalid device mode: rr'],
    [device('/dev/null', '/dev/x', 'r'), 'rights "r" are not there yet'],
    [device('/dev/null', '/etc/x'), 'no place for a device'],
    [device('/dev/null', '/dev/../etc/x'), 'no place for a device'],
    [device('/dev/null', '/dev/ptmx'), 'no place for a device'],
    [device('/dev/null', '/dev'), 'no place for a device'],
    [{ DeviceCgroupRules: ['c 10 rw'] }, "invalid device cgroup rule format: 'c 10 rw'"],
    [{ DeviceCgroupRules: ['c 9999999:0 rw'] }, 'invalid device cgroup rule format'],
    [
      { DeviceRequests: [{ Driver: '', Count: -1, Capabilities: [['gpu']] }] },
      'could not select device driver "" with capabilities: [[gpu]]',
    ],
  ])('%j is refused', (host, message) => {
    expect(() => plan(host)).toThrow(message);
  });
});
