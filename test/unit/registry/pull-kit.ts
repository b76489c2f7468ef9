// What every pull test needs: a spool directory, quick retries, and the lines that were told.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RegistryOptions } from '../../../core/registry/client.ts';
import { type Pulled, type PullWish, pullImage } from '../../../core/registry/pull.ts';
import type { ProgressLine } from '../../../core/spec/docker-api.ts';
import { parseReference } from '../../../core/spec/reference.ts';

export type Tried = { readonly lines: ProgressLine[]; readonly dir: string; readonly pulled: Promise<Pulled> };
export type Changes = {
  readonly wish?: Partial<PullWish>;
  readonly options?: Partial<RegistryOptions>;
  readonly dir?: string;
};

/** A new directory for one pull. */
export function spool(): string {
  return mkdtempSync(join(tmpdir(), 'berth-pull-'));
}

/** Pulls a name for linux/amd64 anonymously, with three quick retries, unless told otherwise. */
export function tryPull(name: string, changes: Changes = {}): Tried {
  const lines: ProgressLine[] = [];
  const dir = changes.dir ?? spool();
  const wish: PullWish = {
    reference: parseReference(name),
    platform: { os: 'linux', architecture: 'amd64', variant: '' },
    platformAsked: false,
    spoolDir: dir,
    have: () => false,
    onProgress: (line) => lines.push(line),
    retryMs: [1, 1, 1],
    ...changes.wish,
  };
  const options: RegistryOptions = {
    userAgent: 'berth/test',
    credentials: { kind: 'anonymous' },
    insecure: [],
    ...changes.options,
  };
  return { lines, dir, pulled: pullImage(wish, options) };
}

/** The lines about one layer, or those about none. */
export function statuses(lines: readonly ProgressLine[], id?: string): string[] {
  const chosen = lines.filter((line) => line.id === id).map((line) => line.status ?? '');
  return chosen.filter((status, i) => status !== chosen[i - 1]);
}
