// Flags to the create body: what each flag of run becomes, and that the server's own reader accepts all of it.
import { expect, test } from 'vitest';
import { absolute, containerBody } from '../../../core/cli/container-body.ts';
import { RUN_FLAGS } from '../../../core/cli/container-flags.ts';
import { parseFlags } from '../../../core/cli/flags.ts';
import { readContainerCreate } from '../../../core/spec/docker-api.ts';
import { isZero } from '../../../core/spec/json.ts';

const outside = { image: 'bb:1', command: ['echo', 'a b'], env: [], labels: {}, securityOpt: [], cwd: '/home/me' };

function body(...words: string[]) {
  const parsed = parseFlags({ flags: RUN_FLAGS, stopAtWord: true }, [...words, 'bb:1', 'echo', 'a b']);
  if (parsed.kind !== 'given') throw new Error(JSON.stringify(parsed));
  const { body: read, unknown } = readContainerCreate(JSON.parse(JSON.stringify(containerBody(parsed.given, outside))));
  expect(unknown).toEqual([]);
  return read;
}

test("containerBody() of no flags sets the words, the streams and Docker's defaults only", () => {
  const read = body();
  const set = Object.keys(read).filter((name) => !isZero(read[name as keyof typeof read]));
  expect(set.sort()).toEqual(['AttachStderr', 'AttachStdout', 'Cmd', 'HostConfig', 'Image']);
  const host = Object.keys(read.HostConfig).filter(
    (name) => !isZero(read.HostConfig[name as keyof typeof read.HostConfig]),
  );
  expect(host.sort()).toEqual(
    ['MemorySwappiness', 'NetworkMode', 'RestartPolicy'].filter(
      (name) => !isZero(read.HostConfig[name as keyof typeof read.HostConfig]),
    ),
  );
});

test.each<[string[], Record<string, unknown>]>([
  [['-it'], { Tty: true, OpenStdin: true, StdinOnce: true, AttachStdin: true }],
  [['-d', '-i'], { OpenStdin: true, StdinOnce: false, AttachStdin: false, AttachStdout: false }],
  [['-a', 'stderr'], { AttachStdout: false, AttachStderr: true }],
  [['-w', '/x', '-u', '1:2', '-h', 'web'], { WorkingDir: '/x', User: '1:2', Hostname: 'web' }],
  [['--entrypoint', 'sh'], { Entrypoint: ['sh'] }],
  [['--entrypoint', ''], { Entrypoint: [''] }],
  [['--stop-signal', 'USR1', '--stop-timeout', '3'], { StopSignal: 'USR1', StopTimeout: 3 }],
  [['-v', '/anon'], { Volumes: { '/anon': {} } }],
  [['--rootfs', '/r'], { Rootfs: '/r' }],
])('containerBody() of %j', (words, want) => {
  expect(body(...words)).toMatchObject(want);
});

