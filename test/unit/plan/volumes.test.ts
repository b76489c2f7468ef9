import { describe, expect, test } from 'vitest';
import { bindSources, readVolumes } from '../../../core/plan/volumes.ts';
import { Propagation } from '../../../proto/gen/berth/helper/v1/plan.ts';
import { hostIntent, intent } from '../../cases/load.ts';

const binds = (...specs: string[]) => readVolumes(hostIntent({ Binds: specs }).body);
const mounts = (...list: Record<string, unknown>[]) => readVolumes(hostIntent({ Mounts: list }).body);
const { PROPAGATION_PRIVATE: PRIVATE, PROPAGATION_SHARED: SHARED, PROPAGATION_SLAVE: SLAVE } = Propagation;

describe('readVolumes() of -v', () => {
  test.each([
    ['/home:/home', { source: '/home', target: '/home', readOnly: false, propagation: PRIVATE }],
    ['/home:/with space', { target: '/with space' }],
    ['/a:/b/../c//d/', { target: '/c/d' }],
    ['/a:/b:ro', { readOnly: true }],
    ['/rw:/ro', { source: '/rw', target: '/ro' }],
    ['/a:/b:shared', { propagation: SHARED }],
    ['/a:/b:rslave', { propagation: SLAVE }],
    ['/a:/b:Z,ro,slave', { readOnly: true, propagation: SLAVE }],
    ['/a:/b:ro,z,cached', { readOnly: true, propagation: PRIVATE }],
  ])('%s', (spec, expected) => {
    expect(binds(spec)).toEqual([
      expect.objectContaining({ kind: 'bind', recursive: true, create: true, ...expected }),
    ]);
  });

  // Source: moby, daemon/volume/mounts/linux_parser_test.go.
  test.each([
    ['', 'invalid volume specification'],
    ['./', 'mount path must be absolute'],
    ['../', 'mount path must be absolute'],
    ['/:../', 'mount path must be absolute'],
    ['/:path', 'mount path must be absolute'],
    [':', 'invalid volume specification'],
    ['/tmp:', 'invalid volume specification'],
    [':/test', 'invalid volume specification'],
    ['/tmp:::', 'invalid volume specification'],
    ['/path:rw', 'invalid volume specification'],
    ['path:ro', 'invalid volume specification'],
    ['/path:/path:sw', 'invalid mode'],
    ['/path:/path:rwz', 'invalid mode'],
    ['/path:/path:ro,rshared,rslave', 'invalid mode'],
    ['name:/absolute-path:shared', 'invalid volume specification'],
    ['/a:/', "invalid specification: destination can't be '/'"],
    ['/a:/..', "invalid specification: destination can't be '/'"],
    ['/a:/b:nocopy', 'field VolumeOptions must not be specified'],
    ['/a:/proc', '"/proc" cannot be mounted because it is inside /proc'],
    ['/a:/proc/self/x', '"/proc/self/x" cannot be mounted because it is inside /proc'],
    ['/a:/x/../sys/fs', '"/sys/fs" cannot be mounted because it is inside /sys'],
    ['/dev:/dev', '"/dev" cannot be mounted over'],
    ['name:/data', 'volume name: volumes are not there yet'],
    ['/data', 'anonymous volume /data: volumes are not there yet'],
  ])('%j is refused', (spec, message) => {
    expect(() => binds(spec)).toThrow(message);
  });
});

describe('readVolumes() of --mount', () => {
  test('a bind', () => {
    const options = { Propagation: 'rshared', NonRecursive: true, CreateMountpoint: true };
    expect(mounts({ Type: 'bind', Source: '/a', Target: '/b/', ReadOnly: true, BindOptions: options })).toEqual([
      {
        kind: 'bind',
        source: '/a',
        target: '/b',
        readOnly: true,
        recursive: false,
        propagation: SHARED,
        create: true,
        why: '--mount type=bind,source=/a',
      },
    ]);
  });

  test('a tmpfs', () => {
    const options = { SizeBytes: 4096, Mode: 0o700, Options: [['exec']] };
    expect(mounts({ Type: 'tmpfs', Target: '/t', TmpfsOptions: options })).toEqual([
      expect.objectContaining({
        tmpfs: { sizeBytes: 4096n, mode: 0o700, uid: 0, gid: 0 },
        flags: { readOnly: false, noSuid: true, noDev: true, noExec: false },
      }),
    ]);
  });

  test.each([
    [{ Type: 'bind', Target: '/b' }, 'invalid mount config for type "bind": field Source must not be empty'],
    [
      { Type: 'bind', Source: '/a', Target: '' },
      'invalid mount config for type "bind": field Target must not be empty',
    ],
    [{ Type: 'bind', Source: 'a', Target: '/b' }, "invalid mount path: 'a' mount path must be absolute"],
    [{ Type: 'bind', Source: '/a', Target: '/' }, "destination can't be '/'"],
    [{ Type: 'bind', Source: '/a', Target: '/b', BindOptions: { Propagation: 'x' } }, 'invalid propagation mode: x'],
    [
      { Type: 'bind', Source: '/a', Target: '/b', TmpfsOptions: { Mode: 1 } },
      'field TmpfsOptions must not be specified',
    ],
    [
      { Type: 'bind', Source: '/a', Target: '/b', VolumeOptions: { NoCopy: true } },
      'field VolumeOptions must not be specified',
    ],
    [{ Type: 'bind', Source: '/a', Target: '/b', BindOptions: { ReadOnlyNonRecursive: true } }, 'not there yet'],
    [{ Type: 'tmpfs', Source: '/a', Target: '/b' }, 'field Source must not be specified'],
    [{ Type: 'tmpfs', Target: '/b', TmpfsOptions: { SizeBytes: -1 } }, 'size -1 is below 0'],
    [{ Type: 'tmpfs', Target: '/b', TmpfsOptions: { Mode: 65_536 } }, 'is none of a directory'],
    [{ Type: 'tmpfs', Target: '/b', TmpfsOptions: { Options: [['suid']] } }, 'invalid option: suid'],
    [{ Type: 'volume', Source: 'v', Target: '/b' }, 'volume v for /b: volumes are not there yet'],
    [{ Type: 'image', Source: 'v', Target: '/b' }, 'image mounts are not there yet'],
    [{ Type: 'nope', Target: '/b' }, 'invalid mount config for type "nope": mount type unknown'],
  ])('%j is refused', (mount, message) => {
    expect(() => mounts(mount)).toThrow(message);
  });
});

