// The bodies of Docker's REST API, API 1.51 and 1.41, as far as Berth serves them: for engine, server, client and CLI alike. Each is a
// table of fields (see json.ts): the type, the check of what comes in, and the zero value to start from. Times are RFC 3339 texts unless
// said otherwise. Source: moby api/swagger.yaml v1.51 and v1.41. Config, HostConfig, state and networks are in docker-config.ts.
import type { BerthError } from '../base/errors.ts';
import {
  configFields,
  containerConfig,
  containerState,
  endpoints,
  type HostField,
  healthConfig,
  hostConfig,
  mountInUse,
  networkSettings,
  resourceFields,
  restartPolicy,
} from './docker-config.ts';
import {
  bool,
  dict,
  type Field,
  int,
  isZero,
  list,
  nullable,
  object,
  type Of,
  omitempty,
  optional,
  raw,
  readDocument,
  text,
  textDict,
  texts,
  unknownFields,
  words,
} from './json.ts';

/** The newest API we speak, and the oldest. */
export const API_VERSION = '1.51';
export const API_VERSION_MIN = '1.21';

/** `POST /containers/create`: Config's fields, beside them HostConfig. `Rootfs` is ours: a directory instead of an image. */
export const containerCreateBody = object({
  ...configFields,
  HostConfig: hostConfig,
  NetworkingConfig: object({ EndpointsConfig: endpoints }),
  Rootfs: omitempty(text),
});
export type ContainerCreateBody = Of<typeof containerCreateBody>;

/** A create body with everything at its zero value; spread it and set what is wanted. */
export function emptyCreateBody(): ContainerCreateBody {
  return containerCreateBody.zero();
}

/** Reads a body of JSON that somebody sent. Throws bad_parameter: which body, which field, what was found. */
export function readBody<T>(of: Field<T>, value: unknown, what = 'request body'): T {
  return readDocument(of, value, { what, code: 'bad_parameter' });
}

export type CreateRead = { readonly body: ContainerCreateBody; readonly unknown: readonly string[] };

/** Reads a create body; `unknown` names the fields that are set but that no Docker we know has (`HostConfig.X`). Throws bad_parameter. */
export function readContainerCreate(value: unknown): CreateRead {
  const body = readBody(containerCreateBody, value, 'container config');
  const host = (value as { HostConfig?: unknown }).HostConfig;
  const unknown = [
    ...unknownFields(containerCreateBody, value),
    ...unknownFields(hostConfig, host).map((name) => `HostConfig.${name}`),
  ];
  return { body, unknown };
}

/** Names of the HostConfig fields that are set to something: refuse those that are not supported. */
export function hostFieldsSet(host: ContainerCreateBody['HostConfig']): readonly HostField[] {
  return (Object.keys(host) as HostField[]).filter((name) => !isZero(host[name]));
}

export const containerCreated = object({ Id: text, Warnings: texts });
export type ContainerCreated = Of<typeof containerCreated>;

/** `POST /containers/ID/update`: what has its zero value stays as it is. */
export const updateBody = object({ ...resourceFields, RestartPolicy: restartPolicy });
export type UpdateBody = Of<typeof updateBody>;
export const updated = object({ Warnings: texts });

const graphDriver = object({ Data: textDict, Name: text });

/** `GET /containers/ID/json`. */
export const containerInspect = object({
  Id: text,
  Created: text,
  Path: text,
  Args: texts,
  State: containerState,
  Image: text,
  ResolvConfPath: text,
  HostnamePath: text,
  HostsPath: text,
  LogPath: text,
  /** With its leading slash. */
  Name: text,
  RestartCount: int,
  Driver: text,
  Platform: text,
  MountLabel: text,
  ProcessLabel: text,
  AppArmorProfile: text,
  ExecIDs: texts,
  HostConfig: hostConfig,
  GraphDriver: graphDriver,
  SizeRw: optional(int),
  SizeRootFs: optional(int),
  Mounts: list(mountInUse),
  Config: containerConfig,
  NetworkSettings: networkSettings,
});
export type ContainerInspect = Of<typeof containerInspect>;

const portInUse = object({ IP: omitempty(text), PrivatePort: int, PublicPort: omitempty(int), Type: text });
export type PortInUse = Of<typeof portInUse>;

