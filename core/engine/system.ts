// `info`, `version`, `whoami`: this engine, this machine, and who the helper takes us for.
import { arch, cpus, hostname, release, totalmem } from 'node:os';
import { ImageForm } from '../../proto/gen/berth/helper/v1/request.ts';
import { API_VERSION, API_VERSION_MIN, type SystemInfo, type SystemVersion, systemInfo } from '../spec/docker-api.ts';
import { readSetting, writeSetting } from '../store/settings.ts';
import { statusOf } from './container.ts';
import type { Context } from './context.ts';
import { doctor } from './doctor.ts';
import type { Identity, System } from './engine.ts';
import { readText } from './host-facts.ts';
import { VERSION } from './version.ts';
import { randomUUID } from 'node:crypto';

export type SystemParts = {
  readonly context: Context;
  readonly keyId: string;
  readonly insecureRegistries: readonly string[];
};

export function makeSystem(parts: SystemParts): System {
  return {
    info: async () => info(parts),
    version: async () => version(parts.context),
    whoami: async () => whoami(parts),
    doctor: async () => doctor(parts.context),
  };
}

const KERNEL_ARCH: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };
const GO_ARCH: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

function operatingSystem(): string {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readText('/etc/os-release'))?.[1] ?? 'Linux';
}

function idOf(context: Context): string {
  const known = readSetting(context.store, 'id');
  if (known !== undefined) return known;
  const made = randomUUID();
  writeSetting(context.store, 'id', made);
  return made;
}

function info({ context, insecureRegistries }: SystemParts): SystemInfo {
  const { hello, problem } = context.link.known();
  const statuses = [...context.containers.values()].map(statusOf);
  const count = (...wanted: string[]): number => statuses.filter((status) => wanted.includes(status)).length;
  const controllers = hello?.cgroups?.controllers ?? [];
  const form = hello?.imageForm === ImageForm.IMAGE_FORM_EROFS ? 'erofs, not unpacked' : 'plain directories';
  return {
    ...systemInfo.zero(),
    ID: idOf(context),
    Containers: statuses.length,
    ContainersRunning: count('running'),
    ContainersPaused: count('paused'),
    ContainersStopped: count('created', 'exited', 'removing', 'restarting'),
    Images: context.store.images.size,
    Driver: 'berth',
    DriverStatus: [
      ['Images', form],
      ['Mode', hello?.rootless === true ? 'rootless' : 'helper'],
    ],
    Plugins: { Volume: [], Network: ['none', 'host'], Authorization: null, Log: ['json-file', 'local', 'none'] },
    MemoryLimit: controllers.includes('memory'),
    SwapLimit: controllers.includes('memory'),
    CpuCfsPeriod: controllers.includes('cpu'),
    CpuCfsQuota: controllers.includes('cpu'),
    CPUShares: controllers.includes('cpu'),
    CPUSet: controllers.includes('cpuset'),
    PidsLimit: controllers.includes('pids'),
    IPv4Forwarding: readText('/proc/sys/net/ipv4/ip_forward').trim() === '1',
    OomKillDisable: hello?.cgroups?.version === 1 && controllers.includes('memory'),
    SystemTime: new Date().toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: hello?.cgroups?.version === 2 ? '2' : '1',
    KernelVersion: release(),
    OperatingSystem: operatingSystem(),
    OSVersion: /^VERSION_ID="?([^"\n]*)"?$/m.exec(readText('/etc/os-release'))?.[1] ?? '',
    OSType: 'linux',
    Architecture: KERNEL_ARCH[arch()] ?? arch(),
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      InsecureRegistryCIDRs: ['127.0.0.0/8', '::1/128', ...insecureRegistries],
      IndexConfigs: { 'docker.io': { Name: 'docker.io', Mirrors: [], Secure: true, Official: true } },
      Mirrors: [],
    },
    NCPU: cpus().length,
    MemTotal: totalmem(),
    DockerRootDir: context.dir,
    HttpProxy: process.env['HTTP_PROXY'] ?? '',
    HttpsProxy: process.env['HTTPS_PROXY'] ?? '',
    NoProxy: process.env['NO_PROXY'] ?? '',
    Name: hostname(),
    ServerVersion: VERSION,
    Runtimes: { berth: {}, runc: {} },
    DefaultRuntime: 'berth',
    Swarm: { NodeID: '', NodeAddr: '', LocalNodeState: 'inactive', ControlAvailable: false, Error: '' },
    SecurityOptions: [
      'name=seccomp,profile=builtin',
      'name=userns',
      ...(hello?.rootless === true ? ['name=rootless'] : []),
    ],
    Warnings: problem === undefined ? null : [`WARNING: the helper does not answer: ${problem}`],
  };
}

function version(context: Context): SystemVersion {
  const { hello } = context.link.known();
  const helper =
    hello === undefined
      ? []
      : [
          {
            Name: 'Helper',
            Version: hello.version,
            Details: { Pid: String(hello.helperPid), KeeperPid: String(hello.keeperPid), Slot: String(hello.slot) },
          },
        ];
  const common = {
    Os: 'linux',
    Arch: GO_ARCH[arch()] ?? arch(),
    KernelVersion: release(),
    BuildTime: '',
    GitCommit: '',
    GoVersion: '',
  };
  return {
    ...common,
    Platform: { Name: 'Berth' },
    Components: [
      {
        Name: 'Engine',
        Version: VERSION,
        Details: {
          ApiVersion: API_VERSION,
          MinAPIVersion: API_VERSION_MIN,
          Arch: common.Arch,
          KernelVersion: common.KernelVersion,
          Os: 'linux',
          Node: process.version,
        },
      },
      ...helper,
    ],
    Version: VERSION,
    ApiVersion: API_VERSION,
    MinAPIVersion: API_VERSION_MIN,
  };
}

function whoami({ context, keyId }: SystemParts): Identity {
  const { hello, problem } = context.link.known();
  const profiles = hello?.profiles ?? [];
  const [principal = '', profile = ''] = (profiles[0] ?? '').split('/');
  const helper =
    hello === undefined || problem !== undefined
      ? undefined
      : { version: hello.version, pid: hello.helperPid, keeperPid: hello.keeperPid, slot: hello.slot };
  return {
    uid: process.getuid?.() ?? 0,
    principal,
    profile,
    profiles,
    keyId,
    rootless: hello?.rootless ?? false,
    helper,
    problem,
  };
}
