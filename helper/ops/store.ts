// Directories that are made once, hold what never changes and are shared by all principals with a right to them: layers and merged images. A directory
// has its name only when it is whole and on disk, with its first right in it, and loses it before anything in it is removed; without a right of
// anybody's it is gone. A file called tar must never change while an image shows files from it: where the file system can, nobody can write to it,
// not even root by mistake.
import { closeSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { FS_IMMUTABLE_FL, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../proto/abi/fs.gen.ts';
import { ioctl } from '../sys/descriptors.ts';
import { Failed, unless } from './failed.ts';
import { emptyDirectory, list, makeDirectory, randomName, readText, removeBy, removeTree, syncPath } from './files.ts';

type Kept<Facts> = { readonly facts: Facts; readonly rights: Set<string> };
export type Store<Facts> = Awaited<ReturnType<typeof openStore<Facts>>>;

/** Opens the directories of a kind beneath `root`; what was interrupted is removed. */
export async function openStore<Facts>(root: string, kind: string) {
  const path = makeDirectory(`${root}/${kind}`);
  const temporaries = await emptyDirectory(`${root}/tmp`);
  const kept = new Map<string, Kept<Facts>>();
  const remove = async (name: string): Promise<void> => {
    kept.delete(name);
    setImmutable(`${path}/${name}/tar`, false);
    await removeBy(temporaries, `${path}/${name}`);
  };
  for (const name of list(path)) {
    const facts = readText(`${path}/${name}/facts`);
    const rights = new Set(list(`${path}/${name}/rights`));
    if (facts !== undefined && rights.size > 0) kept.set(name, { facts: JSON.parse(facts), rights });
    else await remove(name);
  }
  const give = (name: string, principal: string): void => {
    const rights = kept.get(name)?.rights;
    if (rights === undefined) throw new Failed(`use one of ${kind}`, 'it was dropped meanwhile');
    if (!rights.has(principal)) writeRight(`${path}/${name}`, principal);
    rights.add(principal);
  };
  /** Takes the right away; true: it was the last one. */
  const take = (name: string, principal: string): boolean => {
    const rights = kept.get(name)?.rights;
    if (!rights?.delete(principal)) return false;
    rmSync(`${path}/${name}/rights/${principal}`);
    syncPath(`${path}/${name}/rights`);
    return rights.size === 0;
  };
  /** Gives it the name, and the principal the right, once `fill` has written all files into a new directory; drops that where the name is taken by then. */
  const make = async (name: string, principal: string, fill: (directory: string) => Promise<Facts>): Promise<Facts> => {
    const temporary = makeDirectory(`${temporaries}/${randomName()}`);
    try {
      const facts = await fill(temporary);
      if (kept.has(name)) give(name, principal);
      else {
        writeFileSync(`${temporary}/facts`, JSON.stringify(facts), { mode: 0o600, flush: true });
        writeRight(temporary, principal);
        syncPath(temporary);
        renameSync(temporary, `${path}/${name}`);
        syncPath(path);
        setImmutable(`${path}/${name}/tar`, true);
        kept.set(name, { facts, rights: new Set([principal]) });
      }
      return facts;
    } finally {
      await removeTree(temporary);
    }
  };
  return {
    path,
    /** By name: what the directory holds and which principals have a right to it. */
    kept: kept as ReadonlyMap<string, Kept<Facts>>,
    /** The facts, for a principal who has the right. */
    find: (name: string, principal: string): Facts | undefined =>
      kept.get(name)?.rights.has(principal) ? kept.get(name)?.facts : undefined,
    make,
    give,
    take,
    remove,
    /** Makes all tars immutable, or (for a store that is to be removed) not. */
    seal: (immutable: boolean): void => {
      for (const name of kept.keys()) setImmutable(`${path}/${name}/tar`, immutable);
    },
  };
}

function writeRight(directory: string, principal: string): void {
  writeFileSync(`${makeDirectory(`${directory}/rights`)}/${principal}`, '', { mode: 0o600, flush: true });
  syncPath(`${directory}/rights`);
}

/** File systems without the attribute, and files that are not there, are passed over. */
function setImmutable(path: string, immutable: boolean): void {
  using open = new DisposableStack();
  unless(['ENOENT', 'ENOTTY', 'EOPNOTSUPP', 'EPERM'], () => {
    const fd = open.adopt(openSync(path, 'r'), closeSync);
    const flags = Buffer.alloc(8);
    ioctl(fd, FS_IOC_GETFLAGS, flags);
    const now = flags.readUInt32LE(0);
    flags.writeUInt32LE(immutable ? now | FS_IMMUTABLE_FL : now & ~FS_IMMUTABLE_FL);
    ioctl(fd, FS_IOC_SETFLAGS, flags);
  });
}