/** A row of `GET /containers/json`. Created: seconds since 1970. */
export const containerSummary = object({
  Id: text,
  Names: texts,
  Image: text,
  ImageID: text,
  Command: text,
  Created: int,
  Ports: list(portInUse),
  SizeRw: omitempty(int),
  SizeRootFs: omitempty(int),
  Labels: textDict,
  State: text,
  Status: text,
  HostConfig: object({ NetworkMode: omitempty(text), Annotations: omitempty(textDict) }),
  NetworkSettings: object({ Networks: endpoints }),
  Mounts: list(mountInUse),
});
export type ContainerSummary = Of<typeof containerSummary>;

/** `POST /containers/ID/wait`. */
export const waitAnswer = object({ StatusCode: int, Error: optional(object({ Message: text })) });
export type WaitAnswer = Of<typeof waitAnswer>;

export const execCreateBody = object({
  User: text,
  Privileged: bool,
  Tty: bool,
  ConsoleSize: omitempty(list(int)),
  AttachStdin: bool,
  AttachStderr: bool,
  AttachStdout: bool,
  Detach: bool,
  DetachKeys: text,
  Env: texts,
  WorkingDir: text,
  Cmd: words,
});
export type ExecCreateBody = Of<typeof execCreateBody>;
export const execCreated = object({ Id: text });

/** ConsoleSize: rows, columns. */
export const execStartBody = object({ Detach: bool, Tty: bool, ConsoleSize: omitempty(list(int)) });
export type ExecStartBody = Of<typeof execStartBody>;

/** `GET /exec/ID/json`. ExitCode is null while it runs. */
export const execInspect = object({
  ID: text,
  Running: bool,
  ExitCode: nullable(int),
  ProcessConfig: object({
    tty: bool,
    entrypoint: text,
    arguments: texts,
    privileged: omitempty(bool),
    user: omitempty(text),
  }),
  OpenStdin: bool,
  OpenStderr: bool,
  OpenStdout: bool,
  CanRemove: bool,
  ContainerID: text,
  /** The bytes in base64, as Go prints them. */
  DetachKeys: text,
  Pid: int,
});
export type ExecInspect = Of<typeof execInspect>;

/** A row of `GET /images/json`. Created: seconds since 1970. -1 for what was not counted. VirtualSize: before API 1.44. */
export const imageSummary = object({
  Containers: int,
  Created: int,
  Id: text,
  Labels: textDict,
  ParentId: text,
  RepoDigests: texts,
  RepoTags: texts,
  SharedSize: int,
  Size: int,
  VirtualSize: optional(int),
});
export type ImageSummary = Of<typeof imageSummary>;

/** The part of Config that an image may have. Source: moby/docker-image-spec v1.3. */
export const imageConfigBody = object({ ...configFields, Healthcheck: optional(healthConfig) });

/** `GET /images/NAME/json`. Container, ContainerConfig and VirtualSize: older APIs. */
export const imageInspect = object({
  Id: text,
  RepoTags: texts,
  RepoDigests: texts,
  Parent: text,
  Comment: text,
  Created: omitempty(text),
  Container: omitempty(text),
  DockerVersion: text,
  Author: text,
  Config: optional(imageConfigBody),
  Architecture: text,
  Variant: omitempty(text),
  Os: text,
  OsVersion: omitempty(text),
  Size: int,
  VirtualSize: omitempty(int),
  GraphDriver: graphDriver,
  RootFS: object({ Type: text, Layers: omitempty(texts) }),
  Metadata: object({ LastTagTime: text }),
});
export type ImageInspect = Of<typeof imageInspect>;

/** One line of what `DELETE /images/NAME` did. */
export const imageDeleted = object({ Untagged: omitempty(text), Deleted: omitempty(text) });
export type ImageDeleted = Of<typeof imageDeleted>;

/** One line of the stream that pull, push, load and build send. `error` ends it. Source: moby pkg/jsonmessage. */
export const progressLine = object({
  stream: omitempty(text),
  status: omitempty(text),
  progressDetail: optional(object({ current: omitempty(int), total: omitempty(int) })),
  progress: omitempty(text),
  id: omitempty(text),
  errorDetail: optional(object({ code: omitempty(int), message: text })),
  error: omitempty(text),
  aux: optional(raw),
});
export type ProgressLine = Of<typeof progressLine>;

