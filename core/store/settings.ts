// Small values that the engine keeps for itself, as its own id.
import { commit, type Store, sql } from './open.ts';

/** A value by its name; undefined when it was never written. */
export function readSetting(store: Store, key: string): string | undefined {
  const row = sql(store, 'SELECT value FROM settings WHERE key = ?').get(key);
  return row === undefined ? undefined : String(row['value']);
}

/** Writes a value over what was there. */
export function writeSetting(store: Store, key: string, value: string): void {
  commit(store, () => {
    sql(store, 'INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)').run(key, value);
  });
}
