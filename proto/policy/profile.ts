// A profile is a record of ceilings: the most that a request may ask. This table is the vocabulary of policy files; the type follows from it.

/**
 * How a ceiling compares. `flag`: may it; `must`: has it to; `max`, `min`: numbers, `unlimited` above all; `set`: names asked are among these (`x*`
 * stands for all that begin with x); `needs`: names asked hold at least these; `rank`: at most this word of the list; `paths`: lies beneath one of
 * these; `closed`: touches none of these; `limits`: a greatest number for each name, none for a name that is not there.
 */
export type Ceiling =
  | { readonly kind: 'flag' | 'must' | 'max' | 'min' | 'set' | 'needs' | 'paths' | 'closed' | 'limits' }
  | { readonly kind: 'rank'; readonly words: readonly string[] };

export const CEILINGS = {
  verbs: { kind: 'set' },
  rootDirectories: { kind: 'flag' },
  bindRead: { kind: 'paths' },
  bindWrite: { kind: 'paths' },
  bindDenied: { kind: 'closed' },
  bindOwned: { kind: 'closed' },
  bindKernelFilesystems: { kind: 'flag' },
  propagation: { kind: 'rank', words: ['private', 'slave', 'shared'] },
  kernelFilesystems: { kind: 'set' },
  tmpfsBytesMax: { kind: 'max' },
  hostNamespaces: { kind: 'set' },
  hostUserTrace: { kind: 'flag' },
  joinNamespaces: { kind: 'set' },
  uidCountMax: { kind: 'max' },
  capabilities: { kind: 'set' },
  seccomp: { kind: 'rank', words: ['default', 'unconfined'] },
  noNewPrivileges: { kind: 'must' },
  maskedPaths: { kind: 'needs' },
  readOnlyPaths: { kind: 'needs' },
  sysctls: { kind: 'set' },
  devices: { kind: 'set' },
  cpusMax: { kind: 'max' },
  cpuSharesMax: { kind: 'max' },
  cpuWeightMax: { kind: 'max' },
  ioWeightMax: { kind: 'max' },
  memoryBytesMax: { kind: 'max' },
  memorySwapBytesMax: { kind: 'max' },
  oomKillDisable: { kind: 'flag' },
  oomScoreAdjMin: { kind: 'min' },
  pidsMax: { kind: 'max' },
  rlimits: { kind: 'limits' },
  tty: { kind: 'flag' },
  layersMax: { kind: 'max' },
  layerBytesMax: { kind: 'max' },
  layersBytesMax: { kind: 'max' },
  containersMax: { kind: 'max' },
  execsMax: { kind: 'max' },
} as const satisfies Readonly<Record<string, Ceiling>>;

export type Amount = number | 'unlimited';
type Names = readonly string[];
export type Value = boolean | Amount | string | Names | Readonly<Record<string, Amount>>;
type ValueOf<C extends Ceiling> = C extends { readonly words: readonly (infer Word)[] }
  ? Word
  : {
      flag: boolean;
      must: boolean;
      max: Amount;
      min: number;
      set: Names;
      needs: Names;
      paths: Names;
      closed: Names;
      limits: Readonly<Record<string, Amount>>;
      rank: never;
    }[C['kind']];

export type CeilingName = keyof typeof CEILINGS;
export type Profile = { readonly [K in CeilingName]: ValueOf<(typeof CEILINGS)[K]> };

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

/** The profile that allows exactly what both allow. */
export function intersect(a: Profile, b: Profile): Profile {
  const read = meetPaths([...a.bindRead, ...a.bindWrite], [...b.bindRead, ...b.bindWrite]);
  const names = Object.keys(CEILINGS) as CeilingName[];
  const both = Object.fromEntries(names.map((name) => [name, meet(CEILINGS[name], a[name], b[name])]));
  return { ...(both as Profile), bindRead: read };
}

function meet(ceiling: Ceiling, a: Value, b: Value): Value {
  switch (ceiling.kind) {
    case 'flag':
      return a === true && b === true;
    case 'must':
      return a === true || b === true;
    case 'max':
      return least(a as Amount, b as Amount);
    case 'min':
      return Math.max(a as number, b as number);
    case 'set':
      return meetAll(a as Names, b as Names, covers);
    case 'paths':
      return meetPaths(a as Names, b as Names);
    case 'needs':
    case 'closed':
      return [...new Set([...(a as Names), ...(b as Names)])].sort();
    case 'rank':
      return ceiling.words.find((word) => word === a || word === b) ?? a;
    case 'limits':
      return meetLimits(a as Record<string, Amount>, b as Record<string, Amount>);
  }
}

function least(a: Amount, b: Amount): Amount {
  return amount(a) <= amount(b) ? a : b;
}

/** What is covered by both lists: of every pair the narrower, where one covers the other. */
function meetAll(a: Names, b: Names, over: (wide: string, narrow: string) => boolean): Names {
  const pairs = a.flatMap((x) => b.flatMap((y) => (over(x, y) ? [y] : over(y, x) ? [x] : [])));
  return [...new Set(pairs)].sort();
}

function meetPaths(a: Names, b: Names): Names {
  return meetAll(a, b, (wide, narrow) => within(narrow, wide));
}

function meetLimits(a: Readonly<Record<string, Amount>>, b: Readonly<Record<string, Amount>>): Record<string, Amount> {
  const names = Object.keys(a).filter((name) => Object.hasOwn(b, name));
  return Object.fromEntries(names.map((name) => [name, least(a[name] ?? 0, b[name] ?? 0)]));
}
