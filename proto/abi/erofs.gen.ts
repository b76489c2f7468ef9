// The on-disk format of EROFS as far as we write it. Source: fs/erofs/erofs_fs.h, Linux 6.18.

export const EROFS_SUPER_OFFSET = 1024;
export const EROFS_SUPER_MAGIC_V1 = 0xe0f5e1e2;
export const EROFS_FEATURE_COMPAT_MTIME = 0x00000002;
export const EROFS_FEATURE_INCOMPAT_CHUNKED_FILE = 0x00000004;
export const EROFS_FEATURE_INCOMPAT_DEVICE_TABLE = 0x00000008;

/** Inodes are numbered by their offset from meta_blkaddr in units of 32 bytes. */
export const EROFS_SLOT_BYTES = 32;
export const EROFS_INODE_EXTENDED_BYTES = 64;
export const EROFS_INODE_LAYOUT_EXTENDED = 1;
export const EROFS_INODE_FLAT_PLAIN = 0;
export const EROFS_INODE_FLAT_INLINE = 2;
export const EROFS_INODE_CHUNK_BASED = 4;
export const EROFS_CHUNK_FORMAT_BLKBITS_MASK = 0x001f;
export const EROFS_CHUNK_FORMAT_INDEXES = 0x0020;
export const EROFS_CHUNK_INDEX_BYTES = 8;
export const EROFS_NULL_ADDR = 0xffffffff;
export const EROFS_DEVICE_SLOT_BYTES = 128;
export const EROFS_DIRENT_BYTES = 12;
export const EROFS_XATTR_IBODY_HEADER_BYTES = 12;
export const EROFS_XATTR_INDEX_USER = 1;
export const EROFS_XATTR_INDEX_SECURITY = 6;

/** struct erofs_super_block, offsets of what is not zero. */
export const SUPER = {
  magic: 0,
  featureCompat: 8,
  blkszbits: 12,
  rootNid: 14,
  inos: 16,
  blocks: 36,
  metaBlkaddr: 40,
  uuid: 48,
  featureIncompat: 80,
  extraDevices: 86,
  devtSlotoff: 88,
} as const;

/** struct erofs_inode_extended. */
export const INODE = {
  format: 0,
  xattrIcount: 2,
  mode: 4,
  size: 8,
  u: 16,
  ino: 20,
  uid: 24,
  gid: 28,
  mtime: 32,
  mtimeNsec: 40,
  nlink: 44,
} as const;

/** struct erofs_deviceslot. */
export const DEVICE = { tag: 0, blocks: 64 } as const;
/** struct erofs_inode_chunk_index. */
export const CHUNK = { deviceId: 2, blkaddr: 4 } as const;
/** struct erofs_dirent. */
export const DIRENT = { nid: 0, nameoff: 8, fileType: 10 } as const;
/** struct erofs_xattr_entry. */
export const XATTR_ENTRY = { nameLen: 0, nameIndex: 1, valueSize: 2, name: 4 } as const;
