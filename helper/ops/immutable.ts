// A layer's tar must never change while an image shows files from it. Where the file system can, nobody can write to it, not even root by mistake.
import { closeSync, openSync } from 'node:fs';
import { FS_IMMUTABLE_FL, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../proto/abi/fs.gen.ts';
import { ioctl } from '../sys/descriptors.ts';

/** Sets or takes the attribute; file systems without it, and files that are not there, are passed over. */
export function setImmutable(path: string, immutable: boolean): void {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const flags = Buffer.alloc(8);
    ioctl(fd, FS_IOC_GETFLAGS, flags);
    const now = flags.readUInt32LE(0);
    flags.writeUInt32LE(immutable ? now | FS_IMMUTABLE_FL : now & ~FS_IMMUTABLE_FL);
    ioctl(fd, FS_IOC_SETFLAGS, flags);
  } catch (error) {
    if (!['ENOENT', 'ENOTTY', 'EOPNOTSUPP', 'EPERM'].includes((error as { code?: string }).code ?? '')) throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
