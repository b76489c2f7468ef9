// A container's Config, HostConfig, state, mounts and networks as they are on Docker's wire (API 1.41 to 1.51): for requests,
// answers and our own records. A list or map may be null: Docker gives back what it was given. Source: moby api/types/container, config.go and hostconfig.go, v28.3.
import {
  bool,
  dict,
  int,
  list,
  nullable,
  object,
  type Of,
  omitempty,
  optional,
  raw,
  text,
  textDict,
  texts,
  words,
} from './json.ts';

/** Durations in nanoseconds; 0 means inherit. `Test`: ["NONE"], ["CMD", …] or ["CMD-SHELL", line]. */
export const healthConfig = object({
  Test: omitempty(texts),
  Interval: omitempty(int),
  Timeout: omitempty(int),
  StartPeriod: omitempty(int),
  StartInterval: omitempty(int),
  Retries: omitempty(int),
});
export type HealthConfig = Of<typeof healthConfig>;

/** The fields of Config; a create body has them beside HostConfig. */
export const configFields = {
  Hostname: text,
  Domainname: text,
  User: text,
  AttachStdin: bool,
  AttachStdout: bool,
  AttachStderr: bool,
  /** Keys as `80/tcp`. */
  ExposedPorts: omitempty(dict(raw)),
  Tty: bool,
  OpenStdin: bool,
  StdinOnce: bool,
  Env: texts,
  /** Null: the image's. Both may come as one string. */
  Cmd: words,
  Healthcheck: optional(healthConfig),
  ArgsEscaped: omitempty(bool),
  Image: text,
  /** Keys are paths; values are ignored, but docker-py's low level puts `bind` there. */
  Volumes: dict(raw),
  WorkingDir: text,
  /** Null: the image's; [""] or []: none. */
  Entrypoint: words,
  NetworkDisabled: omitempty(bool),
  MacAddress: omitempty(text),
  OnBuild: texts,
  Labels: textDict,
  StopSignal: omitempty(text),
  /** Seconds; -1: wait forever. */
  StopTimeout: optional(int),
  Shell: omitempty(words),
};
export const containerConfig = object(configFields);
export type ContainerConfig = Of<typeof containerConfig>;

const weightDevice = object({ Path: text, Weight: int });
const throttleDevice = object({ Path: text, Rate: int });
export type ThrottleDevice = Of<typeof throttleDevice>;
const deviceMapping = object({ PathOnHost: text, PathInContainer: text, CgroupPermissions: text });
export type DeviceMapping = Of<typeof deviceMapping>;
const deviceRequest = object({
  Driver: text,
  Count: int,
  DeviceIDs: texts,
  Capabilities: list(texts),
  Options: textDict,
});
const ulimit = object({ Name: text, Hard: int, Soft: int });
export type Ulimit = Of<typeof ulimit>;

/** Limits that `update` may change too. Bytes, microseconds and shares as in Docker. */
export const resourceFields = {
  CpuShares: int,
  Memory: int,
  /** Billionths of a CPU: --cpus 1.5 is 1500000000. */
  NanoCpus: int,
  CgroupParent: text,
  BlkioWeight: int,
  BlkioWeightDevice: list(weightDevice),
  BlkioDeviceReadBps: list(throttleDevice),
  BlkioDeviceWriteBps: list(throttleDevice),
  BlkioDeviceReadIOps: list(throttleDevice),
  BlkioDeviceWriteIOps: list(throttleDevice),
  CpuPeriod: int,
  CpuQuota: int,
  CpuRealtimePeriod: int,
  CpuRealtimeRuntime: int,
  CpusetCpus: text,
  CpusetMems: text,
  Devices: list(deviceMapping),
  DeviceCgroupRules: texts,
  DeviceRequests: list(deviceRequest),
  KernelMemory: omitempty(int),
  KernelMemoryTCP: omitempty(int),
  MemoryReservation: int,
  /** Memory plus swap; -1: no limit of swap. */
  MemorySwap: int,
  /** Null or -1: not set. */
  MemorySwappiness: nullable(int),
  OomKillDisable: nullable(bool),
  /** Null, 0 and -1: no limit. */
  PidsLimit: nullable(int),
  Ulimits: list(ulimit),
  CpuCount: int,
  CpuPercent: int,
  IOMaximumIOps: int,
  IOMaximumBandwidth: int,
};

/** Name: `no`, `always`, `unless-stopped`, `on-failure`, or empty as `no`. */
export const restartPolicy = object({ Name: text, MaximumRetryCount: int });
export type RestartPolicy = Of<typeof restartPolicy>;

