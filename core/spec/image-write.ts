// Writes the index of a merged image; the format is in image-index.ts.
import { IMAGE_HEADER_BYTES, IMAGE_VERSION, INODE, INODE_BYTES, NAME_BYTES } from './image-index.ts';
import { KIND, type LayerEntry, latin1Bytes, putText, viewOf } from './layer-index.ts';

/** An inode as the worker has it: number 0 is the root, names are sorted by bytes. */
export type IndexedInode = {
  entry: LayerEntry;
  layer: number;
  parent: number;
  nlink: number;
  names: { name: string; inode: number }[];
};

/** The index of a merged image, and its highest uid and gid. */
export function encodeImageIndex(inodes: readonly IndexedInode[], tarBytes: readonly number[]) {
  const pool = poolOf();
  const names = inodes.reduce((sum, inode) => sum + inode.names.length, 0);
  const inodesAt = IMAGE_HEADER_BYTES + tarBytes.length * 8;
  const namesAt = inodesAt + inodes.length * INODE_BYTES;
  const table = new Uint8Array(namesAt + names * NAME_BYTES);
  const view = viewOf(table);
  let [highestUid, highestGid, name] = [0, 0, 0];
  for (const [i, inode] of inodes.entries()) {
    const at = inodesAt + i * INODE_BYTES;
    writeInode(new DataView(table.buffer, at, INODE_BYTES), inode, pool);
    if (inode.entry.kind === KIND.dir) {
      view.setUint32(at + INODE.first, name, true);
      view.setUint32(at + INODE.count, inode.names.length, true);
    }
    for (const one of inode.names) {
      const q = namesAt + name++ * NAME_BYTES;
      view.setUint32(q, pool.put(latin1Bytes(one.name)), true);
      view.setUint32(q + 4, one.name.length, true);
      view.setUint32(q + 8, one.inode, true);
    }
    highestUid = Math.max(highestUid, inode.entry.uid);
    highestGid = Math.max(highestGid, inode.entry.gid);
  }
  const bytes = pool.after(table);
  putText(table, 0, 'BERTHIMG');
  [IMAGE_VERSION, tarBytes.length, inodes.length, names].forEach(
    (word, i) => void view.setUint32(8 + i * 4, word, true),
  );
  view.setBigUint64(24, BigInt(bytes.length - table.length), true);
  view.setUint32(32, highestUid, true);
  view.setUint32(36, highestGid, true);
  for (const [i, size] of tarBytes.entries()) view.setBigUint64(IMAGE_HEADER_BYTES + i * 8, BigInt(size), true);
  bytes.set(table);
  return { bytes, highestUid, highestGid };
}

type Pool = { put(bytes: Uint8Array): number; after(table: Uint8Array): Uint8Array };

function poolOf(): Pool {
  const parts: Uint8Array[] = [];
  let length = 0;
  return {
    put(bytes) {
      parts.push(bytes);
      length += bytes.length;
      return length - bytes.length;
    },
    after(table) {
      const whole = new Uint8Array(table.length + length);
      let at = table.length;
      for (const part of parts) {
        whole.set(part, at);
        at += part.length;
      }
      return whole;
    },
  };
}

function writeInode(view: DataView, inode: IndexedInode, pool: Pool): void {
  const { entry } = inode;
  const word = (at: number, value: number): void => view.setUint32(at, value, true);
  view.setBigUint64(INODE.dataOff, BigInt(entry.dataOff), true);
  view.setBigUint64(INODE.size, BigInt(entry.size), true);
  view.setBigUint64(INODE.stored, BigInt(entry.stored), true);
  view.setBigInt64(INODE.mtime, entry.mtime, true);
  view.setUint16(INODE.mode, entry.mode, true);
  view.setUint8(INODE.kind, entry.kind);
  word(INODE.nsec, entry.nsec);
  word(INODE.uid, entry.uid);
  word(INODE.gid, entry.gid);
  word(INODE.nlink, inode.nlink);
  word(INODE.layer, inode.layer);
  word(INODE.major, entry.major);
  word(INODE.minor, entry.minor);
  word(INODE.parent, inode.parent);
  if (entry.kind === KIND.symlink) {
    word(INODE.first, pool.put(latin1Bytes(entry.link)));
    word(INODE.count, entry.link.length);
  }
  word(INODE.xattrOff, pool.put(entry.xattrs));
  word(INODE.xattrLen, entry.xattrs.length);
  word(INODE.segOff, pool.put(entry.segments));
  word(INODE.segCount, entry.segments.length / 16);
}
