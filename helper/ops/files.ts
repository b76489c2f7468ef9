// Files of the helper's own state. All lie beneath directories of root's, 0700, that no container and no user can write to; names come from
// checked ids and digests. What must survive a power failure is written beside, synced and renamed.
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isRefusal, unless } from './failed.ts';

/** The directory and those above it, root's alone where they are made. */
export function makeDirectory(path: string, mode = 0o700): string {
  fs.mkdirSync(path, { recursive: true, mode });
  return path;
}

/** Names in a directory; none where it is missing. */
export function list(path: string): string[] {
  return unless(['ENOENT'], () => fs.readdirSync(path)) ?? [];
}

/** A small text file; undefined where it is missing. */
export function readText(path: string): string | undefined {
  return unless(['ENOENT'], () => fs.readFileSync(path, 'utf8'));
}

/** Replaces a file at once: readers see the old or the new one, whole. `flush`: it is on disk before it has the name. */
export function writeWhole(path: string, text: string, flush = false): void {
  fs.writeFileSync(`${path}.new`, text, { mode: 0o600, flush });
  fs.renameSync(`${path}.new`, path);
}

/** Replaces a file at once, and so that it is there after a power failure when this returns. */
export function writeDurably(path: string, text: string): void {
  writeWhole(path, text, true);
  syncPath(dirname(path));
}

export function syncPath(path: string): void {
  using open = new DisposableStack();
  fs.fsyncSync(open.adopt(fs.openSync(path, 'r'), fs.closeSync));
}

/** The same without keeping everybody waiting. What is gone meanwhile needs none. */
export async function syncAside(path: string): Promise<void> {
  try {
    await using file = await open(path);
    await file.sync();
  } catch (error) {
    if (!isRefusal(error, 'ENOENT')) throw error;
  }
}

/** A name that nothing else has. */
export function randomName(): string {
  return randomBytes(8).toString('hex');
}

const DEEP = 2000;

/**
 * Removes a tree that nobody writes to any more, without keeping everybody waiting. Links are removed, never followed. A container can make directories
 * deeper than any path is long; one of them is then brought to the top, to try again.
 */
export async function removeTree(path: string): Promise<void> {
  for (;;) {
    try {
      return await rm(path, { recursive: true, force: true });
    } catch (error) {
      const deep = isRefusal(error, 'ENAMETOOLONG') ? findDeep(path) : undefined;
      if (deep === undefined) throw error;
      fs.renameSync(deep, `${path}/${randomName()}`);
    }
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

/**
 * Removes a directory by way of one that is emptied at each start: it is gone for everybody at once (or this throws), and when the promise is settled
 * even after a power failure.
 */
export function removeBy(way: string, path: string): Promise<void> {
  const aside = `${way}/${randomName()}`;
  unless(['ENOENT'], () => fs.renameSync(path, aside));
  return syncAside(dirname(path)).then(() => removeTree(aside));
}

/** A directory with nothing in it. */
export async function emptyDirectory(path: string): Promise<string> {
  await removeTree(path);
  return makeDirectory(path);
}