describe('readVolumes() of --tmpfs', () => {
  const tmpfs = (options: string) => readVolumes(hostIntent({ Tmpfs: { '/t': options } }).body)[0];

  test.each([
    ['', { sizeBytes: 0n, mode: 0o1777 }, {}],
    ['size=64m', { sizeBytes: 67_108_864n }, {}],
    ['size=1k,mode=755,uid=5,gid=6', { sizeBytes: 1024n, mode: 0o755, uid: 5, gid: 6 }, {}],
    ['size=4096,size=1G', { sizeBytes: 1_073_741_824n }, {}],
    ['rw,exec,suid,dev', {}, { noExec: false, noSuid: false, noDev: false }],
    ['ro,exec,noexec', {}, { readOnly: true, noExec: true }],
    ['defaults,rprivate', {}, {}],
  ])('%s', (options, own, flags) => {
    expect(tmpfs(options)).toMatchObject({
      tmpfs: { sizeBytes: 0n, mode: 0o1777, uid: 0, gid: 0, ...own },
      flags: { readOnly: false, noSuid: true, noDev: true, noExec: true, ...flags },
    });
  });

  test.each([
    ['nope', 'invalid tmpfs option "nope"'],
    ['size', 'invalid tmpfs option "size"'],
    ['size=', 'invalid tmpfs option "size="'],
    ['size=0', 'invalid tmpfs option "size=0"'],
    ['size=9999999t', 'invalid tmpfs option'],
    ['mode=999', 'invalid tmpfs option "mode=999"'],
    ['mode=77777', 'invalid tmpfs option "mode=77777"'],
    ['uid=-1', 'invalid tmpfs option "uid=-1"'],
    ['x=1', 'invalid tmpfs option "x"'],
    ['constructor', 'invalid tmpfs option "constructor"'],
    ['size=0%', 'invalid tmpfs option "size=0%"'],
    ['size=-5%', 'invalid tmpfs option'],
    ['nr_inodes=5', 'tmpfs option "nr_inodes" is not supported'],
    ['noatime', 'tmpfs option "noatime" is not supported'],
  ])('%s is refused', (options, message) => {
    expect(() => tmpfs(options)).toThrow(message);
  });

  test.each([
    ['/', "destination can't be '/'"],
    ['t', "invalid mount path: 't' mount path must be absolute"],
    ['/proc/x', 'inside /proc'],
  ])('at %s is refused', (target, message) => {
    expect(() => readVolumes(hostIntent({ Tmpfs: { [target]: '' } }).body)).toThrow(message);
  });
});

describe('readVolumes() of all', () => {
  test.each([
    [{ Binds: ['/a:/x', '/b:/x/'] }],
    [{ Binds: ['/a:/x'], Tmpfs: { '/x': '' } }],
    [{ Binds: ['/a:/x'], Mounts: [{ Type: 'bind', Source: '/b', Target: '/y/../x' }] }],
    [{ Tmpfs: { '/x': '' }, Mounts: [{ Type: 'tmpfs', Target: '/x' }] }],
  ])('%j is refused as a duplicate', (host) => {
    expect(() => readVolumes(hostIntent(host).body)).toThrow('Duplicate mount point: /x');
  });

  test('volumes of others and without a name are refused', () => {
    expect(() => readVolumes(intent({ Volumes: { '/data': {} } }).body)).toThrow('anonymous volume /data');
    expect(() => readVolumes(hostIntent({ VolumesFrom: ['x'] }).body)).toThrow('--volumes-from');
  });

  test('bindSources() names each source once and whether it may be made', () => {
    const host = {
      Binds: ['/a:/x', '/a:/y'],
      Mounts: [{ Type: 'bind', Source: '/b', Target: '/z' }],
      Tmpfs: { '/t': '' },
    };
    expect(bindSources(hostIntent(host).body)).toEqual([
      { source: '/a', create: true },
      { source: '/b', create: false },
    ]);
  });
});
