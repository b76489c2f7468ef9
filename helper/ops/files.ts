// Files of the helper's own state. All lie beneath directories of root's, 0700, that no container and no user can write to; names come from
// checked ids and digests. What must survive a power failure is written beside, synced and renamed.
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The directory and those above it, root's alone where they are made. */
export function makeDirectory(path: string, mode = 0o700): string {
  fs.mkdirSync(path, { recursive: true, mode });
  return path;
}

/** Names in a directory; none where it is missing. */
export function list(path: string): string[] {
  try {
    return fs.readdirSync(path);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return [];
    throw error;
  }
}

/** A small text file; undefined where it is missing. */
export function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Replaces a file at once: readers see the old or the new one, whole. */
export function writeWhole(path: string, text: string): void {
  fs.writeFileSync(`${path}.new`, text, { mode: 0o600 });
  fs.renameSync(`${path}.new`, path);
}

/** Replaces a file at once, and so that it is there after a power failure when this returns. */
export function writeDurably(path: string, text: string): void {
  fs.writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  fs.renameSync(`${path}.new`, path);
  syncPath(dirname(path));
}

export function syncPath(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

const DEEP = 2000;
const RECURSIVE = { recursive: true, force: true } as const;

/** Removes a tree that nobody writes to any more. Links are removed, never followed. */
export function removeTree(path: string): void {
  while (!withoutDepth(path, () => fs.rmSync(path, RECURSIVE)));
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
    fs.renameSync(deep, `${path}/${randomBytes(8).toString('hex')}`);
    return false;
  }
}

function findDeep(top: string): string | undefined {
  const waiting = [top];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (path.length > DEEP) return path;
    const inside = fs.readdirSync(path, { withFileTypes: true });
    for (const entry of inside) if (entry.isDirectory()) waiting.push(`${path}/${entry.name}`);
  }
  return undefined;
}
