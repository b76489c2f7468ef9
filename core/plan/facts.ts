// Everything about host and image that a plan needs, read beforehand by the engine: the planner itself looks at nothing.
import type { ContainerId, Digest } from '../base/brand.ts';
import type { UserNsOwner } from './namespaces.ts';
import type { RlimitName } from './rlimits.ts';

export type Facts = {
  /** The container's; random when it was created. */
  readonly id: ContainerId;
  readonly host: HostFacts;
  readonly root: RootFacts;
  /** Texts of the root's /etc/passwd and /etc/group; empty where there is none. */
  readonly passwd: string;
  readonly group: string;
  /** What lies at paths of the root, without the container's mounts; a path that is not here was not looked at. See lookups.ts. */
  readonly lookups: Readonly<Record<string, Found>>;
  /** Bind sources as the intent writes them, opened as the user. */
  readonly binds: readonly BindFact[];
  /** Devices of the host by path, for --device and throttles. */
  readonly devices: Readonly<Record<string, DeviceFact>>;
  /** The containers named by `container:REF`, by REF. */
  readonly joined: Readonly<Record<string, JoinedFacts>>;
};

export type RootFacts =
  | ({ readonly kind: 'image' } & ImageFacts)
  /** `--rootfs DIR`: the index of its descriptor. */
  | { readonly kind: 'directory'; readonly path: string; readonly descriptor: number };

export type ImageFacts = {
  /** Diff ids as the image's configuration lists them: lowest first. */
  readonly layers: readonly Digest[];
  readonly config: ImageConfig;
  readonly highestUid: number;
  readonly highestGid: number;
};

/** The part of an image's configuration that a container inherits. */
export type ImageConfig = {
  readonly env: readonly string[];
  readonly entrypoint: readonly string[] | undefined;
  readonly cmd: readonly string[] | undefined;
  readonly workingDir: string;
  readonly user: string;
  readonly volumes: readonly string[];
  readonly stopSignal: string;
};

export type HostFacts = {
  /** `6.18.5-berth`, as uname(2) gives it. */
  readonly kernel: string;
  readonly architecture: 'x64' | 'arm64';
  /** Other architectures whose programs run here, too (binfmt_misc). */
  readonly emulated: readonly ('x64' | 'arm64')[];
  readonly cgroup: CgroupHost;
  /** Bit n: the helper can give capability n. */
  readonly capabilities: bigint;
  readonly rootless: boolean;
  /** Longest uid range a user namespace can map here. */
  readonly uidCountMax: number;
  readonly hostname: string;
  readonly memoryBytes: bigint;
  /** Processors and memory nodes that containers may use, as `0-3`. */
  readonly cpus: string;
  readonly mems: string;
  /** The hard resource limits of the helper; a container cannot get more. Absent: unlimited. */
  readonly rlimits: Readonly<Partial<Record<RlimitName, bigint>>>;
  /** Texts of the host's /etc/hosts and /etc/resolv.conf. */
  readonly hosts: string;
  readonly resolvConf: string;
  /** Devices of the host that --privileged adds: those the caller's profile allows. */
  readonly privilegedDevices: readonly DeviceFact[];
};

export type CgroupHost = {
  readonly version: 'v1' | 'v2' | 'none';
  /** cpu, cpuset, memory, pids, blkio or io, devices, freezer. */
  readonly controllers: readonly string[];
  /** Whether swap is counted. */
  readonly swap: boolean;
  /** Whether there are weights of block input and output. */
  readonly ioWeight: boolean;
};

export type BindFact = {
  readonly source: string;
  /** Index into the ticket's descriptors. */
  readonly descriptor: number;
  readonly kind: 'file' | 'directory';
};

/** A device node; `path` as on the host, such as /dev/null. */
export type DeviceFact = {
  readonly path: string;
  readonly block: boolean;
  readonly major: number;
  readonly minor: number;
  /** Permission bits alone. */
  readonly mode: number;
};

export type JoinedFacts = {
  readonly id: ContainerId;
  readonly running: boolean;
  readonly userNamespace: UserNsOwner;
  /** `--ipc=shareable`, or --ipc=host. */
  readonly ipcShareable: boolean;
  readonly hostname: string;
  readonly domainname: string;
  /** Texts of its generated files: who shares a network shares them. */
  readonly hosts: string;
  readonly resolvConf: string;
};

/** `at`: the path where the walk ended, all links followed inside the root. */
export type Found = { readonly at: string } & (
  | { readonly kind: 'missing' }
  | { readonly kind: 'directory' }
  /** `head`: the first 4,096 bytes; permission bits and owner as in the image. */
  | {
      readonly kind: 'file';
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly head: Uint8Array;
    }
  | { readonly kind: 'other' }
);
