// Builds the EROFS metadata image of a merged tree: 512-byte blocks, 64-byte inodes, every file's data in its layer's tar, which is mounted
// as an extra device. Nothing but metadata is copied. Order: super block, device table, inodes with small directories, links and
// attributes inline, then the blocks of large directories and links. Source: Linux Documentation/filesystems/erofs.rst.
import * as erofs from '../../proto/abi/erofs.gen.ts';
import { KIND, putText, viewOf, xattrsOf } from '../spec/layer-index.ts';
import { type Chunks, planChunks, writeChunks } from './chunks.ts';
import { LayerFault } from './fault.ts';
import { byBytes, type Inode } from './merge.ts';

const BLOCK = 512;
const BLOCK_BITS = 9;
const IMAGE_BYTES_MAX = 2 ** 30;
/** The device table stands in the block after the super block's. */
const TABLE_AT = erofs.EROFS_SUPER_OFFSET + BLOCK;

/** S_IFMT bits and the file type in directories, by kind. */
export const TYPE: Readonly<Record<number, { mode: number; dirent: number }>> = {
  [KIND.file]: { mode: 0o100000, dirent: 1 },
  [KIND.dir]: { mode: 0o040000, dirent: 2 },
  [KIND.char]: { mode: 0o020000, dirent: 3 },
  [KIND.block]: { mode: 0o060000, dirent: 4 },
  [KIND.fifo]: { mode: 0o010000, dirent: 5 },
  [KIND.symlink]: { mode: 0o120000, dirent: 7 },
};

type DirBlock = { names: { name: string; inode: number }[]; bytes: number };
/** Where an inode and what belongs to it go: `at` in the image, its own data inline or in blocks from `block`. */
type Place = {
  at: number;
  xattrs: Uint8Array;
  chunks: Chunks;
  dir: DirBlock[];
  size: number;
  inline: boolean;
  block: number;
};
type Image = { bytes: Uint8Array; view: DataView; meta: number; inodes: readonly Inode[]; places: Place[] };

const align = (value: number, to: number): number => Math.ceil(value / to) * to;
/** Bytes of an inode with its attributes, before its data or chunk indexes. */
const fixedBytes = (place: Place): number => erofs.EROFS_INODE_EXTENDED_BYTES + place.xattrs.length;

/** The image. `tarBytes` are the sizes of the layers' tars, bottom first: the devices to mount it with. Throws LayerFault for what the format cannot hold. */
export function buildErofs(inodes: readonly Inode[], tarBytes: readonly number[]): Uint8Array {
  const meta = align(TABLE_AT + tarBytes.length * erofs.EROFS_DEVICE_SLOT_BYTES, BLOCK);
  const places = inodes.map((inode, i) => placeOf(inode, i));
  const end = layOut(places, inodes, meta);
  if (end > IMAGE_BYTES_MAX)
    throw new LayerFault('limit', `the image's metadata have ${end} bytes, more than ${IMAGE_BYTES_MAX}`);
  const bytes = new Uint8Array(end);
  const image = { bytes, view: viewOf(bytes), meta, inodes, places };
  writeSuper(image, tarBytes);
  for (const [i, inode] of inodes.entries()) writeInode(image, inode, i);
  return bytes;
}

function placeOf(inode: Inode, i: number): Place {
  const { entry } = inode;
  const place: Place = {
    at: 0,
    xattrs: xattrBody(inode),
    chunks: { bits: 0, count: 0 },
    dir: [],
    size: 0,
    inline: false,
    block: 0,
  };
  if (entry.kind === KIND.file) {
    place.chunks = planChunks(entry);
    place.size = entry.size;
  } else if (entry.kind === KIND.symlink) {
    place.size = entry.link.length;
  } else if (entry.kind === KIND.dir) {
    place.dir = dirBlocks(inode, i);
    place.size = (place.dir.length - 1) * BLOCK + (place.dir.at(-1)?.bytes ?? 0);
  }
  return place;
}

/** Names in order, in blocks that each hold whole names. */
function dirBlocks(inode: Inode, i: number): DirBlock[] {
  const names = [...inode.names, { name: '.', inode: i }, { name: '..', inode: inode.parent }].sort((a, b) =>
    byBytes(a.name, b.name),
  );
  const blocks: DirBlock[] = [];
  let last: DirBlock = { names: [], bytes: BLOCK };
  for (const name of names) {
    const bytes = erofs.EROFS_DIRENT_BYTES + name.name.length;
    if (last.bytes + bytes > BLOCK) {
      last = { names: [], bytes: 0 };
      blocks.push(last);
    }
    last.names.push(name);
    last.bytes += bytes;
  }
  return blocks;
}

