// Laws of profiles, over random profiles and requests drawn from small vocabularies, so that they meet: an intersection allows exactly what both
// allow, a wider profile never less, and nothing makes evaluate() throw.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as magic from '../../proto/abi/magic.gen.ts';
import { Request } from '../../proto/gen/berth/helper/v1/request.ts';
import { evaluate } from '../../proto/policy/evaluate.ts';
import { intersect } from '../../proto/policy/intersect.ts';
import {
  type Amount,
  amount,
  type Ceiling,
  CEILING_NAMES,
  CEILINGS,
  type Profile,
} from '../../proto/policy/profile.ts';
import { policyProblem } from '../../proto/policy/problem.ts';
import type { Seen } from '../../proto/policy/seen.ts';
import { ALL_NAMESPACES, asRequest, launch } from '../unit/policy/ask.ts';

const runs = process.env['BERTH_LONG'] === '1' ? 100_000 : 3000;
const PATHS = [
  '/',
  '/a',
  '/a/b',
  '/a/b/c',
  '/ab',
  '/etc',
  '/etc/x',
  '/home',
  '/home/x',
  '/run',
  '/run/berth',
  '/run/berths',
  '/var/lib',
];
const NAMES = [
  'net',
  'user',
  'ipc',
  'time',
  'proc',
  'dev',
  'devpts',
  'CHOWN',
  'CHECKPOINT_RESTORE',
  'c 1:3',
  'c 1:5',
  'b 8:0',
  'net.a',
  'net.a.b',
  'launch',
  'exec',
];

const numbers = fc.constantFrom(0, 1, 2, 3, 5, 1.5);
const amounts: fc.Arbitrary<Amount> = fc.oneof(numbers, fc.constant('unlimited' as const));
const elements = fc.oneof(
  fc.constantFrom(...NAMES),
  fc.constantFrom('*', 'n*', 'net*', 'dev*', 'c 1:*', 'c *', 'C*', 'l*'),
);
const trees = fc.oneof(fc.constantFrom(...PATHS), fc.constantFrom('/a*', '/run/berth*', '/e*'));
const list = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.uniqueArray(of, { maxLength: 4 });

function anyValue(ceiling: Ceiling): fc.Arbitrary<unknown> {
  switch (ceiling.kind) {
    case 'flag':
    case 'must':
      return fc.boolean();
    case 'max':
      return amounts;
    case 'min':
      return fc.integer({ min: -2, max: 2 });
    case 'set':
    case 'needs':
      return list(elements);
    case 'paths':
    case 'closed':
      return list(trees);
    case 'limits':
      return fc.dictionary(fc.constantFrom('nofile', 'core', 'nice', '*'), amounts, { maxKeys: 3 });
    case 'rank':
      return fc.constantFrom(...ceiling.words);
  }
}
const anyProfile = fc.record(
  Object.fromEntries(CEILING_NAMES.map((name) => [name, anyValue(CEILINGS[name])])),
) as unknown as fc.Arbitrary<Profile>;
/** Mostly open, so that requests are allowed often enough to tell profiles apart. */
const OPEN: Profile = {
  ...(Object.fromEntries(CEILING_NAMES.map((name) => [name, widest(CEILINGS[name])])) as unknown as Profile),
};
const profiles: fc.Arbitrary<Profile> = fc.oneof(
  anyProfile,
  fc.tuple(anyProfile, fc.uniqueArray(fc.constantFrom(...CEILING_NAMES), { maxLength: 6 })).map(([some, names]) => ({
    ...OPEN,
    ...Object.fromEntries(names.map((name) => [name, some[name]])),
  })),
);

function widest(ceiling: Ceiling): unknown {
  switch (ceiling.kind) {
    case 'flag':
      return true;
    case 'must':
      return false;
    case 'max':
      return 'unlimited';
    case 'min':
      return -1000;
    case 'set':
      return ['*'];
    case 'paths':
      return ['/'];
    case 'needs':
    case 'closed':
      return [];
    case 'limits':
      return { '*': 'unlimited' };
    case 'rank':
      return ceiling.words.at(-1);
  }
}

/** A profile that allows at least as much, by one ceiling. */
function widen(profile: Profile, name: keyof Profile, by: Profile): Profile {
  const [own, other]: [unknown, unknown] = [profile[name], by[name]];
  const ceiling: Ceiling = CEILINGS[name];
  const wider = (): unknown => {
    switch (ceiling.kind) {
      case 'flag':
        return true;
      case 'must':
        return false;
      case 'max':
        return amount(own as Amount) > amount(other as Amount) ? own : other;
      case 'min':
        return Math.min(own as number, other as number);
      case 'set':
      case 'paths':
        return [...new Set([...(own as string[]), ...(other as string[])])];
      case 'needs':
      case 'closed':
        return (own as string[]).slice(1);
      case 'limits':
        return {
          ...(own as Record<string, Amount>),
          ...Object.fromEntries(Object.keys(own as object).map((key) => [key, 'unlimited'])),
        };
      case 'rank':
        return ceiling.words.at(-1);
    }
  };
  return { ...profile, [name]: wider() };
}