/** A line of `GET /events`. timeNano has more digits than a JSON number keeps here: write it with printEvent(). */
export const eventMessage = object({
  status: omitempty(text),
  id: omitempty(text),
  from: omitempty(text),
  Type: text,
  Action: text,
  Actor: object({ ID: text, Attributes: textDict }),
  scope: omitempty(text),
  time: int,
});
export type EventMessage = Of<typeof eventMessage>;

/** One line of JSON with the exact time in nanoseconds since 1970. */
export function printEvent(event: EventMessage, timeNs: bigint): string {
  return `${JSON.stringify(event).slice(0, -1)},"timeNano":${timeNs}}`;
}

/** The body of every answer from 400 on. */
export const errorBody = object({ message: text });
export type ErrorBody = Of<typeof errorBody>;

/** What a failure says over the wire: the sentence, then what to do about it. */
export function errorText(error: BerthError): string {
  return error.hint === undefined ? error.message : `${error.message}: ${error.hint}`;
}

/** What `X-Registry-Auth` holds, base64url of JSON. */
export const authConfig = object({
  username: text,
  password: text,
  auth: text,
  serveraddress: text,
  identitytoken: text,
  registrytoken: text,
});
export type AuthConfig = Of<typeof authConfig>;

const component = object({ Name: text, Version: text, Details: textDict });

/** `GET /version`. */
export const systemVersion = object({
  Platform: object({ Name: text }),
  Components: list(component),
  Version: text,
  ApiVersion: text,
  MinAPIVersion: text,
  GitCommit: text,
  GoVersion: text,
  Os: text,
  Arch: text,
  KernelVersion: text,
  Experimental: omitempty(bool),
  BuildTime: text,
});
export type SystemVersion = Of<typeof systemVersion>;

const indexInfo = object({ Name: text, Mirrors: texts, Secure: bool, Official: bool });
const runtime = object({ path: omitempty(text), runtimeArgs: omitempty(texts) });
const commit = object({ ID: text });

/** `GET /info`. */
export const systemInfo = object({
  ID: text,
  Containers: int,
  ContainersRunning: int,
  ContainersPaused: int,
  ContainersStopped: int,
  Images: int,
  Driver: text,
  DriverStatus: list(texts),
  SystemStatus: optional(raw),
  Plugins: object({ Volume: texts, Network: texts, Authorization: texts, Log: texts }),
  MemoryLimit: bool,
  SwapLimit: bool,
  KernelMemory: omitempty(bool),
  CpuCfsPeriod: bool,
  CpuCfsQuota: bool,
  CPUShares: bool,
  CPUSet: bool,
  PidsLimit: bool,
  IPv4Forwarding: bool,
  Debug: bool,
  NFd: int,
  OomKillDisable: bool,
  NGoroutines: int,
  SystemTime: text,
  LoggingDriver: text,
  CgroupDriver: text,
  CgroupVersion: text,
  NEventsListener: int,
  KernelVersion: text,
  OperatingSystem: text,
  OSVersion: text,
  OSType: text,
  Architecture: text,
  IndexServerAddress: text,
  RegistryConfig: object({ InsecureRegistryCIDRs: texts, IndexConfigs: dict(indexInfo), Mirrors: texts }),
  NCPU: int,
  MemTotal: int,
  GenericResources: optional(raw),
  DockerRootDir: text,
  HttpProxy: text,
  HttpsProxy: text,
  NoProxy: text,
  Name: text,
  Labels: texts,
  ExperimentalBuild: bool,
  ServerVersion: text,
  Runtimes: dict(runtime),
  DefaultRuntime: text,
  Swarm: object({ NodeID: text, NodeAddr: text, LocalNodeState: text, ControlAvailable: bool, Error: text }),
  LiveRestoreEnabled: bool,
  Isolation: text,
  InitBinary: text,
  ContainerdCommit: commit,
  RuncCommit: commit,
  InitCommit: commit,
  SecurityOptions: texts,
  Warnings: texts,
});
export type SystemInfo = Of<typeof systemInfo>;
