// The verdicts of the helper's filter: chosen cases, and libseccomp as the oracle for every call, with boundary arguments, on both architectures.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compileSeccomp, printFilters, type SeccompMachine, type SeccompRule } from '../../../.ci/seccomp-filter.ts';
import { DEFAULT_RULES } from '../../../.ci/seccomp-rules.gen.ts';
import { filterFor } from '../../../helper/lower/user.ts';
import { runFilter } from '../../kit/bpf.ts';
import { suite, tool } from '../../kit/need.ts';

const ALLOW = 0x7fff0000;
const ERRNO = 0x50000;
const KILL = 0x80000000;
const ARCH = { x64: 0xc000003e, arm64: 0xc00000b7 };
const DOCKER_CAPS = 0xa80425fbn;
const SYS_ADMIN = 1n << 21n;
/** libseccomp 2.5 knows the calls of Linux 5.17. */
const ORACLE_KNOWS = 450;

const verdict = (machine: SeccompMachine, caps: bigint, number: number, ...args: bigint[]): number =>
  runFilter(filterFor(machine, caps), { number, arch: ARCH[machine], args });

test("the helper's filters are what the compiler makes of Docker's profile", () => {
  const file = new URL('../../../helper/lower/seccomp.gen.ts', import.meta.url);
  expect(printFilters()).toBe(readFileSync(file, 'utf8'));
});

describe('filterFor()', () => {
  test.each([
    ['read is allowed', 0, [], DOCKER_CAPS, ALLOW],
    ['mount needs SYS_ADMIN', 165, [], DOCKER_CAPS, ERRNO | 1],
    ['mount with SYS_ADMIN', 165, [], SYS_ADMIN, ALLOW],
    ['unshare needs SYS_ADMIN', 272, [0x10000000n], DOCKER_CAPS, ERRNO | 1],
    ['clone without a namespace', 56, [0x11n], DOCKER_CAPS, ALLOW],
    ['clone with CLONE_NEWUSER', 56, [0x10000011n], DOCKER_CAPS, ERRNO | 1],
    ['clone3 does not exist, so that libraries fall back to clone', 435, [], DOCKER_CAPS, ERRNO | 38],
    ['socket AF_INET', 41, [2n], DOCKER_CAPS, ALLOW],
    ['socket AF_VSOCK', 41, [40n], DOCKER_CAPS, ERRNO | 1],
    ['socket AF_ALG', 41, [38n], DOCKER_CAPS, ERRNO | 1],
    ['personality 0xffffffff reads', 135, [0xffffffffn], DOCKER_CAPS, ALLOW],
    ['personality with high bits', 135, [0x1_0000_0000n], DOCKER_CAPS, ERRNO | 1],
    ['keyctl', 250, [], DOCKER_CAPS, ERRNO | 1],
    ['a number no kernel has', 9999, [], DOCKER_CAPS, ERRNO | 1],
    ['x32', 0x40000000 + 39, [], DOCKER_CAPS, ERRNO | 38],
  ])('%s', (_, number, args, caps, want) => {
    expect(verdict('x64', caps, number, ...args).toString(16)).toBe(want.toString(16));
  });

  test('the i386 entry kills', () => {
    expect(runFilter(filterFor('x64', DOCKER_CAPS), { number: 1, arch: 0x40000003, args: [] })).toBe(KILL);
  });

  test('is a tree: few instructions are run for any call', () => {
    for (const arch of ['x64', 'arm64'] as const) expect(filterFor(arch, DOCKER_CAPS).length / 8).toBeLessThan(300);
  });
});