const bits = fc.bigInt({ min: 0n, max: 2n ** 41n - 1n });
const small = fc.integer({ min: 0, max: 6 });
const bigs = fc.bigInt({ min: -1n, max: 6n });
const bool = fc.boolean();
const id = fc.constant('a'.repeat(64));
const few = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(of, { maxLength: 2 });
const caps = fc.oneof(
  fc.constant({ bounding: 0n, effective: 0n, permitted: 0n, inheritable: 0n, ambient: 0n }),
  fc.record({ bounding: bits, effective: bits, permitted: bits, inheritable: bits, ambient: bits }),
);
const process_ = fc.record({
  ...{ argv: few(fc.string()), env: few(fc.string()), executables: few(fc.string()), cwd: fc.string() },
  ...{
    uid: small,
    gid: small,
    groups: few(small),
    noNewPrivileges: bool,
    oomScoreAdj: fc.integer({ min: -2, max: 2 }),
    umask: small,
  },
  rlimits: few(
    fc.record({
      resource: fc.integer({ min: 0, max: 17 }),
      soft: fc.bigInt({ min: 0n, max: 6n }),
      hard: fc.oneof(fc.bigInt({ min: 0n, max: 6n }), fc.constant(2n ** 64n - 1n)),
    }),
  ),
  capabilities: fc.option(caps, { nil: undefined }),
});
const limits = fc.record({
  settings: fc.uniqueArray(fc.record({ knob: fc.integer({ min: 0, max: 12 }), value: bigs }), {
    maxLength: 4,
    selector: (one) => one.knob,
  }),
  throttles: few(fc.record({ major: small, minor: small, kind: small, value: fc.bigInt({ min: 0n, max: 6n }) })),
  ...{ cpus: fc.string(), mems: fc.string() },
  deviceRules: few(fc.record({ block: bool, major: bigs, minor: bigs, read: bool, write: bool, mknod: bool })),
});
const hardening = fc.record({
  ...{ seccomp: small, maskedPaths: few(elements), readOnlyPaths: few(elements) },
  sysctls: few(fc.record({ name: fc.constantFrom('net.a', 'net.b', 'kernel.x'), value: fc.string() })),
});
const stdio = fc.record({ tty: bool, stdin: bool, columns: small, rows: small });
const source = fc.oneof(
  fc.record({
    $case: fc.constant('bind' as const),
    value: fc.record({ descriptor: fc.integer({ min: 0, max: 3 }), recursive: bool, file: bool, propagation: small }),
  }),
  fc.record({
    $case: fc.constant('tmpfs' as const),
    value: fc.record({ sizeBytes: fc.bigInt({ min: 0n, max: 6n }), mode: small, uid: small, gid: small }),
  }),
  fc.record({ $case: fc.constant('kernel' as const), value: fc.record({ filesystem: small }) }),
  fc.record({
    $case: fc.constant('file' as const),
    value: fc.record({ name: small, content: fc.constant(Buffer.from('x')) }),
  }),
  fc.constant(undefined),
);
const root = fc.record({
  source: fc.oneof(
    fc.record({ $case: fc.constant('image' as const), value: fc.record({ layers: few(id) }) }),
    fc.record({ $case: fc.constant('directory' as const), value: fc.record({ descriptor: small }) }),
    fc.constant(undefined),
  ),
  readOnly: bool,
});
const namespaceBits = fc
  .subarray([0x20000n, 0x10000000n, 0x40000000n, 0x8000000n, 0x20000000n, 0x4000000n, 0x2000000n, 0x80n])
  .map((some) => some.reduce((a, b) => a | b, 0n));
const namespaces = fc.record({
  unshare: fc.oneof({ weight: 3, arbitrary: fc.constant(ALL_NAMESPACES) }, { weight: 2, arbitrary: namespaceBits }),
  join: few(fc.record({ namespace: namespaceBits, container: id })),
  uidCount: fc.bigInt({ min: 0n, max: 6n }),
});
const maybe = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 9, arbitrary: of }, { weight: 1, arbitrary: fc.constant(undefined) });
/** A plain launch with some parts replaced. */
const launches = fc
  .record(
    {
      ...{
        root: maybe(root),
        process: maybe(process_),
        namespaces: maybe(namespaces),
        limits: maybe(limits),
        hardening: maybe(hardening),
        stdio: maybe(stdio),
      },
      mounts: few(fc.record({ source, target: fc.string(), readOnly: bool, noSuid: bool, noDev: bool, noExec: bool })),
      devices: few(
        fc.record({ path: fc.string(), block: bool, major: small, minor: small, mode: small, uid: small, gid: small }),
      ),
    },
    { requiredKeys: [] },
  )
  .map((parts) => ({ $case: 'launch' as const, value: { ...launch, ...parts } }));
