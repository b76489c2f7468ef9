// What two profiles both allow, as a profile.
import {
  type Amount,
  amount,
  type Ceiling,
  CEILING_NAMES,
  CEILINGS,
  covers,
  limitOf,
  type Profile,
  within,
} from './profile.ts';

type Names = readonly string[];
type Limits = Readonly<Record<string, Amount>>;

/** The profile that allows exactly what both allow. */
export function intersect(a: Profile, b: Profile): Profile {
  const both = Object.fromEntries(CEILING_NAMES.map((name) => [name, meet(CEILINGS[name], a[name], b[name])]));
  // What may be written may be read.
  const bindRead = meetPaths([...a.bindRead, ...a.bindWrite], [...b.bindRead, ...b.bindWrite]);
  return { ...(both as Profile), bindRead };
}

function meet(ceiling: Ceiling, a: unknown, b: unknown): unknown {
  switch (ceiling.kind) {
    case 'flag':
      return a === true && b === true;
    case 'must':
      return a === true || b === true;
    case 'max':
      return least(a as Amount, b as Amount);
    case 'min':
      return Math.max(a as number, b as number);
    case 'set':
      return meetAll(a as Names, b as Names, covers);
    case 'paths':
      return meetPaths(a as Names, b as Names);
    case 'needs':
    case 'closed':
      return [...new Set([...(a as Names), ...(b as Names)])].sort();
    case 'rank':
      return ceiling.words.find((word) => word === a || word === b);
    case 'limits':
      return meetLimits(a as Limits, b as Limits);
  }
}

function least(a: Amount, b: Amount): Amount {
  return amount(a) <= amount(b) ? a : b;
}

/** What is covered by both lists: of every pair the narrower, where one covers the other. */
function meetAll(a: Names, b: Names, over: (wide: string, narrow: string) => boolean): Names {
  const pairs = a.flatMap((x) => b.flatMap((y) => (over(x, y) ? [y] : over(y, x) ? [x] : [])));
  return [...new Set(pairs)].sort();
}

function meetPaths(a: Names, b: Names): Names {
  return meetAll(a, b, (wide, narrow) => within(narrow, wide));
}

function meetLimits(a: Limits, b: Limits): Limits {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  const both = names.flatMap((name) => {
    const [one, other] = [limitOf(a, name), limitOf(b, name)];
    return one === undefined || other === undefined ? [] : [[name, least(one, other)] as const];
  });
  return Object.fromEntries(both);
}
