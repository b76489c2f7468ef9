// The unmodified docker CLI sends a create body with every flag that we model: we know each field of it, and read what was meant.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  API_VERSION,
  type ContainerCreateBody,
  hostFieldsSet,
  readContainerCreate,
} from '../../../core/spec/docker-api.ts';
import { suite, tool } from '../../kit/need.ts';

type Sent = { readonly body: ContainerCreateBody; readonly unknown: readonly string[]; readonly query: string };

/** What `docker create` with these words sends to an engine. */
async function sent(...words: string[]): Promise<Sent> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-cli-'));
  let found: Sent | undefined;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const url = request.url ?? '';
      response.setHeader('api-version', API_VERSION);
      response.setHeader('ostype', 'linux');
      response.setHeader('content-type', 'application/json');
      if (request.method === 'POST' && url.includes('/containers/create')) {
        found = { ...readContainerCreate(JSON.parse(Buffer.concat(chunks).toString())), query: url };
        response.statusCode = 201;
      }
      response.end(url.endsWith('_ping') ? 'OK' : JSON.stringify({ Id: 'x', Warnings: [], OSType: 'linux' }));
    });
  });
  await new Promise<void>((done) => server.listen(join(dir, 's'), done));
  try {
    const env = { ...process.env, DOCKER_HOST: `unix://${join(dir, 's')}`, DOCKER_CONFIG: dir };
    await new Promise<void>((done, failed) =>
      execFile('docker', ['create', ...words], { env, timeout: 20_000 }, (error) =>
        error && !found ? failed(error) : done(),
      ),
    );
  } finally {
    server.close();
    server.closeAllConnections();
    rmSync(dir, { recursive: true });
  }
  if (found === undefined) throw new Error('docker create sent no body');
  return found;
}

suite('docker create', [tool('docker', 'docker.io')], () => {
  test('plain: nothing unknown, and only the fields that the CLI always sets', async () => {
    const { body, unknown } = await sent('img', 'sh', '-c', 'x');
    expect(unknown).toEqual([]);
    expect([body.Image, body.Cmd, body.Entrypoint]).toEqual(['img', ['sh', '-c', 'x'], null]);
    const always = ['NetworkMode', 'RestartPolicy', 'ConsoleSize', 'CgroupnsMode'];
    expect(
      hostFieldsSet(body.HostConfig).filter((name) => !always.includes(name) && name !== 'MemorySwappiness'),
    ).toEqual([]);
  });

  test('with every flag that we model', async () => {
    const words =
      '-i -t --name n -e A=1 -w /w -u 1:2 -h host --domainname dom --entrypoint /e --init -v /a:/b:ro -v named:/c --mount type=bind,source=/tmp,target=/m,readonly,bind-propagation=rslave --mount type=tmpfs,target=/t,tmpfs-size=1048576,tmpfs-mode=1770 --mount type=volume,source=v,target=/v,volume-nocopy --tmpfs /tt:size=64k --read-only --cpus 1.5 --cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0 -m 64m --memory-swap 128m --memory-reservation 32m --pids-limit 7 --blkio-weight 300 --device-read-bps /dev/null:1mb --device-write-bps /dev/null:2mb --device-read-iops /dev/null:10 --device-write-iops /dev/null:20 --cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges --ulimit nofile=10:20 --sysctl net.ipv4.ip_forward=1 --privileged --pid host --ipc host --uts host --userns host --cgroupns private --network none --stop-signal INT --stop-timeout 3 --label a=b --restart on-failure:3 --shm-size 1m --group-add 5 --oom-score-adj 9 --device /dev/null:/dev/x:r --log-driver json-file --log-opt max-size=1m --memory-swappiness 5 --annotation k=v --health-cmd true --health-interval 3s --expose 80 -p 127.0.0.1:81:80/tcp --add-host h:1.2.3.4 --dns 1.1.1.1 --dns-search d --dns-option o --cgroup-parent /p --link-local-ip 169.254.1.1 --runtime r --storage-opt size=1G --volumes-from other --volume-driver local --gpus all --device-cgroup-rule';
    const { body, unknown, query } = await sent(...words.split(' '), 'c 1:3 r', 'img');
    expect(unknown).toEqual([]);
    expect(query).toContain('name=n');
    const { HostConfig: host, ...config } = body;
    expect(config).toMatchObject({
      Hostname: 'host',
      Domainname: 'dom',
      User: '1:2',
      Tty: true,
      OpenStdin: true,
      Env: ['A=1'],
      WorkingDir: '/w',
      Entrypoint: ['/e'],
      Labels: { a: 'b' },
      StopSignal: 'INT',
      StopTimeout: 3,
      ExposedPorts: { '80/tcp': {} },
      Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 3_000_000_000 },
    });
    expect(host).toMatchObject({
      // The CLI keeps them in a map: their order is chance.
      Binds: expect.toSatisfy((binds: string[]) => binds.toSorted().join() === '/a:/b:ro,named:/c'),
      Mounts: [
        { Type: 'bind', Source: '/tmp', Target: '/m', ReadOnly: true, BindOptions: { Propagation: 'rslave' } },
        { Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1_048_576, Mode: 0o1770 } },
        { Type: 'volume', Source: 'v', Target: '/v', VolumeOptions: { NoCopy: true } },
      ],
      Tmpfs: { '/tt': 'size=64k' },
      NanoCpus: 1_500_000_000,
      Memory: 64 << 20,
      MemorySwap: 128 << 20,
      MemoryReservation: 32 << 20,
      PidsLimit: 7,
      BlkioWeight: 300,
      BlkioDeviceReadBps: [{ Path: '/dev/null', Rate: 1 << 20 }],
      BlkioDeviceWriteIOps: [{ Path: '/dev/null', Rate: 20 }],
      CapAdd: ['CAP_NET_ADMIN'],
      CapDrop: ['ALL'],
      Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }],
      Sysctls: { 'net.ipv4.ip_forward': '1' },
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
      Devices: [{ PathOnHost: '/dev/null', PathInContainer: '/dev/x', CgroupPermissions: 'r' }],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
      PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '81' }] },
      DeviceRequests: [{ Count: -1, Capabilities: [['gpu']] }],
      Init: true,
      ReadonlyRootfs: true,
      Privileged: true,
    });
    const modes = [host.PidMode, host.IpcMode, host.UTSMode, host.UsernsMode, host.CgroupnsMode, host.NetworkMode];
    expect(modes).toEqual(['host', 'host', 'host', 'host', 'private', 'none']);
    expect(hostFieldsSet(host).length).toBeGreaterThanOrEqual(50);
  });

  test('--rm, --cpu-quota and --cpu-period', async () => {
    const { body } = await sent('--rm', '--cpu-quota', '50000', '--cpu-period', '100000', 'img');
    expect([body.HostConfig.AutoRemove, body.HostConfig.CpuQuota, body.HostConfig.CpuPeriod]).toEqual([
      true,
      50_000,
      100_000,
    ]);
  });
});