/** Extended attributes as they follow an inode; nothing for none. */
function xattrBody(inode: Inode): Uint8Array {
  const found = [...xattrsOf(inode.entry.xattrs)];
  if (found.length === 0) return new Uint8Array(0);
  const parts = found.map(([key, value]) => {
    const user = key.startsWith('user.');
    const name = key.slice(user ? 5 : 9); // the allow-list leaves user.* and security.*
    return { name, value, index: user ? erofs.EROFS_XATTR_INDEX_USER : erofs.EROFS_XATTR_INDEX_SECURITY };
  });
  const sizes = parts.map(({ name, value }) => align(erofs.XATTR_ENTRY.name + name.length + value.length, 4));
  const body = new Uint8Array(sizes.reduce((sum, size) => sum + size, erofs.EROFS_XATTR_IBODY_HEADER_BYTES));
  const view = viewOf(body);
  let at = erofs.EROFS_XATTR_IBODY_HEADER_BYTES;
  for (const [i, { name, value, index }] of parts.entries()) {
    view.setUint8(at + erofs.XATTR_ENTRY.nameLen, name.length);
    view.setUint8(at + erofs.XATTR_ENTRY.nameIndex, index);
    view.setUint16(at + erofs.XATTR_ENTRY.valueSize, value.length, true);
    putText(body, at + erofs.XATTR_ENTRY.name, name);
    body.set(value, at + erofs.XATTR_ENTRY.name + name.length);
    at += sizes[i] ?? 0;
  }
  return body;
}

/** Gives every inode its place, the root first so that its number fits 16 bits; returns where the image ends. */
function layOut(places: readonly Place[], inodes: readonly Inode[], meta: number): number {
  let at = meta + erofs.EROFS_SLOT_BYTES; // number 0 stays unused: readdir(3) drops entries with inode 0
  for (const [i, place] of places.entries()) {
    const kind = inodes[i]?.entry.kind;
    const fixed = fixedBytes(place);
    place.at = align(at, erofs.EROFS_SLOT_BYTES);
    if (kind === KIND.file) {
      at = place.at + align(fixed, erofs.EROFS_CHUNK_INDEX_BYTES) + place.chunks.count * erofs.EROFS_CHUNK_INDEX_BYTES;
      continue;
    }
    const inline = place.size > 0 ? inlineAt(place.at, fixed, place.size) : undefined;
    place.inline = inline !== undefined;
    place.at = inline ?? place.at;
    at = place.at + fixed + (place.inline ? place.size : 0);
  }
  let block = Math.ceil(at / BLOCK);
  for (const [i, place] of places.entries()) {
    if (inodes[i]?.entry.kind === KIND.file || place.inline || place.size === 0) continue;
    place.block = block;
    block += Math.ceil(place.size / BLOCK);
  }
  return block * BLOCK;
}

/** The next place where the data fit into the same block after the inode; undefined when there is none. */
function inlineAt(at: number, fixed: number, size: number): number | undefined {
  for (let next = at; next < at + BLOCK; next += erofs.EROFS_SLOT_BYTES) {
    if (((next + fixed) % BLOCK) + size <= BLOCK) return next;
  }
  return undefined;
}

function writeSuper(image: Image, tarBytes: readonly number[]): void {
  const { view, meta, places, bytes } = image;
  const { SUPER, DEVICE } = erofs;
  const at = erofs.EROFS_SUPER_OFFSET;
  view.setUint32(at + SUPER.magic, erofs.EROFS_SUPER_MAGIC_V1, true);
  view.setUint32(at + SUPER.featureCompat, erofs.EROFS_FEATURE_COMPAT_MTIME, true);
  view.setUint8(at + SUPER.blkszbits, BLOCK_BITS);
  view.setUint16(at + SUPER.rootNid, nid(image, 0), true);
  view.setBigUint64(at + SUPER.inos, BigInt(places.length), true);
  view.setUint32(at + SUPER.blocks, bytes.length / BLOCK, true);
  view.setUint32(at + SUPER.metaBlkaddr, meta / BLOCK, true);
  view.setUint32(
    at + SUPER.featureIncompat,
    erofs.EROFS_FEATURE_INCOMPAT_CHUNKED_FILE | erofs.EROFS_FEATURE_INCOMPAT_DEVICE_TABLE,
    true,
  );
  view.setUint16(at + SUPER.extraDevices, tarBytes.length, true);
  view.setUint16(at + SUPER.devtSlotoff, TABLE_AT / erofs.EROFS_DEVICE_SLOT_BYTES, true);
  for (const [i, size] of tarBytes.entries()) {
    view.setUint32(TABLE_AT + i * erofs.EROFS_DEVICE_SLOT_BYTES + DEVICE.blocksLo, Math.floor(size / BLOCK), true);
  }
}

