// What the helper knows of each container, on disk beside its files, so that the next helper knows it too. Written before a process is started
// ("starting": whatever is found of it after a crash is removed) and after each change. Containers are looked up under their principal: one of
// somebody else's and one that does not exist are the same answer.
import { chownSync, renameSync } from 'node:fs';
import { emptyDirectory, list, makeDirectory, readText, removeBy, removeTree, writeWhole } from './files.ts';
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

/** Reads all records beneath `root`. What has no whole record was damaged with the disk: it is put aside in `ROOT.lost`, for a person to look at. */
export async function openRecords(root: string) {
  const gone = await emptyDirectory(`${root}.gone`); // being removed: one that is interrupted goes on at the next start
  const records = new Map<string, ContainerRecord>();
  const leaving = new Map<string, ContainerRecord>();
  const directory = (id: string): string => `${root}/${id}`;
  for (const id of list(makeDirectory(root))) {
    const record = parse(readText(`${directory(id)}/record.json`));
    if (record?.id === id) records.set(id, record);
    else if (list(directory(id)).length === 0) await removeTree(directory(id));
    else renameSync(directory(id), `${makeDirectory(`${root}.lost`)}/${id}.${process.pid}`);
  }
  /** The principal's container; undefined for an unknown one and for somebody else's. */
  const find = (principal: string, id: string): ContainerRecord | undefined =>
    records.get(id)?.principal === principal ? records.get(id) : undefined;
  const save = (record: ContainerRecord): void => {
    records.set(record.id, record);
    writeWhole(`${makeDirectory(directory(record.id))}/record.json`, JSON.stringify(record));
  };
  /** Removes record and files; afterwards they stay removed even after a power failure. */
  const remove = async (id: string): Promise<void> => {
    const record = records.get(id);
    if (record !== undefined) leaving.set(id, record);
    records.delete(id);
    await removeBy(gone, directory(id));
    leaving.delete(id);
  };
  return {
    all: () => [...records.values()],
    /** Those with files, which are not gone for certain until `remove` is done. */
    withFiles: () => [...records.values(), ...leaving.values()],
    /** Whether the id is in use, whoever's it is. */
    has: (id: string): boolean => records.has(id),
    find,
    save,
    remove,
    directory,
  };
}

function parse(text: string | undefined): ContainerRecord | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as ContainerRecord);
  } catch {
    return undefined; // cut off by a power failure
  }
}

/** The container's own directories: the writable layer belongs to the block's first uid, the work directory and the rest to root. */
export function makeContainerDirectories(directory: string, owner: number): void {
  for (const name of ['work', 'files']) makeDirectory(`${directory}/${name}`);
  chownSync(makeDirectory(`${directory}/upper`, 0o755), owner, owner);
}
