// What lowering is given: the plan, and what the ops have prepared for one launch or exec: numbers of descriptors of the helper, and facts of the host.
// Lowering reads nothing else of the host, opens nothing itself and closes nothing; the caller closes what it opened once the program runs.
import type { CheckedLaunch } from '../decode/checked.ts';
import type { Arch } from './encode.ts';
import type { Program } from './program.ts';

/** Facts that hold while the helper runs. */
export type Machine = {
  readonly arch: Arch;
  /** The helper is itself in a user namespace of one id: no idmaps, no device nodes, no cgroups of its own. */
  readonly rootless: boolean;
  /** Highest capability the kernel knows. */
  readonly lastCapability: number;
  /** From helper/launch/namespaces.ts: three mounts and nothing of the host; and the one in which merged images are mounted. */
  readonly seedNamespace: number;
  readonly storeNamespace: number;
};

/** A cgroup of this container, by the name of its mount in /sys/fs/cgroup (`memory`, `cpu,cpuacct`); `path` leads to it from the parent's directory. */
export type Cgroup = { readonly name: string; readonly parent: number; readonly path: string };
export type Cgroups =
  | { readonly kind: 'none' }
  | { readonly kind: 'v1'; readonly groups: readonly Cgroup[] }
  /** The process is started in this group (CLONE_INTO_CGROUP). */
  | { readonly kind: 'v2'; readonly directory: number };

export type StdioHost =
  | { readonly kind: 'pipes'; readonly descriptors: readonly [stdin: number, stdout: number, stderr: number] }
  /** The pty's master is sent on this socket with one byte. */
  | { readonly kind: 'tty'; readonly socket: number };

export type RootSource =
  /** A merged image, by the name under which `attachImage` mounted it in the store's namespace. */
  | { readonly kind: 'image'; readonly name: string }
  /** Unpacked layers: names in one directory, topmost first. */
  | { readonly kind: 'unpacked'; readonly directory: number; readonly names: readonly string[] }
  /** A directory of the user's, from the ticket. */
  | { readonly kind: 'directory'; readonly directory: number; readonly idmap: number | undefined };

/** A descriptor of the ticket. `idmap`: the user namespace that says how owners are shown; undefined where the file system takes none. */
export type BindSource = { readonly descriptor: number; readonly idmap: number | undefined };

type Host = {
  readonly machine: Machine;
  /** Write end of the status pipe. */
  readonly status: number;
  readonly cgroups: Cgroups;
  readonly stdio: StdioHost;
};

export type LaunchHost = Host & {
  /** The container's user namespace, new or joined; undefined: the host's. */
  readonly userNamespace: number | undefined;
  /** Host id of the container's id 0; 0 without a user namespace. */
  readonly firstId: number;
  readonly root: RootSource;
  /** The container's directory, in the host's mount namespace: `upper`, `work`, and `files` with `hostname`, `hosts`, `resolv.conf` where the plan has them. */
  readonly home: number;
  /** By the request's descriptor index. */
  readonly binds: ReadonlyMap<number, BindSource>;
  /** One CLONE_NEW* bit each, with the namespace's descriptor; the user namespace is not among them. */
  readonly joined: readonly { readonly bit: number; readonly descriptor: number }[];
};

export type ExecHost = Host & {
  /** Pidfd of the container's first process. */
  readonly container: number;
  /** CLONE_NEW* bits of the namespaces of the container that are not the host's. */
  readonly namespaces: number;
};

/** What each part of lowering a launch is given. */
export type Context = { readonly program: Program; readonly plan: CheckedLaunch; readonly host: LaunchHost };

/** The same, its program during that step. */
export function step(context: Context, what: string): Context {
  return { ...context, program: context.program.during(what) };
}

/** Whether the namespace of that CLONE_NEW* bit is made for this container. */
export function isNew({ plan }: Context, bit: number): boolean {
  return (plan.namespaces.unshare & BigInt(bit)) !== 0n;
}

/** Whether it is the host's: neither made nor joined. */
export function isHosts(context: Context, bit: number): boolean {
  return !isNew(context, bit) && !context.host.joined.some((join) => join.bit === bit);
}
