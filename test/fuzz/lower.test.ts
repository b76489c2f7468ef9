// Whatever a checked plan says, its program is accepted by checkProgram (lowering ends with that), is encoded alike twice, and names no descriptor of the
// helper that the host's facts do not.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CheckedLaunch, CheckedMount } from '../../helper/decode/checked.ts';
import { MASKABLE, READ_ONLY_ABLE, SYSCTLS } from '../../proto/policy/lists.ts';
import { encodeProgram } from '../../helper/lower/encode.ts';
import type { LaunchHost } from '../../helper/lower/host.ts';
import { lowerLaunch } from '../../helper/lower/launch.ts';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../../proto/abi/sched.gen.ts';
import { Propagation, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import { DEFAULT_MOUNTS, planOf, processOf } from '../kit/launcher.ts';

const seed = Number(process.env['BERTH_SEED'] ?? Date.now() % 2 ** 31);
const BITS = [CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS];
const word = fc.stringMatching(/^[a-z][a-z0-9._-]{0,8}$/);
const path = fc.array(word, { minLength: 1, maxLength: 5 }).map((names) => `/data/${names.join('/')}`);
const attributes = fc.record({
  readOnly: fc.boolean(),
  noSuid: fc.boolean(),
  noDev: fc.boolean(),
  noExec: fc.boolean(),
});
const source: fc.Arbitrary<CheckedMount['source']> = fc.oneof(
  fc
    .record({
      recursive: fc.boolean(),
      file: fc.boolean(),
      propagation: fc.constantFrom(
        ...[Propagation.PROPAGATION_PRIVATE, Propagation.PROPAGATION_SLAVE, Propagation.PROPAGATION_SHARED],
      ),
    })
    .map((value) => ({ $case: 'bind' as const, value: { descriptor: 0, ...value } })),
  fc
    .record({ sizeBytes: fc.bigInt(0n, 1n << 40n), mode: fc.nat(0o7777), uid: fc.nat(65_535), gid: fc.nat(65_535) })
    .map((value) => ({ $case: 'tmpfs' as const, value })),
);
const mounts = fc.array(
  fc.tuple(source, path, attributes).map(([one, target, more]): CheckedMount => ({ source: one, target, ...more })),
  { maxLength: 12 },
);
const caps = fc.bigInt(0n, (1n << 41n) - 1n);
const user = fc
  .record({
    uid: fc.nat(65_535),
    groups: fc.array(fc.nat(65_535), { maxLength: 4 }),
    noNewPrivileges: fc.boolean(),
    oomScoreAdj: fc.integer({ min: -1000, max: 1000 }),
    cwd: fc.oneof(fc.constant('/'), path),
    a: caps,
    b: caps,
    c: caps,
    d: caps,
  })
  .map(({ a, b, c, d, ...more }) => {
    const permitted = a & b;
    const inheritable = a & c;
    return processOf(['prog', 'x'], {
      ...more,
      capabilities: {
        bounding: a,
        permitted,
        effective: permitted & d,
        inheritable,
        ambient: permitted & inheritable & d,
      },
    });
  });
const plan = fc
  .record({
    bits: fc.subarray(BITS),
    mounts,
    user,
    init: fc.boolean(),
    tty: fc.boolean(),
    readOnly: fc.boolean(),
    filtered: fc.boolean(),
    masked: fc.subarray([...MASKABLE.keys()]),
    readOnlyPaths: fc.subarray([...READ_ONLY_ABLE]),
    sysctls: fc.subarray([...SYSCTLS.keys()]),
  })
  .map(({ bits, tty, filtered, ...more }): CheckedLaunch => {
    const unshare = bits.reduce((all, bit) => all | bit, CLONE_NEWNS) >>> 0;
    const sysctls = more.sysctls
      .filter((name) => (unshare & (SYSCTLS.get(name) ?? 0)) !== 0)
      .map((name) => ({ name, value: '1' }));
    return planOf({
      namespaces: { unshare: BigInt(unshare), join: [], uidCount: 65536n },
      hostname: (unshare & CLONE_NEWUTS) === 0 ? '' : 'box',
      mounts: [...DEFAULT_MOUNTS, ...more.mounts],
      process: more.user,
      init: more.init,
      root: { source: { $case: 'image', value: { layers: [] } }, readOnly: more.readOnly },
      stdio: { tty, stdin: true, columns: tty ? 80 : 0, rows: tty ? 24 : 0 },
      hardening: {
        seccomp: filtered ? Seccomp.SECCOMP_DEFAULT : Seccomp.SECCOMP_UNCONFINED,
        maskedPaths: more.masked,
        readOnlyPaths: more.readOnlyPaths,
        sysctls,
      },
    });
  });
// Any numbers, all different.
const numbers = fc.uniqueArray(fc.integer({ min: 3, max: 5000 }), { minLength: 12, maxLength: 12 });

function hostOf(
  of: CheckedLaunch,
  [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0, i = 0, j = 0, k = 0]: readonly number[],
): LaunchHost {
  const own = (of.namespaces.unshare & BigInt(CLONE_NEWUSER)) !== 0n;
  return {
    machine: { arch: 'x64', rootless: false, lastCapability: 40, seedNamespace: a, storeNamespace: b },
    status: c,
    userNamespace: own ? d : undefined,
    firstId: own ? 0x70000000 : 0,
    root: { kind: 'image', name: 'abc' },
    home: e,
    binds: new Map([[0, { descriptor: f, idmap: own ? g : undefined }]]),
    joined: [],
    cgroups: { kind: 'v1', groups: [{ name: 'pids', parent: h, path: 'abc' }] },
    stdio: of.stdio.tty ? { kind: 'tty', socket: i } : { kind: 'pipes', descriptors: [i, j, k] },
  };
}

test(`every plan's program is accepted (seed ${seed})`, () => {
  fc.assert(
    fc.property(plan, numbers, (one, fds) => {
      const first = lowerLaunch(one, hostOf(one, fds)).program;
      const second = lowerLaunch(one, hostOf(one, fds)).program;
      expect(encodeProgram(first, { arch: 'x64' })).toEqual(encodeProgram(second, { arch: 'x64' }));
      for (const descriptor of first.descriptors) expect(fds).toContain(descriptor);
    }),
    { seed, numRuns: process.env['BERTH_LONG'] ? 5000 : 300 },
  );
});
