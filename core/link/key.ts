// The engine's key: made at the first start, kept in the user's state directory, 0600. The helper takes it only from its uid.
import { closeSync, fstatSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { newKeyFile, readKeyFile, type KeyFile } from '../../proto/sign/key.ts';
import { BerthError } from '../base/errors.ts';

const hint = 'remove it, start again and have the new key enrolled: berth admin enroll';

/** Reads the key of a file, or makes one where there is none. Throws store_damaged where the file is somebody else's or open to others. */
export function loadKey(path: string): KeyFile {
  const uid = process.getuid?.();
  const fd = openOrMake(path);
  try {
    const stat = fstatSync(fd);
    if (stat.uid !== uid || (stat.mode & 0o077) !== 0) {
      const found = `it is uid ${stat.uid}'s with mode 0${(stat.mode & 0o7777).toString(8)}`;
      throw new BerthError('store_damaged', `${path}: a key must be uid ${uid}'s with mode 0600; ${found}`, { hint });
    }
    const key = readKeyFile(readFileSync(fd, 'utf8'));
    if (key === undefined) throw new BerthError('store_damaged', `${path}: this is no Ed25519 key in PEM`, { hint });
    return key;
  } finally {
    closeSync(fd);
  }
}

function openOrMake(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    makeKey(path);
    return openSync(path, 'r');
  }
}

/** Written aside and renamed: a half-written key is never found. */
function makeKey(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const aside = `${path}.${process.pid}`;
  const fd = openSync(aside, 'wx', 0o600);
  try {
    writeSync(fd, newKeyFile());
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(aside, path);
}
