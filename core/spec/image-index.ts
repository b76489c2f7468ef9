// The index of a merged image: the worker writes it beside the EROFS image, the engine reads it to find programs, /etc/passwd and the like
// without mounting anything. Little-endian; every read is bounds-checked.
//
//    0  8 bytes "BERTHIMG"        16  u32 inodes          32  u32 highest uid     40  zero up to 64
//    8  u32 version, 1            20  u32 names           36  u32 highest gid
//   12  u32 layers                24  u64 bytes of pool
// then u64 bytes of each layer's tar, bottom first; the inodes of 96 bytes (INODE), number 0 the root; the names of 12 bytes (u32 offset in
// the pool, u32 length, u32 inode), each directory's together and sorted by bytes; the pool. Extended attributes and sparse maps are as in
// layer-index.ts.
import { BerthError } from '../base/errors.ts';
import { type Extent, extentsOf, hasText, KIND, latin1, LIMITS, viewOf, xattrsOf } from './layer-index.ts';

export const IMAGE_HEADER_BYTES = 64;
export const INODE_BYTES = 96;
export const NAME_BYTES = 12;
export const IMAGE_VERSION = 1;

/** Offsets within an inode. `first` and `count`: the names of a directory, or the bytes of a symbolic link in the pool. */
export const INODE = {
  dataOff: 0,
  size: 8,
  mtime: 16,
  nsec: 24,
  mode: 28,
  kind: 30,
  uid: 32,
  gid: 36,
  nlink: 40,
  layer: 44,
  major: 48,
  minor: 52,
  first: 56,
  count: 60,
  xattrOff: 64,
  xattrLen: 68,
  segOff: 72,
  segCount: 76,
  stored: 80,
  parent: 88,
} as const;

const KINDS = {
  [KIND.file]: 'file',
  [KIND.dir]: 'dir',
  [KIND.symlink]: 'symlink',
  [KIND.char]: 'char',
  [KIND.block]: 'block',
  [KIND.fifo]: 'fifo',
} as const;
export type EntryKind = (typeof KINDS)[keyof typeof KINDS];

/** What is at a path. `mode` has the twelve permission bits; `layer` counts from the bottom, 0; `extents` say where in that layer's tar a file's bytes are. */
export type ImageEntry = {
  inode: number;
  kind: EntryKind;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: bigint;
  nsec: number;
  nlink: number;
  major: number;
  minor: number;
  /** Target of a symbolic link, a character per byte. */
  link: string;
  layer: number;
  extents: Extent[];
  xattrs: Map<string, Uint8Array>;
};

export type ImageIndex = {
  tarBytes: readonly number[];
  inodes: number;
  highestUid: number;
  highestGid: number;
  bytes: Uint8Array;
  inodesAt: number;
  namesAt: number;
  names: number;
  poolAt: number;
};

/** The outcome of lookup(): what is there, or which part of the path stopped it. */
export type Lookup =
  | { kind: 'found'; entry: ImageEntry; path: string }
  | { kind: 'missing' | 'not_directory' | 'too_many_links'; path: string };

const LINKS_MAX = 40;

const damaged = (what: string): BerthError =>
  new BerthError('store_damaged', `image index is damaged: ${what}`, { hint: 'remove the image and pull it again' });

/** Opens a merged index. Throws store_damaged. */
export function decodeImageIndex(bytes: Uint8Array): ImageIndex {
  if (bytes.length < IMAGE_HEADER_BYTES || !hasText(bytes, 0, 'BERTHIMG'))
    throw damaged('it does not begin with its mark');
  const view = viewOf(bytes);
  const word = (at: number): number => view.getUint32(at, true);
  if (word(8) !== IMAGE_VERSION) throw damaged(`version ${word(8)} is not ${IMAGE_VERSION}`);
  const [layers, inodes, names] = [word(12), word(16), word(20)];
  const poolBytes = Number(view.getBigUint64(24, true));
  if (layers > LIMITS.layers || inodes === 0) throw damaged('its counts are impossible');
  const inodesAt = IMAGE_HEADER_BYTES + layers * 8;
  const namesAt = inodesAt + inodes * INODE_BYTES;
  const poolAt = namesAt + names * NAME_BYTES;
  if (bytes.length !== poolAt + poolBytes)
    throw damaged(`it has ${bytes.length} bytes instead of ${poolAt + poolBytes}`);
  const tarBytes = Array.from({ length: layers }, (_, i) =>
    Number(view.getBigUint64(IMAGE_HEADER_BYTES + i * 8, true)),
  );
  return { tarBytes, inodes, highestUid: word(32), highestGid: word(36), bytes, inodesAt, namesAt, names, poolAt };
}

