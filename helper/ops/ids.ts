// Which host ids belong to whom (SECURITY, rule 6). A block is 65,536 ids. It is given to a principal for good and written down before its
// first use; within a principal a container's block is used again only after the container's files are gone for certain. A block that
// overlaps an account, a group or a subordinate range of this host is passed over, so no file of a container ever looks like somebody's.
import type { IdMaps } from '../launch/namespaces.ts';
import { Failed, step } from './failed.ts';
import { readText, writeDurably } from './files.ts';

export const BLOCK_IDS = 65_536;
type Allotment = { readonly first: number; readonly principal: string; readonly storage: boolean };
/** Blocks in a row, by their first id. */
export type Taken = { readonly firstId: number; readonly blocks: number };
export type Blocks = ReturnType<typeof openBlocks>;

/** Where there is one id in all: it is everybody's root. */
export const ONE_ID: Blocks = { take: () => 0, storage: () => 0 };

/** First uid and number of blocks of a slot. Source: ARCHITECTURE, "Slots". */
export function slotRange(slot: number): { first: number; count: number } {
  return slot === 0 ? { first: 0x70000000, count: 1024 } : { first: 0x74000000 + (slot - 1) * 0x800000, count: 128 };
}

/** The slot's blocks, remembered in the file. `used` tells those of containers whose files are not gone. */
export function openBlocks(path: string, slot: number, used: () => readonly Taken[]) {
  const { first: from, count: most } = slotRange(slot);
  const range = blocksOf(from, most);
  const hosts = hostRanges();
  const written = step(`read ${path}`, () => JSON.parse(readText(path) ?? '[]') as Allotment[]);
  const allotted = new Map(written.map((one) => [one.first, one]));

  const allot = (principal: string, count: number, storage: boolean): number => {
    const inUse = new Set(used().flatMap(({ firstId, blocks }) => blocksOf(firstId, blocks)));
    const isHosts = (block: number) => hosts.some(([first, end]) => first < block + BLOCK_IDS && block < end);
    const free = (block: number) => !allotted.has(block) && !isHosts(block);
    const own = (block: number) => {
      const one = allotted.get(block);
      return one?.principal === principal && !one.storage && !inUse.has(block);
    };
    for (const usable of storage ? [free] : [own, (block: number) => own(block) || free(block)]) {
      const first = range.find((_, i) => i + count <= most && range.slice(i, i + count).every(usable));
      if (first === undefined) continue;
      const fresh = blocksOf(first, count).filter((block) => !allotted.has(block));
      const added = fresh.map((block): Allotment => ({ first: block, principal, storage }));
      if (added.length > 0) writeDurably(path, JSON.stringify([...allotted.values(), ...added]));
      for (const one of added) allotted.set(one.first, one);
      return first;
    }
    const none = `no ${count} free blocks of ${BLOCK_IDS} uids in a row for ${principal} in slot ${slot}`;
    throw new Failed('allot uid block', `${none}; remove containers`);
  };
  return {
    /** First uid of so many blocks in a row that the principal owns and no container uses. */
    take: (principal: string, count: number): number => allot(principal, count, false),
    /** First uid of the principal's storage range: owners of files in volumes and binds that are not the user's own. */
    storage: (principal: string): number =>
      [...allotted.values()].find((one) => one.storage && one.principal === principal)?.first ??
      allot(principal, 1, true),
  };
}

function blocksOf(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i * BLOCK_IDS);
}

/** Ids this host gives to accounts, groups and subordinate ranges. */
function hostRanges(): (readonly [first: number, end: number])[] {
  const rows = (path: string) => (readText(path) ?? '').split('\n').map((line) => line.split(':'));
  const one = ([, , id]: string[]) => [Number(id), Number(id) + 1] as const;
  const sub = ([, first, count]: string[]) => [Number(first), Number(first) + Number(count)] as const;
  return [
    ...['/etc/passwd', '/etc/group'].flatMap((path) => rows(path).map(one)),
    ...['/etc/subuid', '/etc/subgid'].flatMap((path) => rows(path).map(sub)),
  ].filter(([first, end]) => first >= 0 && end > first);
}

/** The ids from `outside` on, as those from 0 on. */
export function ownIds(outside: number, count = BLOCK_IDS): IdMaps {
  const map = [{ inside: 0, outside, count }];
  return { uids: map, gids: map };
}

/**
 * How owners of files show in the binds of a container whose ids begin at `firstId`: for an idmapped mount, `inside` is the id on disk and `outside` the
 * one it shows as. The asking user's own uid and gid, by the kernel's word, are the container's root, his storage range is the rest. So a container can
 * make no file on the host that belongs to anybody but its principal, and no file of anybody else shows as somebody of the container.
 * Source: man 2 mount_setattr, MOUNT_ATTR_IDMAP.
 */
export function bindIds({ uid, gid }: { uid: number; gid: number }, storage: number, firstId: number): IdMaps {
  const map = (own: number) => [
    { inside: own, outside: firstId, count: 1 },
    { inside: storage + 1, outside: firstId + 1, count: BLOCK_IDS - 1 },
  ];
  return { uids: map(uid), gids: map(gid) };
}