test.each<[string[], Record<string, unknown>]>([
  [
    ['--rm', '--init', '--privileged', '--read-only'],
    { AutoRemove: true, Init: true, Privileged: true, ReadonlyRootfs: true },
  ],
  [['--init=false'], { Init: false }],
  [
    ['-v', '/a:/b:ro', '-v', './x:/y', '-v', 'vol:/z', '-v', '../up:/u'],
    { Binds: ['/a:/b:ro', '/home/me/x:/y', 'vol:/z', '/home/up:/u'] },
  ],
  [
    ['--mount', 'type=bind,src=/a,dst=/b,readonly'],
    { Mounts: [{ Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true }] },
  ],
  [
    ['--mount', 'type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1770'],
    { Mounts: [{ Type: 'tmpfs', Target: '/b', TmpfsOptions: { SizeBytes: 1048576, Mode: 0o1770 } }] },
  ],
  [['--tmpfs', '/t:size=1m', '--tmpfs', '/u'], { Tmpfs: { '/t': 'size=1m', '/u': '' } }],
  [
    ['--cpus', '1.5', '-c', '512', '--cpu-period', '100000', '--cpu-quota', '20000', '--cpuset-cpus', '0-1'],
    { NanoCpus: 1.5e9, CpuShares: 512, CpuPeriod: 100000, CpuQuota: 20000, CpusetCpus: '0-1' },
  ],
  [
    ['-m', '64m', '--memory-swap', '-1', '--memory-reservation', '1g', '--shm-size', '1k'],
    { Memory: 64 << 20, MemorySwap: -1, MemoryReservation: 1 << 30, ShmSize: 1024 },
  ],
  [
    ['--pids-limit', '100', '--blkio-weight', '10', '--oom-score-adj', '5'],
    { PidsLimit: 100, BlkioWeight: 10, OomScoreAdj: 5 },
  ],
  [['--cap-add', 'A', '--cap-add', 'B', '--cap-drop', 'ALL'], { CapAdd: ['A', 'B'], CapDrop: ['ALL'] }],
  [
    ['--ulimit', 'nofile=1:2', '--ulimit', 'core=0'],
    {
      Ulimits: [
        { Name: 'nofile', Soft: 1, Hard: 2 },
        { Name: 'core', Soft: 0, Hard: 0 },
      ],
    },
  ],
  [['--sysctl', 'net.b=1', '--annotation', 'k=v'], { Sysctls: { 'net.b': '1' }, Annotations: { k: 'v' } }],
  [
    [
      '--pid',
      'host',
      '--ipc',
      'shareable',
      '--uts',
      'host',
      '--userns',
      'host',
      '--cgroupns',
      'private',
      '--net',
      'container:x',
    ],
    {
      PidMode: 'host',
      IpcMode: 'shareable',
      UTSMode: 'host',
      UsernsMode: 'host',
      CgroupnsMode: 'private',
      NetworkMode: 'container:x',
    },
  ],
  [
    ['--device', '/dev/null:/dev/mynull:r', '--device', '/dev/fuse', '--device', '/dev/kvm:rw'],
    {
      Devices: [
        { PathOnHost: '/dev/null', PathInContainer: '/dev/mynull', CgroupPermissions: 'r' },
        { PathOnHost: '/dev/fuse', PathInContainer: '/dev/fuse', CgroupPermissions: 'rwm' },
        { PathOnHost: '/dev/kvm', PathInContainer: '/dev/kvm', CgroupPermissions: 'rw' },
      ],
    },
  ],
  [
    ['--device-read-bps', '/dev/vda:1mb', '--device-write-iops', '/dev/vda:10'],
    {
      BlkioDeviceReadBps: [{ Path: '/dev/vda', Rate: 1 << 20 }],
      BlkioDeviceWriteIOps: [{ Path: '/dev/vda', Rate: 10 }],
    },
  ],
  [['--restart', 'on-failure:3'], { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 } }],
  [
    ['-p', '80', '-P', '--dns', '1.1.1.1', '--add-host', 'a=1.2.3.4', '--link', 'x:y'],
    {
      PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '' }] },
      PublishAllPorts: true,
      Dns: ['1.1.1.1'],
      ExtraHosts: ['a:1.2.3.4'],
      Links: ['x:y'],
    },
  ],
  [
    ['--log-driver', 'none', '--log-opt', 'a=b', '--runtime', 'r', '--storage-opt', 'size=1g'],
    { LogConfig: { Type: 'none', Config: { a: 'b' } }, Runtime: 'r', StorageOpt: { size: '1g' } },
  ],
  [['--gpus', 'all'], { DeviceRequests: [{ Count: -1, Capabilities: [['gpu']] }] }],
])('HostConfig of %j', (words, want) => {
  expect(body(...words).HostConfig).toMatchObject(want);
});

test('every flag of run makes a body that the server can read', () => {
  const sample = {
    bool: [],
    bytes: ['6m'],
    decimal: ['1'],
    duration: ['1s'],
    int: ['1'],
    list: ['x'],
    map: ['a=b'],
    string: ['x'],
    uint16: ['10'],
    ulimit: ['nofile=1'],
  };
  const own: Record<string, string> = {
    'add-host': 'a:1.2.3.4',
    attach: 'stdout',
    env: 'A=b',
    expose: '80',
    label: 'a=b',
    mount: 'type=tmpfs,dst=/x',
    publish: '80',
    device: '/dev/null',
    pid: 'host',
    uts: 'host',
    userns: 'host',
    cgroupns: 'host',
    restart: 'always',
    'device-cgroup-rule': 'c 1:3 rwm',
    dns: '192.0.2.1',
    sysctl: 'net.a=b',
    'mac-address': '02:00:00:00:00:01',
  };
  const rate = (name: string): string =>
    (name.startsWith('device-') && name !== 'device-cgroup-rule') || name === 'blkio-weight-device'
      ? '/dev/vda:10'
      : 'x';
  let count = 0;
  for (const flag of RUN_FLAGS) {
    const value = own[flag.name] ?? (flag.kind === 'list' ? rate(flag.name) : sample[flag.kind][0]);
    body(value === undefined ? `--${flag.name}` : `--${flag.name}=${value}`);
    count += 1;
  }
  expect(count).toBe(RUN_FLAGS.length);
});

test.each([
  [['--rm', '--restart', 'always'], 'conflicting options: cannot specify both --restart and --rm'],
  [['--rm', '--restart', 'on-failure:x'], 'invalid restart policy format: maximum retry count must be an integer'],
  [['--mac-address', 'xx'], 'xx is not a valid mac address'],
  [['--pid', 'foo'], '--pid: invalid PID mode'],
  [['--uts', 'foo'], '--uts: invalid UTS mode'],
  [['--userns', 'foo'], '--userns: invalid USER mode'],
  [['--cgroupns', 'foo'], '--cgroupns: invalid CGROUP mode'],
  [['--device', 'foo'], 'foo is not an absolute path'],
  [['-v', ''], 'invalid empty volume spec'],
  [['-p', '80:x'], 'invalid containerPort: x'],
  [['--no-healthcheck', '--health-cmd', 'x'], '--no-healthcheck conflicts with --health-* options'],
])("containerBody() refuses %j in Docker's words", (words, why) => {
  expect(() => body(...words)).toThrow(why);
});

test.each([
  ['x', '/c/x'],
  ['./x/../y', '/c/y'],
  ['/a/./b//c', '/a/b/c'],
  ['../../..', '/'],
])('absolute() of %s beneath /c', (path, want) => {
  expect(absolute(path, '/c')).toBe(want);
});
