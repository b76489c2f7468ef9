// How many of something each uid has.

export type Counts = {
  readonly of: (uid: number) => number;
  readonly add: (uid: number) => void;
  readonly remove: (uid: number) => void;
};

/** Counts that forget uids of which there is none. */
export function newCounts(): Counts {
  const counts = new Map<number, number>();
  const of = (uid: number): number => counts.get(uid) ?? 0;
  return {
    of,
    add: (uid) => void counts.set(uid, of(uid) + 1),
    remove(uid) {
      if (of(uid) > 1) counts.set(uid, of(uid) - 1);
      else counts.delete(uid);
    },
  };
}