function nid(image: Image, inode: number): number {
  return ((image.places[inode]?.at ?? 0) - image.meta) / erofs.EROFS_SLOT_BYTES;
}

function writeInode(image: Image, inode: Inode, i: number): void {
  const { view, bytes } = image;
  const { entry } = inode;
  const place = image.places[i];
  const type = TYPE[entry.kind];
  if (place === undefined || type === undefined) throw new LayerFault('internal', `inode ${i} has no place or kind`);
  const { at } = place;
  const { INODE } = erofs;
  const chunked = entry.kind === KIND.file && place.chunks.count > 0;
  const layout = chunked
    ? erofs.EROFS_INODE_CHUNK_BASED
    : place.inline
      ? erofs.EROFS_INODE_FLAT_INLINE
      : erofs.EROFS_INODE_FLAT_PLAIN;
  view.setUint16(at + INODE.format, erofs.EROFS_INODE_LAYOUT_EXTENDED | (layout << 1), true);
  const xattrWords = (place.xattrs.length - erofs.EROFS_XATTR_IBODY_HEADER_BYTES) / 4 + 1;
  view.setUint16(at + INODE.xattrIcount, place.xattrs.length > 0 ? xattrWords : 0, true);
  view.setUint16(at + INODE.mode, type.mode | entry.mode, true);
  view.setBigUint64(at + INODE.size, BigInt(place.size), true);
  view.setUint32(at + INODE.u, inodeUnion(inode, place, chunked), true);
  view.setUint32(at + INODE.ino, i + 1, true);
  view.setUint32(at + INODE.uid, entry.uid, true);
  view.setUint32(at + INODE.gid, entry.gid, true);
  view.setBigInt64(at + INODE.mtime, entry.mtime, true);
  view.setUint32(at + INODE.mtimeNsec, entry.nsec, true);
  view.setUint32(at + INODE.nlink, inode.nlink, true);
  const after = at + fixedBytes(place);
  bytes.set(place.xattrs, after - place.xattrs.length);
  const data = place.inline ? after : place.block * BLOCK;
  if (chunked)
    writeChunks(view, align(after, erofs.EROFS_CHUNK_INDEX_BYTES), { entry, layer: inode.layer, chunks: place.chunks });
  if (entry.kind === KIND.symlink) putText(bytes, data, entry.link);
  for (const [b, block] of place.dir.entries()) writeDirBlock(image, data + b * BLOCK, block);
}

/** Block address, chunk format or device number, as the kind has it. */
function inodeUnion(inode: Inode, place: Place, chunked: boolean): number {
  const { kind, major, minor } = inode.entry;
  if (chunked) return erofs.EROFS_CHUNK_FORMAT_INDEXES | place.chunks.bits;
  if (kind !== KIND.char && kind !== KIND.block) return place.block;
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0; // include/linux/kdev_t.h, new_encode_dev
}

function writeDirBlock(image: Image, at: number, block: DirBlock): void {
  const { view, bytes, inodes } = image;
  const { DIRENT, EROFS_DIRENT_BYTES } = erofs;
  let nameAt = block.names.length * EROFS_DIRENT_BYTES;
  for (const [i, { name, inode }] of block.names.entries()) {
    const q = at + i * EROFS_DIRENT_BYTES;
    const kind = inodes[inode]?.entry.kind ?? 0;
    view.setBigUint64(q + DIRENT.nid, BigInt(nid(image, inode)), true);
    view.setUint16(q + DIRENT.nameoff, nameAt, true);
    view.setUint8(q + DIRENT.fileType, TYPE[kind]?.dirent ?? 0);
    putText(bytes, at + nameAt, name);
    nameAt += name.length;
  }
}
