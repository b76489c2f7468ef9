// The engine's state on disk: one SQLite database, written through, read from memory. Whatever was committed survives kill -9 and power
// loss (WAL, synchronous FULL); memory changes only after the commit. One process at a time holds it.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { ContainerId, Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { loadContainers } from './load-containers.ts';
import { loadImages } from './load-images.ts';
import type { BlobRecord, ContainerRecord, ImageRecord, LayerRecord, Tag } from './records.ts';
import { MIGRATIONS } from './schema.ts';

/** An open store. Read the maps freely; only the functions of this folder change them. */
export type Store = Disposable & {
  readonly dir: string;
  readonly db: DatabaseSync;
  readonly prepared: Map<string, StatementSync>;
  readonly images: Map<Digest, ImageRecord>;
  /** By canonical text, `docker.io/library/busybox:latest`. */
  readonly tags: Map<string, Tag>;
  /** Manifest digests by `docker.io/library/busybox@sha256:…`, to the image's id. */
  readonly digests: Map<string, Digest>;
  readonly layers: Map<Digest, LayerRecord>;
  readonly blobs: Map<Digest, BlobRecord>;
  readonly containers: Map<ContainerId, ContainerRecord>;
  /** Without the leading slash. */
  readonly names: Map<string, ContainerId>;
};

const FILE = 'engine.db';
const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** Opens the store in a directory of the caller's own, making or migrating it. Throws conflict when another process holds it, store_damaged. */
export function openStore(dir: string): Store {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, FILE);
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    prepareDatabase(db, path);
    const store: Store = {
      dir,
      db,
      prepared: new Map(),
      images: new Map(),
      tags: new Map(),
      digests: new Map(),
      layers: new Map(),
      blobs: new Map(),
      containers: new Map(),
      names: new Map(),
      [Symbol.dispose]: () => {
        if (db.isOpen) db.close();
      },
    };
    loadImages(store);
    loadContainers(store);
    return store;
  } catch (error) {
    db.close();
    throw storeError(error, path);
  }
}

function prepareDatabase(db: DatabaseSync, path: string): void {
  db.exec(
    'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON',
  );
  db.exec('BEGIN IMMEDIATE; COMMIT'); // takes the lock now, not at the first write
  const found = Number(Object.values(db.prepare('PRAGMA user_version').get() ?? {})[0]);
  if (found > MIGRATIONS.length) {
    const why = `it has schema ${found}, this program knows ${MIGRATIONS.length}`;
    throw new BerthError('store_damaged', `${path}: ${why}`, { hint: 'use the newer version of Berth that wrote it' });
  }
  const verdict = Object.values(db.prepare('PRAGMA quick_check(1)').get() ?? {})[0];
  if (verdict !== 'ok') throw damaged(path, String(verdict));
  for (const [i, sql] of MIGRATIONS.entries()) {
    if (i >= found) db.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${i + 1}; COMMIT`);
  }
}

function damaged(path: string, why: string, cause?: unknown): BerthError {
  return new BerthError('store_damaged', `${path}: the database is damaged: ${why}`, {
    cause,
    hint: 'move it away and start again: running containers are found again, images must be pulled again',
  });
}

/** What went wrong with the database, as something a person can act on. Anything unknown is given back as it is. */
function storeError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('errcode' in error)) return error;
  const code = Number(error.errcode) & 0xff;
  if (code === SQLITE_BUSY) return new BerthError('conflict', `${path} is in use by another engine`, { cause: error });
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) return damaged(path, error.message, error);
  if (code !== SQLITE_FULL) return error;
  const hint = 'free some space, then try again';
  return new BerthError('no_space', `${path}: no space left on device`, { cause: error, hint });
}

/** Runs `work` as one transaction: all of it is on disk when this returns, none of it when it throws. */
export function commit(store: Store, work: () => void): void {
  const { db } = store;
  try {
    db.exec('BEGIN IMMEDIATE');
    work();
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw storeError(error, join(store.dir, FILE));
  }
}

/** A statement, prepared once. */
export function sql(store: Pick<Store, 'db' | 'prepared'>, text: string): StatementSync {
  const known = store.prepared.get(text);
  if (known !== undefined) return known;
  const made = store.db.prepare(text);
  store.prepared.set(text, made);
  return made;
}
