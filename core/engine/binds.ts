// Opens the sources of binds with the user's own rights, once: what the helper mounts is the descriptor, whatever the path names later.
import { existsSync, fstatSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { BindFact } from '../plan/facts.ts';
import { bindSourceMissing } from '../plan/volumes.ts';
import { BerthError } from '../base/errors.ts';
import { closeFd, openPath } from '../sys/fd.ts';
import { SysError } from '../sys/libc.ts';

export type Binds = {
  readonly fds: number[];
  readonly facts: BindFact[];
  /** Sources that are not there, and the directory above that was opened in their place. */
  readonly standIns: { readonly source: string; readonly at: string }[];
};
type Wanted = { readonly source: string; readonly create: boolean };

/**
 * The descriptors come after `already` others of the ticket. A missing directory of `-v` is made, by this user; with `makes` false the nearest
 * directory above stands in for it. The caller closes them.
 */
export function openBinds(wanted: readonly Wanted[], already: number, makes = true): Binds {
  const binds: Binds = { fds: [], facts: [], standIns: [] };
  try {
    for (const { source, create } of wanted) {
      const at = create && !makes ? nearest(source) : source;
      if (at !== source) binds.standIns.push({ source, at });
      const fd = openSource(at, create && makes);
      binds.fds.push(fd);
      const kind = fstatSync(fd).isDirectory() ? 'directory' : 'file';
      binds.facts.push({ source, descriptor: already + binds.fds.length - 1, kind });
    }
  } catch (error) {
    closeAll(binds.fds);
    throw error;
  }
  return binds;
}

export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) closeFd(fd);
}

/** The path, or the first above it that is there. */
function nearest(path: string): string {
  for (let at = path; ; at = dirname(at)) if (at === '/' || existsSync(at)) return at;
}

function openSource(source: string, create: boolean): number {
  try {
    return openPath(source);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.code !== 'ENOENT') throw refusal(source, error);
    if (!create) throw bindSourceMissing(source);
  }
  try {
    mkdirSync(source, { recursive: true });
    return openPath(source);
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw refusal(source, error);
    throw error;
  }
}

function refusal(source: string, cause: Error): BerthError {
  const code = 'code' in cause ? String(cause.code) : '';
  const hint =
    code === 'ELOOP'
      ? 'links of /proc that lead to open files are not followed'
      : `uid ${process.getuid?.()} must be able to reach it`;
  return new BerthError('bad_parameter', `error while creating mount source path '${source}': ${code}`, {
    cause,
    hint,
  });
}
