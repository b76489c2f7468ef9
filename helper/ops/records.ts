// What the helper knows of each container, on disk beside its files, so that the next helper knows it too. Written before a process is started
// ("starting": whatever is found of it after a crash is removed) and after each change, as another line of the same file: the last whole one counts.
// Containers are looked up under their principal: one of somebody else's and one that does not exist are the same answer.
import { appendFileSync, chownSync, renameSync, statSync } from 'node:fs';
import { emptyDirectory, list, makeDirectory, readText, removeBy, removeTree, syncAside, writeWhole } from './files.ts';
import type { Taken } from './ids.ts';

/** How a process ended, as wait(2) tells it; nanoseconds of the boot clock as text, since JSON has no such numbers. */
export type Exit = { readonly status: number; readonly bootNs: string; readonly outOfMemory: boolean };

/** A process of ours; `started` (clock ticks after boot, /proc/PID/stat) tells it from a later one with its pid. */
export type Run = {
  readonly pid: number;
  readonly started: string;
  readonly bootNs: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  /** Under which numbers the keeper keeps its stdio, in the order of Held. */
  readonly kept: readonly number[];
};
export type ExecRecord = { run?: Run; exit?: Exit };

/** The ids are those that its user namespace maps; both 0 where it has the host's. */
export type ContainerRecord = Taken & {
  readonly id: string;
  readonly principal: string;
  /** CLONE_NEW* bits of the namespaces that are not the host's. */
  readonly namespaces: number;
  readonly layers: readonly string[];
  state: 'starting' | 'running' | 'exited';
  frozen: boolean;
  run?: Run;
  exit?: Exit;
  execs: Record<string, ExecRecord>;
};
export type Records = Awaited<ReturnType<typeof openRecords>>;

/** A file of more is written anew. */
const FILE_BYTES_MAX = 1 << 16;
/** After that a change is brought to disk; a container that lives shorter never is. */
const SYNC_MS = 1000;

/** Reads all records beneath `root`. What has no whole record was damaged with the disk: it is put aside in `ROOT.lost`, for a person to look at. */
export async function openRecords(root: string) {
  const gone = await emptyDirectory(`${root}.gone`); // being removed: one that is interrupted goes on at the next start
  const records = new Map<string, ContainerRecord>();
  const leaving = new Set<ContainerRecord>();
  const fresh = new Map<string, string>(); // files that were written, and are not on disk for certain
  let problem: unknown;
  const directory = (id: string): string => `${root}/${id}`;
  for (const id of list(makeDirectory(root))) {
    const record = parse(readText(`${directory(id)}/record.json`) ?? '');
    if (record?.id === id) records.set(id, record);
    else if (list(directory(id)).length === 0) await removeTree(directory(id));
    else renameSync(directory(id), `${makeDirectory(`${root}.lost`)}/${id}.${process.pid}`);
  }
  /** The principal's container; undefined for an unknown one and for somebody else's. */
  const find = (principal: string, id: string): ContainerRecord | undefined =>
    records.get(id)?.principal === principal ? records.get(id) : undefined;
  const sync = (): void => {
    const keep = (error: unknown): void => {
      problem = error;
    };
    for (const [id, path] of fresh) {
      const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      if (size > FILE_BYTES_MAX) writeWhole(path, JSON.stringify(records.get(id)));
      syncAside(path).catch(keep);
    }
    fresh.clear();
  };
  /** Writes it down; throws also what the disk answered when an earlier one was to be brought there, once. */
  const save = (record: ContainerRecord): void => {
    const { id } = record;
    const path = `${directory(id)}/record.json`;
    if (!records.has(id)) makeDirectory(directory(id));
    records.set(id, record);
    // The line break comes first: what a full disk or a crash cut off ends there.
    appendFileSync(path, `\n${JSON.stringify(record)}`, { mode: 0o600 });
    if (fresh.size === 0) setTimeout(sync, SYNC_MS).unref();
    fresh.set(id, path);
    const failed = problem;
    problem = undefined;
    if (failed !== undefined) throw failed;
  };
  /** Takes record and files away at once, or throws. Settled when they are gone, even after a power failure. */
  const remove = (id: string): Promise<void> => {
    const record = records.get(id);
    const going = removeBy(gone, directory(id));
    if (record !== undefined) leaving.add(record);
    for (const known of [records, fresh]) known.delete(id);
    return going.then(() => {
      if (record !== undefined) leaving.delete(record);
    });
  };
  return {
    all: () => [...records.values()],
    /** Those with files, which are not gone for certain until `remove` is done. */
    withFiles: () => [...records.values(), ...leaving],
    /** Whether the id is in use, whoever's it is. */
    has: (id: string): boolean => records.has(id),
    find,
    save,
    remove,
    directory,
  };
}

/** The last line that is whole. */
function parse(text: string): ContainerRecord | undefined {
  for (const line of text.split('\n').toReversed()) {
    try {
      return JSON.parse(line) as ContainerRecord;
    } catch {
      // cut off: what was written before it counts
    }
  }
  return undefined;
}

/** The container's own directories: the writable layer belongs to the block's first uid, the work directory and the rest to root. */
export function makeContainerDirectories(directory: string, owner: number): void {
  for (const name of ['work', 'files']) makeDirectory(`${directory}/${name}`);
  chownSync(makeDirectory(`${directory}/upper`, 0o755), owner, owner);
}
