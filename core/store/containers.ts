// Container records: unique names, and finding one by id, name or the beginning of an id.
import { asContainerId, type ContainerId } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { commit, type Store, sql } from './open.ts';
import type { ContainerRecord } from './records.ts';

/** Writes a record, new or changed, also under a new name. On disk when it returns. Throws name_in_use with Docker's message. */
export function saveContainer(store: Store, record: ContainerRecord): void {
  const holder = store.names.get(record.name);
  if (holder !== undefined && holder !== record.id) throw nameInUse(record.name, holder);
  commit(store, () => {
    sql(
      store,
      'INSERT INTO containers (id, name, document) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, document = excluded.document',
    ).run(record.id, record.name, JSON.stringify(record.document));
  });
  const before = store.containers.get(record.id);
  if (before !== undefined) store.names.delete(before.name);
  store.containers.set(record.id, record);
  store.names.set(record.name, record.id);
}

function nameInUse(name: string, holder: ContainerId): BerthError {
  return new BerthError(
    'name_in_use',
    `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
}

/** Removes a record; nothing happens when there is none. */
export function removeContainer(store: Store, id: ContainerId): void {
  const record = store.containers.get(id);
  if (record === undefined) return;
  commit(store, () => {
    sql(store, 'DELETE FROM containers WHERE id = ?').run(id);
  });
  store.containers.delete(id);
  store.names.delete(record.name);
}

/**
 * Finds a container as a person names it: full id, then name (with or without slash), then the beginning of an id.
 * Throws container_not_found, bad_parameter when several ids begin so. Source: moby daemon/container.go, GetContainer, v28.
 */
export function findContainer(store: Store, ref: string): ContainerRecord {
  const id = asContainerId(ref);
  const named = store.names.get(ref.replace(/^\//, ''));
  const exact = (id && store.containers.get(id)) ?? (named && store.containers.get(named));
  if (exact !== undefined) return exact;
  const begins = /^[0-9a-f]+$/.test(ref) ? [...store.containers.keys()].filter((known) => known.startsWith(ref)) : [];
  if (begins.length > 1) throw new BerthError('bad_parameter', `Multiple IDs found with provided prefix: ${ref}`);
  const only = begins[0] && store.containers.get(begins[0]);
  if (only === undefined) throw new BerthError('container_not_found', `No such container: ${ref}`);
  return only;
}
