// Files of the helper's own state. All lie beneath directories of root's, 0700, that no container and no user can write to; names come from
// checked ids and digests. What must survive a power failure is written beside, synced and renamed.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The directory and those above it, root's alone where they are made. */
export function makeDirectory(path: string, mode = 0o700): string {
  mkdirSync(path, { recursive: true, mode });
  return path;
}

/** Names in a directory; none where it is missing. */
export function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return [];
    throw error;
  }
}

/** A small text file; undefined where it is missing. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Replaces a file at once: readers see the old or the new one, whole. */
export function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Replaces a file at once, and so that it is there after a power failure when this returns. */
export function writeDurably(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
  syncPath(dirname(path));
}

export function syncPath(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function removeTree(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

/** The same without keeping everybody waiting. Links are removed, never followed; nobody can write to the tree any more. */
export async function removeBigTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
