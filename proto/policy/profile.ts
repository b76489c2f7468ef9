// A profile is a record of ceilings: the most that a request may ask. This table is the vocabulary of policy files; the type follows from it.

/**
 * How a ceiling compares. `flag`: may it; `must`: has it to; `max`, `min`: numbers, `unlimited` above all; `set`: names asked are among these (`x*`
 * stands for all that begin with x); `needs`: names asked hold at least these; `rank`: at most this word of the list; `paths`: lies beneath one of
 * these; `closed`: touches none of these; `limits`: a greatest number for each name, that of `*` for others, none without one.
 */
export type Ceiling =
  | { readonly kind: 'flag' | 'must'; readonly preset: boolean }
  | { readonly kind: 'max'; readonly preset: Amount; readonly unit?: 'bytes' }
  | { readonly kind: 'min'; readonly preset: number }
  | { readonly kind: 'set' | 'needs' | 'paths' | 'closed'; readonly preset: Names }
  | { readonly kind: 'limits'; readonly preset: Readonly<Record<string, Amount>> }
  | { readonly kind: 'rank'; readonly preset: string; readonly words: readonly string[] };
export type Amount = number | 'unlimited';
type Names = readonly string[];

// Kernel file systems and configuration hold what the host is; the rest of the host is the user's as far as its own rights go.
const CLOSED = ['/boot', '/dev', '/etc', '/proc', '/run/berth*', '/sys', '/var/lib/berth/helper', '/var/log/berth*'];
const DEVICES = ['c 1:3', 'c 1:5', 'c 1:7', 'c 1:8', 'c 1:9', 'c 5:0', 'c 5:2', 'c 10:200', 'c 136:*'];
// Priorities and kernel queues reach beyond the container; what a limit takes from the container alone is free.
const RLIMITS: Readonly<Record<string, Amount>> = { '*': 'unlimited', msgqueue: 819_200, nice: 20, rtprio: 0 };

/** Each ceiling with its value in the profile `default`: what a user expects of Docker, within a user namespace of his own. */
export const CEILINGS = {
  verbs: { kind: 'set', preset: ['*'] },
  rootDirectories: { kind: 'flag', preset: true },
  bindRead: { kind: 'paths', preset: [] },
  bindWrite: { kind: 'paths', preset: ['/'] },
  bindDenied: { kind: 'closed', preset: CLOSED },
  bindOwned: { kind: 'closed', preset: ['/home', '/root', '/var/lib/berth'] },
  bindKernelFilesystems: { kind: 'flag', preset: false },
  propagation: { kind: 'rank', preset: 'slave', words: ['private', 'slave', 'shared'] },
  kernelFilesystems: { kind: 'set', preset: ['*'] },
  tmpfsBytesMax: { kind: 'max', preset: 'unlimited', unit: 'bytes' },
  hostNamespaces: { kind: 'set', preset: ['time'] },
  hostUserTrace: { kind: 'flag', preset: false },
  joinNamespaces: { kind: 'set', preset: ['*'] },
  uidCountMax: { kind: 'max', preset: 1_048_576 },
  capabilities: { kind: 'set', preset: ['*'] },
  seccomp: { kind: 'rank', preset: 'unconfined', words: ['default', 'unconfined'] },
  noNewPrivileges: { kind: 'must', preset: false },
  maskedPaths: { kind: 'needs', preset: [] },
  readOnlyPaths: { kind: 'needs', preset: [] },
  sysctls: { kind: 'set', preset: ['*'] },
  devices: { kind: 'set', preset: DEVICES },
  cpusMax: { kind: 'max', preset: 'unlimited' },
  cpuSharesMax: { kind: 'max', preset: 'unlimited' },
  cpuWeightMax: { kind: 'max', preset: 'unlimited' },
  ioWeightMax: { kind: 'max', preset: 'unlimited' },
  memoryBytesMax: { kind: 'max', preset: 'unlimited', unit: 'bytes' },
  memorySwapBytesMax: { kind: 'max', preset: 'unlimited', unit: 'bytes' },
  oomKillDisable: { kind: 'flag', preset: true },
  oomScoreAdjMin: { kind: 'min', preset: 0 },
  pidsMax: { kind: 'max', preset: 'unlimited' },
  rlimits: { kind: 'limits', preset: RLIMITS },
  tty: { kind: 'flag', preset: true },
  layersMax: { kind: 'max', preset: 256 },
  layerBytesMax: { kind: 'max', preset: 2 ** 36, unit: 'bytes' },
  layersBytesMax: { kind: 'max', preset: 'unlimited', unit: 'bytes' },
  containersMax: { kind: 'max', preset: 4096 },
  execsMax: { kind: 'max', preset: 4096 },
} as const satisfies Readonly<Record<string, Ceiling>>;

export type CeilingName = keyof typeof CEILINGS;
type Preset<Kind, C = Ceiling> = C extends Ceiling ? (Kind extends C['kind'] ? C['preset'] : never) : never;
type ValueOf<C extends Ceiling> = C extends { readonly words: readonly (infer Word)[] } ? Word : Preset<C['kind']>;
export type Profile = { readonly [K in CeilingName]: ValueOf<(typeof CEILINGS)[K]> };

export const CEILING_NAMES = Object.keys(CEILINGS) as readonly CeilingName[];
/** The profile of a machine without a policy. */
export const DEFAULT_PROFILE = Object.fromEntries(
  CEILING_NAMES.map((name) => [name, CEILINGS[name].preset]),
) as unknown as Profile;

/** A ceiling's number; unlimited is above every number. */
export function amount(value: Amount): number {
  return value === 'unlimited' ? Number.POSITIVE_INFINITY : value;
}

/** Whether an element of a set covers a name (or another such element). */
export function covers(element: string, name: string): boolean {
  return element.endsWith('*') ? name.startsWith(element.slice(0, -1)) : element === name;
}

/** Whether a path is the tree's top or beneath it. A tree `/run/berth*` is all whose path begins so. */
export function within(path: string, tree: string): boolean {
  return tree.endsWith('*') ? covers(tree, path) : path === tree || path.startsWith(tree === '/' ? tree : `${tree}/`);
}

/** The greatest number for a name; undefined where it may not be set. */
export function limitOf(limits: Readonly<Record<string, Amount>>, name: string): Amount | undefined {
  return Object.hasOwn(limits, name) ? limits[name] : limits['*'];
}
