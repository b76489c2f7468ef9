// Which host uids belong to whom (SECURITY, rule 6). A block is 65,536 ids. It is given to a principal for good and written down before its
// first use; within a principal a container's block is used again only after the container's files are gone for certain. A block that
// overlaps an account, a group or a subordinate range of this host is passed over, so no file of a container ever looks like somebody's.
import { readText, writeDurably } from './files.ts';
import { Failed } from './failed.ts';

export const BLOCK_IDS = 65_536;
const STORAGE = 'storage';
type Range = readonly [first: number, end: number];
type Allotment = { readonly first: number; readonly principal: string; readonly storage: boolean };

export type Blocks = {
  /** First uid of so many blocks in a row that the principal owns and no container uses. */
  take: (principal: string, count: number) => number;
  /** A container of the principal uses these (said again for every record after a restart). */
  use: (first: number, count: number) => void;
  /** The container's files are gone for certain. */
  free: (first: number, count: number) => void;
  /** First uid of the principal's storage range: owners of files in volumes and binds that are not the user's own. */
  storage: (principal: string) => number;
};

/** Where there is one id in all: it is everybody's root. */
export const ONE_ID: Blocks = { take: () => 0, use: () => {}, free: () => {}, storage: () => 0 };

/** First uid and number of blocks of a slot. Source: ARCHITECTURE, "Slots". */
export function slotRange(slot: number): { first: number; count: number } {
  return slot === 0 ? { first: 0x70000000, count: 1024 } : { first: 0x74000000 + (slot - 1) * 0x800000, count: 128 };
}

/** The slot's blocks, remembered in the file. */
export function openBlocks(path: string, slot: number): Blocks {
  const range = slotRange(slot);
  const taken = hostRanges();
  const allotted = parse(readText(path) ?? '');
  const used = new Map<number, number>(); // by how many containers: those that share a user namespace share its block
  const isHosts = (first: number) => taken.some(([from, end]) => from < first + BLOCK_IDS && first < end);

  const allot = (principal: string, count: number, storage: boolean): number => {
    const free = (first: number) => !allotted.has(first) && !isHosts(first);
    const own = (first: number) =>
      allotted.get(first)?.principal === principal && !allotted.get(first)?.storage && !used.has(first);
    for (const usable of storage ? [free] : [own, (first: number) => own(first) || free(first)]) {
      const first = firstRun(range, count, usable);
      if (first === undefined) continue;
      const fresh = blocksOf(first, count).filter((block) => !allotted.has(block));
      const added = fresh.map((block) => ({ first: block, principal, storage }));
      if (added.length > 0) writeDurably(path, print([...allotted.values(), ...added]));
      for (const one of added) allotted.set(one.first, one);
      return first;
    }
    throw new Failed(
      'allot uid block',
      `no ${count} free blocks of ${BLOCK_IDS} uids in a row for ${principal} in slot ${slot}; remove containers`,
    );
  };

  return {
    take(principal, count) {
      const first = allot(principal, count, false);
      this.use(first, count);
      return first;
    },
    use(first, count) {
      for (const block of blocksOf(first, count)) used.set(block, (used.get(block) ?? 0) + 1);
    },
    free(first, count) {
      for (const block of blocksOf(first, count)) {
        const others = (used.get(block) ?? 1) - 1;
        if (others > 0) used.set(block, others);
        else used.delete(block);
      }
    },
    storage(principal) {
      for (const one of allotted.values()) if (one.storage && one.principal === principal) return one.first;
      return allot(principal, 1, true);
    },
  };
}

function blocksOf(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i * BLOCK_IDS);
}

function firstRun(
  range: { first: number; count: number },
  count: number,
  usable: (first: number) => boolean,
): number | undefined {
  let run = 0;
  for (let i = 0; i < range.count; i++) {
    run = usable(range.first + i * BLOCK_IDS) ? run + 1 : 0;
    if (run === count) return range.first + (i - count + 1) * BLOCK_IDS;
  }
  return undefined;
}

function parse(text: string): Map<number, Allotment> {
  const all = new Map<number, Allotment>();
  for (const line of text.split('\n')) {
    const [first, principal, use] = line.split(' ');
    if (first && principal) all.set(Number(first), { first: Number(first), principal, storage: use === STORAGE });
  }
  return all;
}

function print(all: readonly Allotment[]): string {
  return all.map((one) => `${one.first} ${one.principal} ${one.storage ? STORAGE : 'container'}\n`).join('');
}

/** Ids this host gives to accounts, groups and subordinate ranges. */
function hostRanges(): Range[] {
  const rows = (path: string) => (readText(path) ?? '').split('\n').map((line) => line.split(':'));
  const one = ([, , id]: string[]): Range => [Number(id), Number(id) + 1];
  const sub = ([, first, count]: string[]): Range => [Number(first), Number(first) + Number(count)];
  return [
    ...['/etc/passwd', '/etc/group'].flatMap((path) => rows(path).map(one)),
    ...['/etc/subuid', '/etc/subgid'].flatMap((path) => rows(path).map(sub)),
  ].filter(([first, end]) => first >= 0 && end > first);
}
