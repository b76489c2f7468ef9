// Reads container records from the database into memory.
import { asContainerId } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import type { Store } from './open.ts';

/** Fills the store's maps of containers. Throws store_damaged. */
export function loadContainers(store: Store): void {
  for (const row of store.db.prepare('SELECT id, name, document FROM containers ORDER BY rowid').all()) {
    const id = asContainerId(String(row['id']));
    if (id === undefined) throw new BerthError('store_damaged', `the store has a container with the id ${row['id']}`);
    const name = String(row['name']);
    store.containers.set(id, { id, name, document: JSON.parse(String(row['document'])) as unknown });
    store.names.set(name, id);
  }
}