/** One `--mount`. Type: bind, volume, tmpfs (cluster, image and npipe are read, too). Source: moby api/types/mount. */
export const mountPoint = object({
  Type: text,
  Source: omitempty(text),
  Target: text,
  ReadOnly: omitempty(bool),
  Consistency: omitempty(text),
  BindOptions: optional(
    object({
      Propagation: omitempty(text),
      NonRecursive: omitempty(bool),
      CreateMountpoint: omitempty(bool),
      ReadOnlyNonRecursive: omitempty(bool),
      ReadOnlyForceRecursive: omitempty(bool),
    }),
  ),
  VolumeOptions: optional(
    object({
      NoCopy: omitempty(bool),
      Labels: omitempty(textDict),
      Subpath: omitempty(text),
      DriverConfig: optional(object({ Name: omitempty(text), Options: omitempty(textDict) })),
    }),
  ),
  ImageOptions: optional(object({ Subpath: omitempty(text) })),
  TmpfsOptions: optional(object({ SizeBytes: omitempty(int), Mode: omitempty(int), Options: omitempty(list(texts)) })),
  ClusterOptions: omitempty(raw),
});
export type MountPoint = Of<typeof mountPoint>;

const portBinding = object({ HostIp: text, HostPort: text });
export type PortBinding = Of<typeof portBinding>;
/** Keys as `80/tcp`. */
export const portMap = dict(list(portBinding));

const hostFields = {
  /** `source:target[:options]`; a source without a slash names a volume. */
  Binds: texts,
  ContainerIDFile: text,
  LogConfig: object({ Type: text, Config: textDict }),
  /** `default`, `none`, `host`, `bridge`, `container:ID` or a network's name. */
  NetworkMode: text,
  PortBindings: portMap,
  RestartPolicy: restartPolicy,
  AutoRemove: bool,
  VolumeDriver: text,
  VolumesFrom: texts,
  /** Rows, columns. */
  ConsoleSize: omitempty(list(int)),
  Annotations: omitempty(textDict),
  Mounts: omitempty(list(mountPoint)),
  CapAdd: words,
  CapDrop: words,
  CgroupnsMode: text,
  Dns: texts,
  DnsOptions: texts,
  DnsSearch: texts,
  ExtraHosts: texts,
  GroupAdd: texts,
  IpcMode: text,
  Cgroup: text,
  Links: texts,
  OomScoreAdj: int,
  PidMode: text,
  Privileged: bool,
  PublishAllPorts: bool,
  ReadonlyRootfs: bool,
  SecurityOpt: texts,
  StorageOpt: omitempty(textDict),
  /** Path to options, as `size=64m,mode=1777`. */
  Tmpfs: omitempty(textDict),
  UTSMode: text,
  UsernsMode: text,
  /** Bytes; 0: Docker's 64 MiB. */
  ShmSize: int,
  Sysctls: omitempty(textDict),
  Runtime: text,
  Isolation: text,
  ...resourceFields,
  /** Null: the default list; []: nothing is masked. */
  MaskedPaths: texts,
  ReadonlyPaths: texts,
  Init: optional(bool),
};
export const hostConfig = object(hostFields);
export type HostConfig = Of<typeof hostConfig>;
export type HostField = keyof HostConfig;

const endpointSettings = object({
  IPAMConfig: nullable(object({ IPv4Address: text, IPv6Address: text, LinkLocalIPs: texts })),
  Links: texts,
  Aliases: texts,
  MacAddress: text,
  DriverOpts: textDict,
  GwPriority: int,
  NetworkID: text,
  EndpointID: text,
  Gateway: text,
  IPAddress: text,
  IPPrefixLen: int,
  IPv6Gateway: text,
  GlobalIPv6Address: text,
  GlobalIPv6PrefixLen: int,
  DNSNames: texts,
});
export type EndpointSettings = Of<typeof endpointSettings>;
/** Networks by name. */
export const endpoints = dict(endpointSettings);

const healthState = object({
  Status: text,
  FailingStreak: int,
  Log: list(object({ Start: text, End: text, ExitCode: int, Output: text })),
});

/** Status: created, running, paused, restarting, removing, exited, dead. */
export const containerState = object({
  Status: text,
  Running: bool,
  Paused: bool,
  Restarting: bool,
  OOMKilled: bool,
  Dead: bool,
  Pid: int,
  ExitCode: int,
  Error: text,
  StartedAt: text,
  FinishedAt: text,
  Health: optional(healthState),
});
export type ContainerState = Of<typeof containerState>;

/** A mount as it is, not as it was asked for. */
export const mountInUse = object({
  Type: text,
  Name: omitempty(text),
  Source: text,
  Destination: text,
  Driver: omitempty(text),
  Mode: text,
  RW: bool,
  Propagation: text,
});
export type MountInUse = Of<typeof mountInUse>;

const address = object({ Addr: text, PrefixLen: int });
export const networkSettings = object({
  Bridge: text,
  SandboxID: text,
  SandboxKey: text,
  Ports: portMap,
  HairpinMode: bool,
  LinkLocalIPv6Address: text,
  LinkLocalIPv6PrefixLen: int,
  SecondaryIPAddresses: list(address),
  SecondaryIPv6Addresses: list(address),
  EndpointID: text,
  Gateway: text,
  GlobalIPv6Address: text,
  GlobalIPv6PrefixLen: int,
  IPAddress: text,
  IPPrefixLen: int,
  IPv6Gateway: text,
  MacAddress: text,
  Networks: endpoints,
});
export type NetworkSettings = Of<typeof networkSettings>;