describe('compileSeccomp()', () => {
  test('refuses what Docker does not have: a capability beside conditions, "unless" without "needs"', () => {
    const rule = { x64: [7], arm64: [], errno: 0, needs: undefined, unless: undefined, args: [] };
    const condition = { index: 0, op: 'EQ' as const, value: 0n, two: 0n };
    for (const one of [
      { ...rule, needs: 21, args: [condition] },
      { ...rule, needs: 21, errno: 38 },
      { ...rule, unless: 21 },
    ])
      expect(() => compileSeccomp([one], 'x64')).toThrow('Docker does not have');
  });

  test.each(['EQ', 'NE', 'LT', 'LE', 'GT', 'GE'] as const)('%s compares all 64 bits', (op) => {
    const edges = [0n, 1n, 0xffffffffn, 0x100000000n, 0x100000001n, 0x1ffffffffn, 0xffffffffffffffffn];
    const holds = {
      EQ: (a: bigint, b: bigint) => a === b,
      NE: (a: bigint, b: bigint) => a !== b,
      LT: (a: bigint, b: bigint) => a < b,
      LE: (a: bigint, b: bigint) => a <= b,
      GT: (a: bigint, b: bigint) => a > b,
      GE: (a: bigint, b: bigint) => a >= b,
    }[op];
    for (const value of edges) {
      const rule = { x64: [7], arm64: [], errno: 0, needs: undefined, unless: undefined };
      const rows = compileSeccomp([{ ...rule, args: [{ index: 2, op, value, two: 0n }] }], 'x64');
      const filter = Buffer.alloc(8 * rows.length);
      for (const [i, [code, yes, no, k]] of rows.entries()) {
        filter.writeUInt32LE(code | (yes << 16) | (no << 24), 8 * i);
        filter.writeUInt32LE(k, 8 * i + 4);
      }
      for (const arg of edges)
        expect(runFilter(filter, { number: 7, arch: ARCH.x64, args: [0n, 0n, arg] }), `${arg} ${op} ${value}`).toBe(
          holds(arg, value) ? ALLOW : ERRNO | 1,
        );
    }
  });
});

/** Every capability that some rule needs, in four sets: any two are apart in one of them. */
const NEEDED = [...new Set(DEFAULT_RULES.flatMap(({ needs }) => needs ?? []))];
const SOME = [0, 1, 2, 3].map((bit) =>
  NEEDED.filter((_, i) => ((i >> bit) & 1) === 1).reduce((set, one) => set | (1n << BigInt(one)), 0n),
);

/** Boundary values of every condition on a call, for every argument it looks at. */
function callsFor(number: number, machine: SeccompMachine): bigint[][] {
  const rules = DEFAULT_RULES.filter((rule) => rule[machine].includes(number) && rule.args.length > 0);
  const edges = rules.flatMap((rule) =>
    rule.args.flatMap((arg) => [
      arg.value - 1n,
      arg.value,
      arg.value + 1n,
      ~arg.value,
      arg.value | (1n << 32n),
      arg.value << 32n,
      arg.value >> 1n,
    ]),
  );
  const values = [...new Set([0n, 1n, 0xffffffffn, 1n << 63n, ...edges].map((value) => BigInt.asUintN(64, value)))];
  return [0, 1].flatMap((index) => values.map((value) => (index === 0 ? [value, 0n] : [0n, value])));
}

/** The C program that builds the same rules with libseccomp and writes the filter. */
function oracleSource(
  rules: readonly SeccompRule[],
  machine: SeccompMachine,
  names: ReadonlyMap<number, string>,
): string {
  const lines = rules.flatMap((rule) =>
    rule[machine]
      .filter((n) => n <= ORACLE_KNOWS)
      .map((n) => {
        const action = rule.errno === 0 ? 'SCMP_ACT_ALLOW' : `SCMP_ACT_ERRNO(${rule.errno})`;
        const args = rule.args.map(
          (a) =>
            `SCMP_CMP64(${a.index}, SCMP_CMP_${a.op}, ${a.value}ULL${a.op === 'MASKED_EQ' ? `, ${a.two}ULL` : ''})`,
        );
        return `add(${action}, "${names.get(n)}", ${args.length}${args.map((a) => `, ${a}`).join('')});`;
      }),
  );
  const arch = machine === 'x64' ? 'SCMP_ARCH_X86_64' : 'SCMP_ARCH_AARCH64';
  return `#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#define add(action, name, n, ...) do { int nr = seccomp_syscall_resolve_name(name); if (nr == __NR_SCMP_ERROR) { fprintf(stderr, "unknown %s\\n", name); exit(1); } \\
  struct scmp_arg_cmp a[] = { {0}, ##__VA_ARGS__ }; int r = seccomp_rule_add_array(c, action, nr, n, a + 1); if (r) { fprintf(stderr, "%s: %d\\n", name, r); exit(1); } } while (0)
int main(void) { scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(1));
if (seccomp_arch_native() != ${arch}) { seccomp_arch_add(c, ${arch}); seccomp_arch_remove(c, SCMP_ARCH_NATIVE); }
${lines.join('\n')}
return seccomp_export_bpf(c, 1) ? 1 : 0; }`;
}

