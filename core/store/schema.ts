// The database's tables, as steps from an empty file to today's. A step that was released never changes; a new one goes to the end.
// Digests are texts with `sha256:`, times milliseconds since 1970, sizes bytes.

const FIRST = `
  CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE layers (diff_id TEXT PRIMARY KEY, size INTEGER NOT NULL, added_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, diff_id TEXT NOT NULL REFERENCES layers ON DELETE CASCADE,
    media_type TEXT NOT NULL, size INTEGER NOT NULL, kept INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE images (id TEXT PRIMARY KEY, config BLOB NOT NULL, added_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE image_layers (
    image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE, position INTEGER NOT NULL,
    diff_id TEXT NOT NULL REFERENCES layers, blob TEXT,
    PRIMARY KEY (image_id, position)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE tags (
    reference TEXT PRIMARY KEY, image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE, tagged_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE digests (
    name TEXT NOT NULL, digest TEXT NOT NULL, image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    PRIMARY KEY (name, digest)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document TEXT NOT NULL) STRICT
`;

export const MIGRATIONS: readonly string[] = [FIRST];
