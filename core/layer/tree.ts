// One layer as a tree. A layer stands alone: what lies beneath is not looked at, so links, parents and targets are those of this layer.
// Rules, where a tar leaves room, are docker's (20.10, measured; test/unit/layer/parity.test.ts): a duplicate path is an error, a parent
// that is a symbolic link of this layer is followed within the layer, a hard link's target must come earlier, a whiteout of something the
// layer itself adds is an error, but adding after a whiteout works.
import { KIND, type LayerEntry, type LayerIndex, LIMITS, layerEntry, xattrsOf } from '../spec/layer-index.ts';
import { LayerFault } from './fault.ts';

/** A file system object, or a whiteout. Hard links are one Node under several names. */
export type Node = {
  kind: number;
  /** Which layer it comes from, 0 the bottom one. */
  layer: number;
  /** Undefined for a directory that is only implied by a path beneath it. */
  entry: LayerEntry | undefined;
  /** Children of a directory by name (latin1); empty otherwise. */
  kids: Map<string, Node>;
  /** A directory that hides what lower layers have there. */
  opaque: boolean;
};

const LINKS_MAX = 40;
const XATTR_BYTES_MAX = 65536;
const NO_KIDS: Map<string, Node> = new Map();

/** A directory with nothing known of it. */
export function impliedDir(layer: number): Node {
  return { kind: KIND.dir, layer, entry: undefined, kids: new Map(), opaque: false };
}

type Place = { dir: Node; bytes: number };
type Walk = { root: Node; layer: number; entry: LayerEntry; parent: (Place & { path: string }) | undefined };

/** The tree of a layer's index. Throws LayerFault naming the entry that breaks a rule. */
export function layerTree(index: LayerIndex, layer: number): Node {
  const root = impliedDir(layer);
  const seen = new Set<string>();
  let parent: Walk['parent'];
  for (let i = 0; i < index.entries; i++) {
    const walk: Walk = { root, layer, entry: layerEntry(index, i), parent };
    const key = `${walk.entry.kind === KIND.whiteout || walk.entry.kind === KIND.opaque ? walk.entry.kind : ''}/${walk.entry.name}`;
    if (seen.has(key)) throw refused(walk.entry, 'a second entry with the same path');
    seen.add(key);
    add(walk);
    parent = walk.parent;
  }
  return root;
}

function refused(entry: LayerEntry, why: string): LayerFault {
  return new LayerFault('input', `layer entry "${entry.name}", byte ${entry.headOff}: ${why}`);
}

function add(walk: Walk): void {
  const { entry, root, layer } = walk;
  if (entry.kind === KIND.opaque) {
    const { dir } = openDir(walk, entry.name, true);
    if (dir !== root) dir.opaque = true; // at the root it has no effect, as in docker: overlay ignores it there
    return;
  }
  if (entry.kind === KIND.dir && entry.name === '') {
    root.entry = checked(entry);
    return;
  }
  const slash = entry.name.lastIndexOf('/');
  const path = entry.name.slice(0, Math.max(0, slash));
  const name = entry.name.slice(slash + 1);
  if (walk.parent?.path !== path) walk.parent = { path, ...openDir(walk, path, true) };
  const { dir, bytes } = walk.parent;
  if (bytes + name.length >= LIMITS.pathBytes)
    throw refused(entry, `through symbolic links its path is longer than ${LIMITS.pathBytes} bytes`);
  const old = dir.kids.get(name);
  if (entry.kind === KIND.whiteout) {
    if (old !== undefined) throw refused(entry, 'a whiteout of what this layer itself adds');
    dir.kids.set(name, { kind: KIND.whiteout, layer, entry, kids: NO_KIDS, opaque: false });
    return;
  }
  if (entry.kind === KIND.dir && old?.kind === KIND.dir) {
    old.entry = checked(entry);
    return;
  }
  if (old !== undefined) {
    dir.kids.delete(name);
    walk.parent = undefined; // what was replaced may have been that directory's own path
  }
  dir.kids.set(name, entry.kind === KIND.hardlink ? target(walk) : made(entry, layer, old));
}

function made(entry: LayerEntry, layer: number, old: Node | undefined): Node {
  const isDir = entry.kind === KIND.dir;
  const opaque = isDir && old?.kind === KIND.whiteout; // whiteout, then a new directory: nothing from below shows in it
  return { kind: entry.kind, layer, entry: checked(entry), kids: isDir ? new Map() : NO_KIDS, opaque };
}

function checked(entry: LayerEntry): LayerEntry {
  if (entry.xattrs.length === 0) return entry;
  let bytes = 0;
  for (const [key, value] of xattrsOf(entry.xattrs)) bytes += key.length + value.length + 4;
  if (bytes > XATTR_BYTES_MAX) throw refused(entry, `extended attributes of more than ${XATTR_BYTES_MAX} bytes`);
  return entry;
}

/** What a hard link names: an earlier entry of this layer. A link to a whiteout is a whiteout, as in docker. */
function target(walk: Walk): Node {
  const { link } = walk.entry;
  const slash = link.lastIndexOf('/');
  const { dir } = openDir(walk, link.slice(0, Math.max(0, slash)), false);
  const found = dir.kids.get(link.slice(slash + 1));
  if (found === undefined)
    throw refused(walk.entry, `hard link to "${link}", which is not an earlier entry of this layer`);
  if (found.kind === KIND.dir) throw refused(walk.entry, `hard link to the directory "${link}"`);
  return found.kind === KIND.whiteout ? { ...found } : found;
}

/**
 * The directory at a path of this layer. Missing parts are made when asked for, but never those a symbolic link leads to.
 * Symbolic links are followed with the layer's root as the root.
 */
function openDir(walk: Walk, path: string, create: boolean): Place {
  const refuse = (why: string): LayerFault => refused(walk.entry, `${why} "${path}"`);
  const stack: Place[] = [{ dir: walk.root, bytes: 0 }];
  const queue = path === '' ? [] : path.split('/').map((name) => ({ name, create }));
  let links = 0;
  for (;;) {
    const here = stack.at(-1) ?? { dir: walk.root, bytes: 0 };
    const step = queue.shift();
    if (step === undefined) return here;
    if (step.name === '..' && stack.length > 1) stack.pop();
    if (step.name === '' || step.name === '.' || step.name === '..') continue;
    const kid = here.dir.kids.get(step.name) ?? (step.create ? impliedDir(walk.layer) : undefined);
    if (kid?.kind === KIND.dir) {
      here.dir.kids.set(step.name, kid);
      stack.push({ dir: kid, bytes: here.bytes + step.name.length + 1 });
      if (here.bytes > LIMITS.pathBytes) throw refuse('symbolic links make too long a path of');
      continue;
    }
    if (kid?.kind !== KIND.symlink) throw refuse(blocked(kid, step.name));
    if (++links > LINKS_MAX) throw refuse(`more than ${LINKS_MAX} symbolic links in`);
    const link = kid.entry?.link ?? '';
    if (link.startsWith('/')) stack.length = 1;
    queue.unshift(...link.split('/').map((name) => ({ name, create: false })));
  }
}

function blocked(kid: Node | undefined, name: string): string {
  return kid === undefined ? `this layer has no "${name}" on the way to` : `"${name}" is not a directory on the way to`;
}
