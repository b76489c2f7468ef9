// Real peers for comparison: a private dockerd, crun's bundle. Everything lies beneath a directory of the caller's and ends with it.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export type Daemon = {
  readonly host: string;
  readonly cli: (...args: string[]) => string;
  readonly stop: () => Promise<void>;
};

/** Whether a command is on PATH. */
export function installed(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' }).status === 0;
}

/**
 * Starts Debian's dockerd with its own data, socket and no touch of the host's firewall (network `none` and `host` only).
 * Source: dockerd(8). Throws with the log's path when it does not answer within 30 s.
 */
export async function startDockerd(dir: string): Promise<Daemon> {
  mkdirSync(dir, { recursive: true });
  const host = `unix://${join(dir, 'docker.sock')}`;
  const log = openSync(join(dir, 'dockerd.log'), 'a');
  const args = [
    '--data-root',
    join(dir, 'data'),
    '--exec-root',
    join(dir, 'exec'),
    '--pidfile',
    join(dir, 'pid'),
    '-H',
    host,
    '--bridge=none',
    '--iptables=false',
  ];
  const child = spawn('dockerd', args, { stdio: ['ignore', log, log] });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const env = { ...process.env, DOCKER_HOST: host };
  for (let tries = 0; tries < 300; tries++) {
    if (spawnSync('docker', ['version'], { env, stdio: 'ignore' }).status === 0) break;
    if (tries === 299 || child.exitCode !== null)
      throw new Error(`dockerd does not answer: see ${join(dir, 'dockerd.log')}`);
    await sleep(100);
  }
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await Promise.race([exited, sleep(20_000).then(() => child.kill('SIGKILL'))]);
    // its containerd leaves network namespaces and mounts of the exec root behind
    for (const line of execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' }).split('\n').reverse()) {
      const target = line.split(' ')[4];
      if (target?.startsWith(`${dir}/`)) spawnSync('umount', ['-l', target]);
    }
  };
  return {
    host,
    cli: (...words) =>
      execFileSync('docker', words, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim(),
    stop,
  };
}

/** The hugetlb hierarchy that podman and crun insist on where controllers are mounted one by one. Left mounted: it holds nothing. */
export function mountHugetlb(): void {
  const target = '/sys/fs/cgroup/hugetlb';
  if (existsSync(join(target, 'cgroup.procs')) || existsSync('/sys/fs/cgroup/cgroup.controllers')) return;
  mkdirSync(target, { recursive: true });
  spawnSync('mount', ['-t', 'cgroup', '-o', 'hugetlb', 'cgroup', target]);
}

/** Writes crun's config.json into `bundle`, whose rootfs lies at `rootfs`: the namespaces, user namespace, caps, seccomp and limits that our default has. */
export function writeBundle(bundle: string, rootfs: string, argv: readonly string[]): void {
  mkdirSync(bundle, { recursive: true });
  const seccomp = existsSync('/usr/share/containers/seccomp.json')
    ? convertProfile(execFileSync('cat', ['/usr/share/containers/seccomp.json'], { encoding: 'utf8' }))
    : undefined;
  const caps = [
    'CHOWN',
    'DAC_OVERRIDE',
    'FSETID',
    'FOWNER',
    'MKNOD',
    'NET_RAW',
    'SETGID',
    'SETUID',
    'SETFCAP',
    'SETPCAP',
    'NET_BIND_SERVICE',
    'SYS_CHROOT',
    'KILL',
    'AUDIT_WRITE',
  ].map((c) => `CAP_${c}`);
  const map = [{ containerID: 0, hostID: 0x30000000, size: 65536 }];
  const config = {
    ociVersion: '1.0.2',
    process: {
      args: argv,
      cwd: '/',
      env: ['PATH=/bin'],
      user: { uid: 0, gid: 0 },
      noNewPrivileges: false,
      capabilities: { bounding: caps, effective: caps, permitted: caps },
    },
    root: { path: rootfs, readonly: false },
    hostname: 'bench',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
      },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    ],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'user', 'cgroup'].map((type) => ({ type })),
      uidMappings: map,
      gidMappings: map,
      maskedPaths: [
        '/proc/acpi',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/timer_list',
        '/proc/scsi',
        '/sys/firmware',
      ],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      resources: { pids: { limit: 1000 }, cpu: { shares: 1024 } },
      ...(seccomp ? { seccomp } : {}),
    },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
}

type Rule = {
  names: string[];
  action: string;
  args?: unknown[];
  includes?: { caps?: string[]; arches?: string[] };
  excludes?: { caps?: string[]; arches?: string[] };
  errnoRet?: number;
};

/** The profile of containers-common in the OCI runtime's form: rules that hold for a container without extra capabilities. */
function convertProfile(json: string): unknown {
  const profile = JSON.parse(json) as { defaultAction: string; syscalls: Rule[] };
  const rules = profile.syscalls.filter(
    (rule) => !rule.includes?.caps?.length && !(rule.includes?.arches && !rule.includes.arches.includes('amd64')),
  );
  return {
    defaultAction: profile.defaultAction,
    architectures: ['SCMP_ARCH_X86_64'],
    syscalls: rules.map(({ names, action, args, errnoRet }) => ({
      names,
      action,
      ...(args?.length ? { args } : {}),
      ...(errnoRet === undefined ? {} : { errnoRet }),
    })),
  };
}
