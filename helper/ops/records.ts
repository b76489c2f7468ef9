// What the helper knows of each container, on disk beside its files, so that the next helper knows it too. Written before a process is started
// ("starting": whatever is found of it after a crash is removed) and after each change. Containers are looked up under their principal: one of
// somebody else's and one that does not exist are the same answer.
import { chownSync, mkdirSync, renameSync } from 'node:fs';
import { emptyDirectory, list, makeDirectory, readText, removeBy, removeTree, writeWhole } from './files.ts';

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

export type ContainerRecord = {
  readonly id: string;
  readonly principal: string;
  /** Host id of its id 0, and how many blocks its user namespace maps; both 0 where it has the host's. */
  readonly firstId: number;
  readonly blocks: number;
  /** CLONE_NEW* bits of the namespaces that are not the host's. */
  readonly namespaces: number;
  readonly layers: readonly string[];
  state: 'starting' | 'running' | 'exited';
  frozen: boolean;
  run?: Run;
  exit?: Exit;
  execs: Record<string, ExecRecord>;
};

export type Records = {
  readonly all: () => Iterable<ContainerRecord>;
  /** The principal's container; undefined for an unknown one and for somebody else's. */
  readonly find: (principal: string, id: string) => ContainerRecord | undefined;
  /** Whether the id is in use, whoever's it is. */
  readonly has: (id: string) => boolean;
  readonly save: (record: ContainerRecord) => void;
  /** Removes record and files; afterwards they stay removed even after a power failure. */
  readonly remove: (id: string) => Promise<void>;
  readonly directory: (id: string) => string;
};

/** Reads all records beneath `root`. What has no whole record was damaged with the disk: it is put aside in `ROOT.lost`, for a person to look at. */
export async function openRecords(root: string): Promise<Records> {
  makeDirectory(root);
  const gone = await emptyDirectory(`${root}.gone`); // being removed: one that is interrupted goes on at the next start
  const records = new Map<string, ContainerRecord>();
  for (const id of list(root)) {
    const record = parse(readText(`${root}/${id}/record.json`));
    if (record?.id === id) records.set(id, record);
    else if (list(`${root}/${id}`).length === 0) await removeTree(`${root}/${id}`);
    else renameSync(`${root}/${id}`, `${makeDirectory(`${root}.lost`)}/${id}.${process.pid}`);
  }
  return {
    all: () => [...records.values()],
    find: (principal, id) => (records.get(id)?.principal === principal ? records.get(id) : undefined),
    has: (id) => records.has(id),
    save(record) {
      records.set(record.id, record);
      makeDirectory(`${root}/${record.id}`);
      writeWhole(`${root}/${record.id}/record.json`, JSON.stringify(record));
    },
    remove(id) {
      records.delete(id);
      return removeBy(gone, `${root}/${id}`);
    },
    directory: (id) => `${root}/${id}`,
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
  for (const name of ['upper', 'work', 'files'])
    mkdirSync(`${directory}/${name}`, { recursive: true, mode: name === 'upper' ? 0o755 : 0o700 });
  chownSync(`${directory}/upper`, owner, owner);
}