/** The facts of an inode. Throws store_damaged when it points outside the index or its layer's tar. */
export function imageEntry(index: ImageIndex, inode: number): ImageEntry {
  const view = inodeView(index, inode);
  const word = (at: number): number => view.getUint32(at, true);
  const kind = KINDS[view.getUint8(INODE.kind) as keyof typeof KINDS];
  if (kind === undefined) throw damaged(`inode ${inode} is of an unknown kind`);
  const layer = word(INODE.layer);
  const [size, stored, dataOff] = [long(view, INODE.size), long(view, INODE.stored), long(view, INODE.dataOff)];
  const isFile = kind === 'file';
  if (isFile && dataOff + stored > (index.tarBytes[layer] ?? -1))
    throw damaged(`inode ${inode} points outside its tar`);
  const segments = pool(index, word(INODE.segOff), word(INODE.segCount) * 16);
  return {
    inode,
    kind,
    mode: view.getUint16(INODE.mode, true) & 0o7777,
    uid: word(INODE.uid),
    gid: word(INODE.gid),
    size,
    mtime: view.getBigInt64(INODE.mtime, true),
    nsec: word(INODE.nsec),
    nlink: word(INODE.nlink),
    major: word(INODE.major),
    minor: word(INODE.minor),
    link: kind === 'symlink' ? latin1(pool(index, word(INODE.first), word(INODE.count))) : '',
    layer,
    extents: isFile ? extentsOf({ size, stored, dataOff, segments }) : [],
    xattrs: xattrsOf(pool(index, word(INODE.xattrOff), word(INODE.xattrLen))),
  };
}

/** The names in a directory, a character per byte, sorted, with their inodes. Empty for anything else. */
export function listDir(index: ImageIndex, inode: number): { name: string; inode: number }[] {
  const names = dirNames(index, inode);
  return Array.from({ length: names.count }, (_, i) => nameAt(index, names.first + i));
}

/**
 * What is at a path, with symbolic links followed as openat2(2) does with RESOLVE_IN_ROOT: at most 40, and the root is never left.
 * `path` is text (its UTF-8 bytes are looked up); with `nofollow` a link at the end is itself the answer. Throws store_damaged.
 */
export function lookup(index: ImageIndex, path: string, options: { nofollow?: boolean } = {}): Lookup {
  const queue = latin1(new TextEncoder().encode(path)).split('/');
  const stack = [{ inode: 0, name: '' }];
  const here = (): string => stack.map((step) => step.name).join('/') || '/';
  for (let links = 0; queue.length > 0; ) {
    const name = queue.shift() ?? '';
    const dir = stack.at(-1)?.inode ?? 0;
    if (inodeView(index, dir).getUint8(INODE.kind) !== KIND.dir) return { kind: 'not_directory', path: here() };
    if (name === '' || name === '.') continue;
    if (name === '..') {
      if (stack.length > 1) stack.pop();
      continue;
    }
    const inode = find(index, dir, name);
    if (inode === undefined) return { kind: 'missing', path: `${stack.map((step) => step.name).join('/')}/${name}` };
    const view = inodeView(index, inode);
    if (view.getUint8(INODE.kind) !== KIND.symlink || (options.nofollow && queue.every((rest) => rest === ''))) {
      stack.push({ inode, name });
      continue;
    }
    if (++links > LINKS_MAX)
      return { kind: 'too_many_links', path: `${stack.map((step) => step.name).join('/')}/${name}` };
    const link = latin1(pool(index, view.getUint32(INODE.first, true), view.getUint32(INODE.count, true)));
    if (link.startsWith('/')) stack.length = 1;
    queue.unshift(...link.split('/'));
  }
  return { kind: 'found', entry: imageEntry(index, stack.at(-1)?.inode ?? 0), path: here() };
}

function find(index: ImageIndex, dir: number, name: string): number | undefined {
  const names = dirNames(index, dir);
  let [low, high] = [names.first, names.first + names.count];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = nameAt(index, middle);
    if (at.name === name) return at.inode;
    if (at.name < name) low = middle + 1;
    else high = middle;
  }
  return undefined;
}

function dirNames(index: ImageIndex, inode: number): { first: number; count: number } {
  const view = inodeView(index, inode);
  if (view.getUint8(INODE.kind) !== KIND.dir) return { first: 0, count: 0 };
  const [first, count] = [view.getUint32(INODE.first, true), view.getUint32(INODE.count, true)];
  if (first + count > index.names) throw damaged(`directory ${inode} points outside the names`);
  return { first, count };
}

function nameAt(index: ImageIndex, i: number): { name: string; inode: number } {
  const view = new DataView(index.bytes.buffer, index.bytes.byteOffset + index.namesAt + i * NAME_BYTES, NAME_BYTES);
  const inode = view.getUint32(8, true);
  if (inode >= index.inodes) throw damaged(`name ${i} points to no inode`);
  return { name: latin1(pool(index, view.getUint32(0, true), view.getUint32(4, true))), inode };
}

function inodeView(index: ImageIndex, inode: number): DataView {
  if (!Number.isInteger(inode) || inode < 0 || inode >= index.inodes) throw damaged(`there is no inode ${inode}`);
  return new DataView(index.bytes.buffer, index.bytes.byteOffset + index.inodesAt + inode * INODE_BYTES, INODE_BYTES);
}

function pool(index: ImageIndex, at: number, length: number): Uint8Array {
  if (index.poolAt + at + length > index.bytes.length) throw damaged('something points outside the pool');
  return index.bytes.subarray(index.poolAt + at, index.poolAt + at + length);
}

function long(view: DataView, at: number): number {
  const value = Number(view.getBigUint64(at, true));
  if (!Number.isSafeInteger(value)) throw damaged('a number is over 2^53');
  return value;
}