function callNames(machine: SeccompMachine): Map<number, string> {
  const header = readFileSync(
    machine === 'x64' ? '/usr/include/x86_64-linux-gnu/asm/unistd_64.h' : '/usr/include/asm-generic/unistd.h',
    'utf8',
  );
  const renamed: Record<string, string> = { fstatat: 'newfstatat' };
  const found = [
    ...header.matchAll(/^#define __NR_(\w+)\s+(\d+)/gm),
    ...(machine === 'arm64' ? header.matchAll(/^#define __NR3264_(\w+)\s+(\d+)/gm) : []),
  ];
  return new Map(found.map(([, name = '', number]) => [Number(number), renamed[name] ?? name]));
}

suite(
  'against libseccomp',
  [
    tool('cc', 'gcc'),
    {
      reason: 'needs libseccomp-dev and linux-libc-dev of x86-64',
      met: () => existsSync('/usr/include/seccomp.h') && existsSync('/usr/include/x86_64-linux-gnu/asm/unistd_64.h'),
    },
  ],
  () => {
    test.each([
      ['x64', DOCKER_CAPS],
      ['x64', (1n << 41n) - 1n],
      ['x64', 0n],
      ['arm64', DOCKER_CAPS],
      ['arm64', (1n << 41n) - 1n],
      ...SOME.map((capabilities) => ['x64', capabilities] as const),
    ] as const)('%s with capabilities %s: no verdict differs', (machine, caps) => {
      const has = (capability: number | undefined): boolean =>
        capability !== undefined && ((caps >> BigInt(capability)) & 1n) === 1n;
      const rules = DEFAULT_RULES.filter((rule) => (rule.needs === undefined || has(rule.needs)) && !has(rule.unless));
      const plain = new Set(rules.filter((rule) => rule.args.length === 0).flatMap((rule) => rule[machine]));
      // libseccomp refuses a conditional rule beside an unconditional one of the same action
      const wanted = rules.map((rule) =>
        rule.args.length === 0 ? rule : { ...rule, [machine]: rule[machine].filter((n) => !plain.has(n)) },
      );
      const folder = mkdtempSync(join(tmpdir(), 'berth-seccomp-'));
      try {
        writeFileSync(join(folder, 'oracle.c'), oracleSource(wanted, machine, callNames(machine)));
        execFileSync('cc', ['-w', '-o', join(folder, 'oracle'), join(folder, 'oracle.c'), '-lseccomp']);
        const theirs = execFileSync(join(folder, 'oracle'));
        const ours = filterFor(machine, caps);
        let asked = 0;
        const differs: string[] = [];
        for (let number = 0; number <= ORACLE_KNOWS; number++)
          for (const args of callsFor(number, machine)) {
            asked++;
            const call = { number, arch: ARCH[machine], args };
            const [mine, oracle] = [runFilter(ours, call), runFilter(theirs, call)];
            if (mine !== oracle)
              differs.push(`${number}(${args}): ours ${mine.toString(16)}, libseccomp ${oracle.toString(16)}`);
          }
        expect(asked).toBeGreaterThan(3500);
        expect(differs.slice(0, 10)).toEqual([]);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  },
);
