// The trees of an image's layers, bottom first, become one tree as overlay would show them; then a numbered list of inodes.
import { KIND, type LayerEntry, type LayerIndex, LIMITS } from '../spec/layer-index.ts';
import type { IndexedInode } from '../spec/image-write.ts';
import { LayerFault } from './fault.ts';
import { impliedDir, layerTree, type Node } from './tree.ts';

/** One inode of the merged image; number 0 is the root. A directory no layer describes is 0755 root:root at time 0. */
export type Inode = IndexedInode & {
  /** The first of its paths: for messages, and for the unpacker to link to. */
  path: string;
  /** Only in the tree of one layer: a directory that hides what is below. */
  opaque: boolean;
};

const NOTHING = new Uint8Array(0);
const PLAIN_DIR: LayerEntry = {
  kind: KIND.dir,
  name: '',
  link: '',
  mode: 0o755,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0n,
  nsec: 0,
  major: 0,
  minor: 0,
  dataOff: 0,
  headOff: 0,
  stored: 0,
  xattrs: NOTHING,
  segments: NOTHING,
};

/** One tree of all layers, bottom first. */
export function mergeLayers(indexes: readonly LayerIndex[]): Node {
  const merged = impliedDir(0);
  for (const [layer, index] of indexes.entries()) cover(merged, layerTree(index, layer));
  return merged;
}

/** Lays `upper` over `lower`, which is changed. Directories merge, everything else replaces; an implied directory keeps mode and owner of a lower one, as in containerd. */
function cover(lower: Node, upper: Node): void {
  if (upper.entry !== undefined) {
    lower.entry = upper.entry;
    lower.layer = upper.layer;
  }
  for (const [name, node] of upper.kids) {
    const below = lower.kids.get(name);
    if (node.kind === KIND.whiteout) lower.kids.delete(name);
    else if (node.kind !== KIND.dir) lower.kids.set(name, node);
    else if (below?.kind === KIND.dir && !node.opaque) cover(below, node);
    else {
      const fresh = impliedDir(node.layer);
      if (below?.kind === KIND.dir) fresh.entry = below.entry; // an opaque directory hides what is in the lower one, not its mode
      cover(fresh, node);
      lower.kids.set(name, fresh);
    }
  }
}

/** The tree of the topmost layer alone, with whiteouts; directories it only implies are as those beneath them. */
export function topLayer(indexes: readonly LayerIndex[]): Node {
  const last = indexes.at(-1);
  if (last === undefined) return impliedDir(0);
  const top = layerTree(last, indexes.length - 1);
  inherit(mergeLayers(indexes.slice(0, -1)), top);
  return top;
}

/** Also drops whiteouts of nothing: overlay lists those in directories that nothing lies beneath. */
function inherit(lower: Node | undefined, upper: Node): void {
  upper.entry ??= lower?.entry;
  for (const [name, kid] of upper.kids) {
    const below = upper.opaque ? undefined : lower?.kids.get(name);
    if (kid.kind === KIND.dir) inherit(below?.kind === KIND.dir ? below : undefined, kid);
    else if (kid.kind === KIND.whiteout && below === undefined) upper.kids.delete(name);
  }
}

/** All inodes, directories before what is in them, names sorted. Throws LayerFault when there are too many. */
export function listInodes(root: Node): Inode[] {
  const list: Inode[] = [];
  const nodes: Node[] = [];
  const numbers = new Map<Node, number>();
  const number = (node: Node, parent: number, path: string): number => {
    const known = numbers.get(node);
    if (known !== undefined) return known;
    numbers.set(node, list.length);
    nodes.push(node);
    const nlink = node.kind === KIND.dir ? 2 : 0;
    list.push({
      entry: node.entry ?? PLAIN_DIR,
      layer: node.layer,
      parent,
      nlink,
      names: [],
      path,
      opaque: node.opaque,
    });
    if (list.length > LIMITS.inodes) throw new LayerFault('limit', `the image has more than ${LIMITS.inodes} files`);
    return list.length - 1;
  };
  number(root, 0, '');
  for (const [i, dir] of list.entries()) {
    for (const [name, kid] of [...(nodes[i]?.kids ?? [])].sort((a, b) => byBytes(a[0], b[0]))) {
      const inode = number(kid, i, dir.path === '' ? name : `${dir.path}/${name}`);
      dir.names.push({ name, inode });
      const made = list[inode];
      if (kid.kind === KIND.dir) dir.nlink++;
      else if (made !== undefined) made.nlink++;
    }
  }
  return list;
}

/** Order of latin1 strings, which is the order of their bytes. */
export function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
