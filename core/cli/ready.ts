// Where an instance's processes meet, and whether they live: what every command looks at, in a module that loads nothing heavy.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Place } from './session.ts';

export type InstancePaths = {
  readonly run: string;
  readonly helper: string;
  readonly lane: string;
  readonly ready: string;
  readonly log: string;
};

/** Where an instance's processes meet. Source: ARCHITECTURE.md, "Paths". */
export function pathsOf(place: Pick<Place, 'stateDir'>): InstancePaths {
  const run = place.stateDir === undefined ? '/run/berth' : join(place.stateDir, 'run');
  const log = place.stateDir === undefined ? '/var/log/berth' : join(place.stateDir, 'log');
  return { run, helper: join(run, 'helper.sock'), lane: join(run, 'lane.sock'), ready: join(run, 'helper.json'), log };
}

/** Whether the instance is this user's own, its helper his to start: root's, or of a directory that is his or not there yet. */
export function isOwn({ stateDir }: Pick<Place, 'stateDir'>): boolean {
  const uid = process.getuid?.();
  return uid === 0 || (stateDir !== undefined && (statSync(stateDir, { throwIfNoEntry: false })?.uid ?? uid) === uid);
}

/** What the helper says of itself once it serves. */
export type Ready = {
  readonly helper?: number;
  readonly keeper?: number;
  readonly porter?: number;
  readonly version?: string;
  readonly slot?: number;
};

/** Reads the ready file; undefined when there is none, it is half written, or not for this user to read. */
export function readReady(path: string): Ready | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Ready;
  } catch (error) {
    if (error instanceof SyntaxError || ['ENOENT', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return undefined;
    throw error;
  }
}

/** Whether the process runs; one that only waits for its parent to notice its end does not. Source: man 5 proc_pid_stat, field 3. */
export function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** Whether the helper is started without us: its keeper does that, and of one whose keeper died the helper becomes the keeper. */
export function isComingBack(paths: InstancePaths): boolean {
  const ready = readReady(paths.ready);
  // An orderly end takes the socket away: one that is there and of which nothing is known may be answered again.
  if (ready === undefined) return existsSync(paths.helper);
  return [ready.keeper, ready.helper].some((pid) => pid !== undefined && isAlive(pid));
}
