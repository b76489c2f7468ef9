// The flags of run and create to the body of Docker's API. Reads only what it is given; files named by flags are read by create.ts before.
// Source: docker/cli 28.2, cli/command/container/opts.go, parse().
import type { CreateAsk } from '../client/client.ts';
import { readDuration, readRamSize } from '../spec/units.ts';
import { type Given, isOn, listOf, textOf } from './command.ts';
import { readBytesRate, readCountRate, readDevice, readGpus, readWeight } from './device-flags.ts';
import { CliError } from './error.ts';
import { bindPorts, exposePorts } from './port-flags.ts';
import { readMount, readNanoCpus, readUlimit } from './values.ts';

/** What the words say beside the flags, and what was read from files and the environment. */
export type Outside = {
  readonly image: string;
  readonly command: readonly string[];
  /** `--env-file` and `--env`, in the order in which they count. */
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** `--security-opt`, profiles read. */
  readonly securityOpt: readonly string[];
  /** The directory against which relative paths of binds are meant. */
  readonly cwd: string;
};

/** The create body. Throws CliError in Docker's words. */
export function containerBody(given: Given, outside: Outside): CreateAsk {
  checkTogether(given);
  const { command } = outside;
  const entrypoint = textOf(given, 'entrypoint');
  const attached = attachedStreams(given);
  const stdin = isOn(given, 'interactive');
  const ports = exposePorts(listOf(given, 'expose'), listOf(given, 'publish'));
  const rootfs = textOf(given, 'rootfs');
  return {
    Hostname: textOf(given, 'hostname') ?? '',
    Domainname: textOf(given, 'domainname') ?? '',
    User: textOf(given, 'user') ?? '',
    AttachStdin: attached.stdin,
    AttachStdout: attached.stdout,
    AttachStderr: attached.stderr,
    ExposedPorts: Object.keys(ports).length > 0 ? ports : undefined,
    Tty: isOn(given, 'tty'),
    OpenStdin: stdin,
    StdinOnce: stdin && attached.stdin,
    Env: outside.env,
    Cmd: command.length > 0 ? command : null,
    Image: outside.image,
    Volumes: volumesOf(given),
    WorkingDir: textOf(given, 'workdir') ?? '',
    Entrypoint: entrypoint === undefined ? null : [entrypoint],
    Labels: outside.labels,
    StopSignal: textOf(given, 'stop-signal'),
    StopTimeout: wholeOf(given, 'stop-timeout'),
    Healthcheck: healthOf(given),
    ...(rootfs === undefined ? {} : { Rootfs: rootfs }),
    HostConfig: hostConfig(given, outside),
    NetworkingConfig: endpointsOf(given),
  };
}