const verbs = fc.oneof(
  { weight: 6, arbitrary: launches },
  fc
    .record({ container: id, id, process: maybe(process_), hardening: maybe(hardening), stdio: maybe(stdio) })
    .map((value) => ({ $case: 'exec' as const, value })),
  fc.record({ container: id, limits: maybe(limits) }).map((value) => ({ $case: 'update' as const, value })),
  fc
    .record({ diffId: id, sizeBytesMax: fc.bigInt({ min: 0n, max: 6n }) })
    .map((value) => ({ $case: 'importLayer' as const, value })),
  fc.record({ layers: few(id) }).map((value) => ({ $case: 'mergeImage' as const, value })),
  fc.record({ container: id, frozen: bool }).map((value) => ({ $case: 'pause' as const, value })),
);
const requests = verbs.map((verb) => asRequest(verb as Request['verb']));
const file = fc.record({
  ...{
    device: fc.constant(1n),
    inode: fc.constant(1n),
    mountId: fc.constant(1n),
    path: fc.oneof(fc.constantFrom(...PATHS), fc.constant('pipe:[1]')),
  },
  ...{
    fsType: fc.constantFrom(0xef53, ...Object.values(magic)),
    uid: fc.constantFrom(0, 1000),
    gid: small,
    mode: small,
    isDirectory: bool,
  },
});
const seens: fc.Arbitrary<Seen> = fc.record({
  ...{
    uid: fc.constant(1000),
    files: fc.array(file, { maxLength: 3 }),
    own: list(trees),
    hostNamespaces: list(fc.constantFrom('net', 'user')),
  },
  ...{ containers: small, execs: small, layersBytes: small },
});
const allows = (profile: Profile, request: Request, seen: Seen): boolean =>
  evaluate(profile, request, seen).length === 0;

describe('profiles', () => {
  test('an intersection allows exactly what both allow', () => {
    let [allowed, count] = [0, 0];
    fc.assert(
      fc.property(profiles, profiles, requests, seens, (a, b, request, seen) => {
        const both = allows(a, request, seen) && allows(b, request, seen);
        expect(allows(intersect(a, b), request, seen)).toBe(both);
        allowed += both ? 1 : 0;
        count += 1;
      }),
      { numRuns: runs },
    );
    expect(allowed / count).toBeGreaterThan(0.01);
  });

  test('intersecting is the same either way round, and with itself changes nothing that is allowed', () => {
    fc.assert(
      fc.property(profiles, profiles, requests, seens, (a, b, request, seen) => {
        expect(allows(intersect(a, b), request, seen)).toBe(allows(intersect(b, a), request, seen));
        expect(allows(intersect(a, a), request, seen)).toBe(allows(a, request, seen));
      }),
      { numRuns: runs / 3 },
    );
  });

  test('a wider profile never allows less, ceiling by ceiling', () => {
    let allowed = 0;
    fc.assert(
      fc.property(
        profiles,
        profiles,
        fc.constantFrom(...CEILING_NAMES),
        requests,
        seens,
        (a, b, ...[name, request, seen]) => {
          if (!allows(a, request, seen)) return;
          allowed += 1;
          expect(evaluate(widen(a, name, b), request, seen)).toEqual([]);
        },
      ),
      { numRuns: runs * 2 },
    );
    expect(allowed).toBeGreaterThan(runs / 50);
  });

  test('a narrower one refuses at least with the same reasons of other rules', () => {
    fc.assert(
      fc.property(profiles, profiles, requests, seens, (a, b, request, seen) => {
        const rules = (profile: Profile): Set<string> =>
          new Set(evaluate(profile, request, seen).map((reason) => reason.field));
        const fewer = rules(intersect(a, b));
        for (const field of rules(a)) expect(fewer).toContain(field);
      }),
      { numRuns: runs / 3 },
    );
  });

  test('every random profile, and every intersection of two, is one that the schema takes', () => {
    fc.assert(
      fc.property(profiles, profiles, (a, b) => {
        const policy = {
          version: 1,
          selfEnrol: false,
          selfEnrolProfiles: [],
          profiles: { a, b, both: intersect(a, b) },
        };
        expect(policyProblem(policy)).toBeUndefined();
      }),
      { numRuns: runs / 10 },
    );
  });
});

test('evaluate() never throws on what decodes, and gives the same answer twice', () => {
  fc.assert(
    fc.property(profiles, requests, seens, fc.nat(), (profile, request, seen, at) => {
      const bytes = Buffer.from(Request.encode(request).finish());
      bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ (1 << (at & 7));
      let decoded: Request;
      try {
        decoded = Request.decode(bytes);
      } catch {
        return;
      }
      expect(evaluate(profile, decoded, seen)).toEqual(evaluate(profile, decoded, seen));
    }),
    { numRuns: runs },
  );
});
