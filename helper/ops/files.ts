// Files of the helper's own state. All lie beneath directories of root's, 0700, that no container and no user can write to; names come from
// checked ids and digests. What must survive a power failure is written beside, synced and renamed.
import { randomBytes } from 'node:crypto';
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

const DEEP = 2000;
const RECURSIVE = { recursive: true, force: true } as const;

/** Removes a tree that nobody writes to any more. Links are removed, never followed. */
export function removeTree(path: string): void {
  while (!withoutDepth(path, () => rmSync(path, RECURSIVE)));
}

/** The same without keeping everybody waiting. */
export async function removeBigTree(path: string): Promise<void> {
  for (;;) {
    const removed = await rm(path, RECURSIVE).then(
      () => () => {},
      (error: unknown) => () => {
        throw error;
      },
    );
    if (withoutDepth(path, removed)) return;
  }
}

/** A container can make directories deeper than any path is long; one of them is then brought to the top, to try again. */
function withoutDepth(path: string, remove: () => void): boolean {
  try {
    remove();
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENAMETOOLONG') throw error;
    const deep = findDeep(path);
    if (deep === undefined) throw error;
    renameSync(deep, `${path}/${randomBytes(8).toString('hex')}`);
    return false;
  }
}

function findDeep(top: string): string | undefined {
  const waiting = [top];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (path.length > DEEP) return path;
    const inside = readdirSync(path, { withFileTypes: true });
    for (const entry of inside) if (entry.isDirectory()) waiting.push(`${path}/${entry.name}`);
  }
  return undefined;
}