function checkTogether(given: Given): void {
  const { Name: restart } = restartOf(given);
  if (isOn(given, 'rm') && restart !== 'no' && restart !== '') {
    throw new CliError('conflicting options: cannot specify both --restart and --rm', 125);
  }
  for (const [flag, kind, word] of [
    ['pid', 'PID', 'pid'],
    ['uts', 'UTS', 'uts'],
    ['userns', 'USER', 'userns'],
    ['cgroupns', 'CGROUP', 'cgroupns'],
  ] as const) {
    const value = textOf(given, flag) ?? '';
    const valid = ['', 'host', 'private'].includes(value) || (flag === 'pid' && /^container:.+/.test(value));
    if (!valid || (value === 'private' && flag !== 'cgroupns'))
      throw new CliError(`--${word}: invalid ${kind} mode`, 125);
  }
  const swappiness = wholeOf(given, 'memory-swappiness') ?? -1;
  if (swappiness < -1 || swappiness > 100)
    throw new CliError(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`, 125);
}

/** Which streams are attached: those of `--attach`, else stdout and stderr unless detached, and stdin with `-i`. */
export function attachedStreams(given: Given): { stdin: boolean; stdout: boolean; stderr: boolean } {
  const named = listOf(given, 'attach').map((one) => one.toLowerCase());
  if (named.length > 0)
    return { stdin: named.includes('stdin'), stdout: named.includes('stdout'), stderr: named.includes('stderr') };
  const detached = isOn(given, 'detach');
  return { stdin: isOn(given, 'interactive') && !detached, stdout: !detached, stderr: !detached };
}

function hostConfig(given: Given, outside: Outside): CreateAsk['HostConfig'] {
  const storage = pairs(listOf(given, 'storage-opt'));
  return {
    Binds: bindsOf(given, outside.cwd),
    ContainerIDFile: textOf(given, 'cidfile') ?? '',
    NetworkMode: networksOf(given)[0] ?? 'default',
    PortBindings: bindPorts(listOf(given, 'publish')),
    PublishAllPorts: isOn(given, 'publish-all'),
    RestartPolicy: restartOf(given),
    AutoRemove: isOn(given, 'rm'),
    VolumeDriver: textOf(given, 'volume-driver') ?? '',
    VolumesFrom: orNull(listOf(given, 'volumes-from')),
    Annotations: mapOf(listOf(given, 'annotation')),
    Mounts: mountsOf(given, outside.cwd),
    CapAdd: orNull(listOf(given, 'cap-add')),
    CapDrop: orNull(listOf(given, 'cap-drop')),
    CgroupnsMode: textOf(given, 'cgroupns') ?? '',
    Dns: [...listOf(given, 'dns')],
    DnsOptions: [...listOf(given, 'dns-option'), ...listOf(given, 'dns-opt')],
    DnsSearch: [...listOf(given, 'dns-search')],
    ExtraHosts: orNull(listOf(given, 'add-host').map((one) => one.replace('=', ':'))),
    GroupAdd: orNull(listOf(given, 'group-add')),
    IpcMode: textOf(given, 'ipc') ?? '',
    Links: orNull(listOf(given, 'link')),
    OomScoreAdj: wholeOf(given, 'oom-score-adj') ?? 0,
    PidMode: textOf(given, 'pid') ?? '',
    Privileged: isOn(given, 'privileged'),
    ReadonlyRootfs: isOn(given, 'read-only'),
    SecurityOpt: orNull(outside.securityOpt),
    StorageOpt: Object.keys(storage).length > 0 ? storage : undefined,
    Tmpfs: tmpfsOf(given),
    UTSMode: textOf(given, 'uts') ?? '',
    UsernsMode: textOf(given, 'userns') ?? '',
    ShmSize: sizeOf(given, 'shm-size') ?? 0,
    Sysctls: mapOf(listOf(given, 'sysctl')),
    Runtime: textOf(given, 'runtime') ?? '',
    Isolation: textOf(given, 'isolation') ?? '',
    LogConfig: { Type: textOf(given, 'log-driver') ?? '', Config: pairs(listOf(given, 'log-opt')) },
    ...(given.flags.has('init') ? { Init: isOn(given, 'init') } : {}),
    ...resourcesOf(given),
    Devices: listOf(given, 'device').map(readDevice),
    DeviceCgroupRules: orNull(listOf(given, 'device-cgroup-rule')),
    DeviceRequests: readGpus(textOf(given, 'gpus')),
    BlkioWeightDevice: listOf(given, 'blkio-weight-device').map((one) => readWeight(one).device),
    BlkioDeviceReadBps: listOf(given, 'device-read-bps').map((one) => readBytesRate(one).device),
    BlkioDeviceWriteBps: listOf(given, 'device-write-bps').map((one) => readBytesRate(one).device),
    BlkioDeviceReadIOps: listOf(given, 'device-read-iops').map((one) => readCountRate(one).device),
    BlkioDeviceWriteIOps: listOf(given, 'device-write-iops').map((one) => readCountRate(one).device),
    CgroupParent: textOf(given, 'cgroup-parent') ?? '',
    MemorySwappiness: wholeOf(given, 'memory-swappiness') ?? -1,
    OomKillDisable: isOn(given, 'oom-kill-disable'),
    Ulimits: listOf(given, 'ulimit').map((one) => {
      const { name, soft, hard } = readUlimit(one);
      return { Name: name, Soft: soft, Hard: hard };
    }),
    ...(sizeOf(given, 'kernel-memory') === undefined ? {} : { KernelMemory: sizeOf(given, 'kernel-memory') }),
  };
}

/** The limits that `update` can change, too. */
export function resourcesOf(given: Given) {
  return {
    CpuShares: wholeOf(given, 'cpu-shares') ?? 0,
    Memory: sizeOf(given, 'memory') ?? 0,
    NanoCpus: readNanoCpus(textOf(given, 'cpus') ?? '0').nano,
    BlkioWeight: wholeOf(given, 'blkio-weight') ?? 0,
    CpuPeriod: wholeOf(given, 'cpu-period') ?? 0,
    CpuQuota: wholeOf(given, 'cpu-quota') ?? 0,
    CpuRealtimePeriod: wholeOf(given, 'cpu-rt-period') ?? 0,
    CpuRealtimeRuntime: wholeOf(given, 'cpu-rt-runtime') ?? 0,
    CpusetCpus: textOf(given, 'cpuset-cpus') ?? '',
    CpusetMems: textOf(given, 'cpuset-mems') ?? '',
    MemoryReservation: sizeOf(given, 'memory-reservation') ?? 0,
    MemorySwap: sizeOf(given, 'memory-swap') ?? 0,
    PidsLimit: wholeOf(given, 'pids-limit') ?? 0,
  };
}

/** A whole number that the parser has checked. */
export function wholeOf(given: Given, name: string): number | undefined {
  const text = textOf(given, name);
  return text === undefined ? undefined : Number(text);
}

function sizeOf(given: Given, name: string): number | undefined {
  const text = textOf(given, name);
  if (text === undefined) return undefined;
  const read = readRamSize(text);
  return read.kind === 'size' ? read.bytes : -1;
}

function orNull<T>(list: readonly T[]): readonly T[] | null {
  return list.length === 0 ? null : list;
}

/** `k=v` texts to an object; a text without `=` has an empty value. */
export function pairs(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((one) => {
      const equals = one.indexOf('=');
      return equals < 0 ? [one, ''] : [one.slice(0, equals), one.slice(equals + 1)];
    }),
  );
}

function mapOf(list: readonly string[]): Record<string, string> | undefined {
  return list.length === 0 ? undefined : pairs(list);
}

/** `--restart NAME[:COUNT]`. Throws CliError. */
export function restartOf(given: Given): { Name: string; MaximumRetryCount: number } {
  const [name = '', count, ...more] = (textOf(given, 'restart') ?? 'no').split(':');
  if (more.length > 0 || (count !== undefined && name === ''))
    throw new CliError('invalid restart policy format: no policy provided before colon', 125);
  if (count !== undefined && !/^[+-]?\d+$/.test(count))
    throw new CliError('invalid restart policy format: maximum retry count must be an integer', 125);
  return { Name: name, MaximumRetryCount: Number(count ?? 0) };
}

/** `-v` without a colon is an anonymous volume. */
function volumesOf(given: Given): Record<string, unknown> {
  const anonymous = listOf(given, 'volume').filter((one) => !one.includes(':'));
  if (anonymous.includes('')) throw new CliError('invalid empty volume spec', 125);
  return Object.fromEntries(anonymous.map((one) => [one, {}]));
}

/** Relative sources are meant from where the user stands, and only the CLI knows that. */
function bindsOf(given: Given, cwd: string): readonly string[] | null {
  const binds = listOf(given, 'volume').filter((one) => one.includes(':'));
  return orNull(
    binds.map((one) =>
      /^\.{1,2}(\/|:)/.test(one) ? absolute(one.slice(0, one.indexOf(':')), cwd) + one.slice(one.indexOf(':')) : one,
    ),
  );
}

/** A path made absolute without looking at the file system: `.` and `..` are resolved by their text. */
export function absolute(path: string, cwd: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${cwd}/${path}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function mountsOf(given: Given, cwd: string): NonNullable<CreateAsk['HostConfig']>['Mounts'] {
  const mounts = listOf(given, 'mount').map((one) => {
    const { mount } = readMount(one);
    const relative = mount.Type === 'bind' && mount.Source !== undefined && mount.Source.startsWith('.');
    return relative ? { ...mount, Source: absolute(mount.Source ?? '', cwd) } : mount;
  });
  return mounts.length === 0 ? undefined : (mounts as NonNullable<NonNullable<CreateAsk['HostConfig']>['Mounts']>);
}

function tmpfsOf(given: Given): Record<string, string> | undefined {
  const list = listOf(given, 'tmpfs');
  if (list.length === 0) return undefined;
  return Object.fromEntries(
    list.map((one) => {
      const colon = one.indexOf(':');
      return colon < 0 ? [one, ''] : [one.slice(0, colon), one.slice(colon + 1)];
    }),
  );
}

function healthOf(given: Given): CreateAsk['Healthcheck'] {
  const command = textOf(given, 'health-cmd');
  const nanoseconds = (name: string): number | undefined => {
    const text = textOf(given, name);
    return text === undefined ? undefined : Math.round((readDuration(text) ?? 0) * 1e6);
  };
  const rest = {
    Interval: nanoseconds('health-interval'),
    Timeout: nanoseconds('health-timeout'),
    StartPeriod: nanoseconds('health-start-period'),
    StartInterval: nanoseconds('health-start-interval'),
    Retries: wholeOf(given, 'health-retries'),
  };
  const any = command !== undefined || Object.values(rest).some((one) => one !== undefined);
  if (isOn(given, 'no-healthcheck')) {
    if (any) throw new CliError('--no-healthcheck conflicts with --health-* options', 125);
    return { Test: ['NONE'] };
  }
  return any ? { ...rest, Test: command === undefined ? undefined : ['CMD-SHELL', command] } : undefined;
}

/** The settings of the flags are the first network's. Undefined where nothing is to be said beside the network's name. */
function endpointsOf(given: Given): CreateAsk['NetworkingConfig'] {
  const networks = networksOf(given);
  const mac = textOf(given, 'mac-address') ?? '';
  if (mac !== '' && !/^[0-9a-fA-F]{2}(([:-])[0-9a-fA-F]{2}){5}$/.test(mac.trim()))
    throw new CliError(`${mac} is not a valid mac address`, 125);
  const aliases = [...listOf(given, 'network-alias'), ...listOf(given, 'net-alias')];
  const addresses = {
    IPv4Address: textOf(given, 'ip'),
    IPv6Address: textOf(given, 'ip6'),
    LinkLocalIPs: listOf(given, 'link-local-ip'),
  };
  const hasAddress = addresses.IPv4Address || addresses.IPv6Address || addresses.LinkLocalIPs.length > 0;
  const settings = {
    ...(hasAddress ? { IPAMConfig: addresses } : {}),
    ...(aliases.length > 0 ? { Aliases: aliases } : {}),
    ...(mac === '' ? {} : { MacAddress: mac }),
  };
  if (networks.length < 2 && Object.keys(settings).length === 0) return undefined;
  const [first = 'default', ...others] = networks;
  const all = [[first, settings], ...others.map((name) => [name, {}])] as const;
  return { EndpointsConfig: Object.fromEntries(all) } as CreateAsk['NetworkingConfig'];
}

function networksOf(given: Given): string[] {
  return [...listOf(given, 'network'), ...listOf(given, 'net')];
}
