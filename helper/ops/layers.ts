// The layer store: who may use which layer, and where its parts lie. A layer is used by digest only by a principal who delivered its bytes, all of
// them, checked here against the digest: until then it is unknown to him, though it may be on disk for somebody else.
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setImmutable } from './immutable.ts';
import { list, makeDirectory, readText, removeTree, syncPath, writeDurably } from './files.ts';

export type LayerFacts = {
  readonly tarBytes: number;
  readonly entries: number;
  readonly highestUid: number;
  readonly highestGid: number;
};

export type LayerStore = {
  readonly directory: (diffId: string) => string;
  /** The layer's facts, for a principal who has the right to it. */
  readonly find: (principal: string, diffId: string) => LayerFacts | undefined;
  /** The layer's facts, whoever's it is. */
  readonly facts: (diffId: string) => LayerFacts | undefined;
  /** Sum of the tars the principal has a right to. */
  readonly bytesOf: (principal: string) => number;
  /** A new directory for an import, removed by `sweep` if it is never kept. */
  readonly begin: () => string;
  /** Makes what lies in `temporary` the layer (or drops it, where the layer is there already) and gives the principal the right; true: was there. */
  readonly keep: (import_: { temporary: string; diffId: string; principal: string; facts: LayerFacts }) => boolean;
  /** Makes all tars immutable, or (for a store that is to be removed) not. */
  readonly seal: (immutable: boolean) => void;
  /** Takes the right away; true: it was the last one, and the layer is gone. */
  readonly drop: (principal: string, diffId: string) => boolean;
};

/** Opens the store beneath `root`; what interrupted imports left is removed. */
export function openLayers(root: string): LayerStore {
  const layers = makeDirectory(`${root}/layers`);
  const grants = makeDirectory(`${root}/grants`);
  const temporaries = `${root}/tmp`;
  const hex = (diffId: string) => diffId.slice('sha256:'.length);
  const directory = (diffId: string) => `${layers}/${hex(diffId)}`;
  const free = (name: string) => {
    setImmutable(`${layers}/${name}/tar`, false);
    removeTree(`${layers}/${name}`);
  };
  removeTree(temporaries);
  makeDirectory(temporaries);
  const rights = new Map<string, Set<string>>(
    list(grants).map((principal) => [principal, new Set(list(`${grants}/${principal}`))]),
  );
  const owned = (name: string) => [...rights.values()].some((set) => set.has(name));
  for (const name of list(layers)) if (!owned(name)) free(name);

  const facts = new Map<string, LayerFacts>();
  const factsOf = (name: string): LayerFacts | undefined => {
    const known = facts.get(name) ?? (JSON.parse(readText(`${layers}/${name}/facts`) ?? 'null') as LayerFacts | null);
    if (known) facts.set(name, known);
    return known ?? undefined;
  };
  return {
    directory,
    find: (principal, diffId) => (rights.get(principal)?.has(hex(diffId)) ? factsOf(hex(diffId)) : undefined),
    facts: (diffId) => factsOf(hex(diffId)),
    bytesOf: (principal) =>
      [...(rights.get(principal) ?? [])].reduce((sum, name) => sum + (factsOf(name)?.tarBytes ?? 0), 0),
    begin() {
      const temporary = `${temporaries}/${randomBytes(8).toString('hex')}`;
      mkdirSync(temporary, { mode: 0o700 });
      return temporary;
    },
    keep({ temporary, diffId, principal, facts: read }) {
      const existed = factsOf(hex(diffId)) !== undefined;
      if (existed) removeTree(temporary);
      else {
        writeFileSync(`${temporary}/facts`, JSON.stringify(read), { mode: 0o600, flush: true });
        syncPath(temporary);
        removeTree(directory(diffId));
        renameSync(temporary, directory(diffId));
        syncPath(layers);
        setImmutable(`${directory(diffId)}/tar`, true);
      }
      makeDirectory(`${grants}/${principal}`);
      writeDurably(`${grants}/${principal}/${hex(diffId)}`, '');
      rights.set(principal, (rights.get(principal) ?? new Set()).add(hex(diffId)));
      return existed;
    },
    seal(immutable) {
      for (const name of list(layers)) setImmutable(`${layers}/${name}/tar`, immutable);
    },
    drop(principal, diffId) {
      rights.get(principal)?.delete(hex(diffId));
      rmSync(`${grants}/${principal}/${hex(diffId)}`, { force: true });
      syncPath(`${grants}/${principal}`);
      if (owned(hex(diffId))) return false;
      facts.delete(hex(diffId));
      free(hex(diffId));
      return true;
    },
  };
}

/** The name of the image made of these layers in this form: what is merged depends on nothing else. */
export function imageName(layers: readonly string[], form: number): string {
  return createHash('sha256')
    .update(`${form} ${layers.join(' ')}`)
    .digest('hex');
}

/** A new, empty file for a worker to fill. */
export function newFile(path: string): number {
  return openSync(path, 'wx+', 0o600);
}
