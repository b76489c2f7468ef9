// What a user wants, as the API gives it, and which of Docker's fields the planner knows.
import type { ContainerCreateBody, ExecCreateBody, UpdateBody } from '../spec/docker-api.ts';
import type { HostConfig, HostField } from '../spec/docker-config.ts';
import { isZero } from '../spec/json.ts';
import { type Noted, noted, notYet, refuse } from './reason.ts';

/** `body` as the user gave it, the image's configuration not merged in. */
export type Intent = { readonly body: ContainerCreateBody };
/** An exec in a container: its own body and the container's intent. */
export type ExecIntent = { readonly exec: ExecCreateBody; readonly body: ContainerCreateBody };
/** An update of a container whose intent is `body`, with earlier updates in it. */
export type UpdateIntent = { readonly update: UpdateBody; readonly body: ContainerCreateBody };

/** `plan`: read here. `engine`: what the engine does itself. `nothing`: means nothing on Linux, or nothing here. A text: why it is refused. */
type Fate = 'plan' | 'engine' | 'nothing' | { readonly refused: string };

const NETWORKS = { refused: 'networks other than none, host and container:NAME are not there yet' };
const PORTS = { refused: 'publishing ports is not there yet' };

const FATE: Readonly<Record<HostField, Fate>> = {
  Annotations: 'engine',
  AutoRemove: 'engine',
  Binds: 'plan',
  BlkioDeviceReadBps: 'plan',
  BlkioDeviceReadIOps: 'plan',
  BlkioDeviceWriteBps: 'plan',
  BlkioDeviceWriteIOps: 'plan',
  BlkioWeight: 'plan',
  BlkioWeightDevice: 'plan',
  CapAdd: 'plan',
  CapDrop: 'plan',
  Cgroup: { refused: '--cgroup is a word of Podman and not there' },
  CgroupParent: { refused: "--cgroup-parent: the helper chooses the cgroup, so that nobody's own is touched" },
  CgroupnsMode: 'plan',
  ConsoleSize: 'plan',
  ContainerIDFile: 'engine',
  CpuCount: 'nothing',
  CpuPercent: 'nothing',
  CpuPeriod: 'plan',
  CpuQuota: 'plan',
  CpuRealtimePeriod: 'plan',
  CpuRealtimeRuntime: 'plan',
  CpuShares: 'plan',
  CpusetCpus: 'plan',
  CpusetMems: 'plan',
  DeviceCgroupRules: 'plan',
  DeviceRequests: 'plan',
  Devices: 'plan',
  Dns: 'plan',
  DnsOptions: 'plan',
  DnsSearch: 'plan',
  ExtraHosts: 'plan',
  GroupAdd: 'plan',
  IOMaximumBandwidth: 'nothing',
  IOMaximumIOps: 'nothing',
  Init: 'plan',
  IpcMode: 'plan',
  Isolation: 'engine',
  KernelMemory: { refused: '--kernel-memory: kernels since 5.4 have it no more' },
  KernelMemoryTCP: { refused: '--kernel-memory-tcp is not there yet' },
  Links: NETWORKS,
  LogConfig: 'engine',
  MaskedPaths: 'plan',
  Memory: 'plan',
  MemoryReservation: 'plan',
  MemorySwap: 'plan',
  MemorySwappiness: 'plan',
  Mounts: 'plan',
  NanoCpus: 'plan',
  NetworkMode: 'plan',
  OomKillDisable: 'plan',
  OomScoreAdj: 'plan',
  PidMode: 'plan',
  PidsLimit: 'plan',
  PortBindings: PORTS,
  Privileged: 'plan',
  PublishAllPorts: PORTS,
  ReadonlyPaths: 'plan',
  ReadonlyRootfs: 'plan',
  RestartPolicy: 'engine',
  Runtime: 'engine',
  SecurityOpt: 'plan',
  ShmSize: 'plan',
  StorageOpt: { refused: '--storage-opt is not there yet' },
  Sysctls: 'plan',
  Tmpfs: 'plan',
  UTSMode: 'plan',
  Ulimits: 'plan',
  UsernsMode: 'plan',
  VolumeDriver: 'nothing',
  VolumesFrom: 'plan',
};

/** Throws not_implemented for a field that is set and that nobody here would follow. A new field of HostConfig must be given a fate. */
export function checkFields(host: HostConfig): void {
  for (const [field, fate] of Object.entries(FATE) as [HostField, Fate][]) {
    if (typeof fate === 'object' && !isZero(host[field])) notYet(`HostConfig.${field}: ${fate.refused}`);
  }
}

/** The network is none, host or a container's, and these have no addresses to choose. Source of the texts: moby v28.2 runconfig/errors.go. */
export function checkEndpoints(body: ContainerCreateBody): void {
  const endpoints = Object.entries(body.NetworkingConfig.EndpointsConfig ?? {});
  const mode = body.HostConfig.NetworkMode || 'default';
  const other = endpoints.map(([name]) => name).find((name) => name !== mode && endpoints.length > 1);
  if (other !== undefined) notYet(`network ${other}: one network at most`, 'use none, host or container:NAME');
  for (const [, { IPAMConfig: addresses, Aliases, Links, MacAddress }] of endpoints) {
    if (Object.values(addresses ?? {}).some((one) => !isZero(one)))
      refuse('user specified IP address is supported on user defined networks only');
    if (!isZero(Aliases)) refuse('network-scoped alias is supported only for containers in user defined networks');
    if (!isZero(Links)) notYet(`links: ${NETWORKS.refused}`);
    if (MacAddress !== '') notYet(`--mac-address: ${NETWORKS.refused}`);
  }
  if ((body.MacAddress ?? '') !== '') notYet(`--mac-address: ${NETWORKS.refused}`);
}

const SHORTEST_NS = 1_000_000;

/** Source: moby v28.2, daemon/container.go validateHealthCheck. */
export function checkHealth({ Healthcheck: health }: ContainerCreateBody): Noted<null> {
  if (health === undefined) return noted(null);
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const value = health[field] ?? 0;
    if (value !== 0 && value < SHORTEST_NS) refuse(`${field} in Healthcheck cannot be less than 1ms`);
  }
  if ((health.Retries ?? 0) < 0) refuse('Retries in Healthcheck cannot be negative');
  const [kind = 'NONE'] = health.Test ?? [];
  return noted(null, [], kind === 'NONE' ? [] : ['health checks are not run yet: the container has no health']);
}

/** Throws bad_parameter for a NUL in any text: the kernel would end the text there. `whose` begins the path in the message. */
export function checkTexts(value: unknown, whose: string): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) refuse(`${whose}: it holds a NUL byte`);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [key, item] of Object.entries(value)) {
    if (key.includes('\0')) refuse(`${whose}: a key holds a NUL byte`);
    checkTexts(item, `${whose}.${key}`);
  }
}
