// Compiles Docker's default seccomp profile (seccomp-rules.gen.ts) to the filter that the helper installs, classic BPF in helper/lower/seccomp.gen.ts: a
// balanced tree over the call numbers, capability and argument rules at its leaves. Usage: node .ci/seccomp-filter.ts. test/unit/lower/seccomp.test.ts proves
// that the helper's file is what this makes, and that it answers as libseccomp does.
import { writeFileSync } from 'node:fs';
import { AUDIT_ARCH_AARCH64, AUDIT_ARCH_X86_64 } from '../proto/abi/audit.gen.ts';
import { ENOSYS, EPERM } from '../proto/abi/errno.gen.ts';
import * as bpf from '../proto/abi/filter.gen.ts';
import { SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS } from '../proto/abi/seccomp.gen.ts';
import { DEFAULT_RULES } from './seccomp-rules.gen.ts';

export type SeccompComparison = 'EQ' | 'NE' | 'LT' | 'LE' | 'GT' | 'GE' | 'MASKED_EQ';
/** One argument's condition; for MASKED_EQ `value` is the mask and `two` what must remain. Source: seccomp_rule_add(3). */
export type SeccompCondition = {
  readonly index: number;
  readonly op: SeccompComparison;
  readonly value: bigint;
  readonly two: bigint;
};
/** A profile's rule: calls by number, errno 0 for "allow", the capability it needs or must not have, conditions that all must hold. */
export type SeccompRule = {
  readonly x64: readonly number[];
  readonly arm64: readonly number[];
  readonly errno: number;
  readonly needs: number | undefined;
  readonly unless: number | undefined;
  readonly args: readonly SeccompCondition[];
};
export type SeccompMachine = 'x64' | 'arm64';

type Target = 'pass' | 'fail' | undefined;
/** Jump targets are names until the block they lie in is complete, then distances. */
type Instruction = {
  readonly code: number;
  readonly k: number;
  readonly yes?: Target | number;
  readonly no?: Target | number;
  /** With it, `k` is 0 for a process that has this capability in its bounding set. */
  readonly capability?: number;
};

const LOAD = bpf.BPF_LD | bpf.BPF_W | bpf.BPF_ABS;
const RETURN = bpf.BPF_RET | bpf.BPF_K;
const jump = (test: number, k: number, [yes, no]: readonly [Target | number, Target | number]): Instruction => ({
  code: bpf.BPF_JMP | test | bpf.BPF_K,
  k,
  yes,
  no,
});
const load = (offset: number): Instruction => ({ code: LOAD, k: offset });
const verdict = (errno: number): number => (errno === 0 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | errno);
const low = (value: bigint): number => Number(value & 0xffffffffn);
const high = (value: bigint): number => Number(value >> 32n);

/** Offsets in struct seccomp_data: number, architecture, instruction pointer, six arguments of 64 bits. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const ARGUMENTS = 16;
/** Set in the numbers of x86-64's 32-bit ABI, which is refused as a kernel without it does. Source: man 2 seccomp. */
const X32_BIT = 0x40000000;

/** A row of the generated file: an instruction, and the capability that makes its `k` 0. */
export type Row = readonly [code: number, yes: number, no: number, k: number, capability?: number];

/** The filter's rows for the architecture. Another's entry (i386 through int 0x80) kills the process: its numbers mean other calls. */
export function compileSeccomp(rules: readonly SeccompRule[], machine: SeccompMachine): Row[] {
  const byNumber = new Map<number, SeccompRule[]>();
  for (const rule of rules)
    for (const number of rule[machine]) byNumber.set(number, [...(byNumber.get(number) ?? []), rule]);
  const arch = machine === 'x64' ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64;
  const head = [
    load(ARCHITECTURE),
    jump(bpf.BPF_JEQ, arch, [1, 0]),
    { code: RETURN, k: SECCOMP_RET_KILL_PROCESS },
    load(NUMBER),
  ];
  const x32 = machine === 'x64' ? [jump(bpf.BPF_JGE, X32_BIT, [0, 1]), { code: RETURN, k: verdict(ENOSYS) }] : [];
  return [...head, ...x32, ...search(pieces(byNumber))].map(rowOf);
}

function rowOf({ code, yes, no, k, capability }: Instruction): Row {
  const [onYes, onNo] = [yes, no].map((to) => (typeof to === 'number' ? to : 0));
  const row = [code, onYes ?? 0, onNo ?? 0, k >>> 0] as const;
  return capability === undefined ? row : [...row, capability];
}

type Piece = readonly [from: number, leaf: readonly Instruction[]];

/** The leaf as a function of the number, piecewise constant: where each piece begins and what is done there. */
function pieces(byNumber: ReadonlyMap<number, readonly SeccompRule[]>): Piece[] {
  const nothing = leafOf([]);
  const made: Piece[] = [[0, nothing]];
  const push = (from: number, leaf: readonly Instruction[]): void => {
    if (made.at(-1)?.[0] === from) made.pop();
    if (JSON.stringify(made.at(-1)?.[1]) !== JSON.stringify(leaf)) made.push([from, leaf]);
  };
  for (const [number, rules] of [...byNumber].sort(([a], [b]) => a - b)) {
    push(number, leafOf(rules));
    push(number + 1, nothing);
  }
  return made;
}

/** Binary search; the left half follows its comparison, so that short jumps suffice nearly everywhere. */
function search(part: readonly Piece[]): Instruction[] {
  const [first] = part;
  if (first === undefined) throw new Error('an empty search tree');
  if (part.length === 1) return [...first[1]];
  const middle = part.length >> 1;
  const left = search(part.slice(0, middle));
  const right = search(part.slice(middle));
  const from = part[middle]?.[0] ?? 0;
  if (left.length <= 255) return [jump(bpf.BPF_JGE, from, [left.length, 0]), ...left, ...right];
  return [jump(bpf.BPF_JGE, from, [0, 1]), over(left.length), ...left, ...right];
}

function over(k: number): Instruction {
  return { code: bpf.BPF_JMP | bpf.BPF_JA, k };
}

/** What a call's rules say together: allowed by any that has no condition; else those with conditions in their order; else the refusal of one without. */
function leafOf(rules: readonly SeccompRule[]): Instruction[] {
  const plain = rules.filter((rule) => rule.args.length === 0);
  const needing = plain.filter((rule) => rule.needs !== undefined);
  const rest = plain.filter((rule) => rule.needs === undefined);
  for (const { needs, unless, args, errno } of rules) {
    const sound = needs === undefined || (unless === undefined && args.length === 0 && errno === 0);
    const paired = unless === undefined || needing.some((rule) => rule.needs === unless);
    if (!sound || !paired) throw new Error('a rule of a kind that Docker does not have');
  }
  const last: Instruction = { code: RETURN, k: verdict(rest[0]?.errno ?? EPERM) };
  if (rest.some((rule) => rule.errno === 0)) return [{ code: RETURN, k: verdict(0) }];
  // Who lacks the capability jumps over the answer that it gives. "Unless" is what comes after.
  const guarded = needing.flatMap(({ needs = 0 }) => [
    { ...over(1), capability: needs },
    { code: RETURN, k: verdict(0) },
  ]);
  const conditional = rules.filter((rule) => rule.args.length > 0);
  return [...guarded, ...conditional.flatMap(ruleCode), last];
}

/** Every condition must hold, else control falls behind the block: to the next rule. */
function ruleCode(rule: SeccompRule): Instruction[] {
  const tests = rule.args.map((condition) => conditionCode(condition));
  const block = tests.flatMap((test, index) => {
    const after = tests.slice(index + 1).reduce((sum, later) => sum + later.length, 0);
    const distance = (target: Target | number, at: number): number => {
      if (typeof target === 'number') return target;
      const rest = test.length - at - 1;
      return target === 'pass' ? rest : target === 'fail' ? rest + after + 1 : 0;
    };
    return test.map(
      (i, at): Instruction =>
        i.yes === undefined && i.no === undefined ? i : { ...i, yes: distance(i.yes, at), no: distance(i.no, at) },
    );
  });
  return [...block, { code: RETURN, k: verdict(rule.errno) }];
}

/** A 64-bit comparison in two of 32 bits, the high word first; an undefined target is the next instruction. */
function conditionCode({ index, op, value, two }: SeccompCondition): Instruction[] {
  const at = ARGUMENTS + 8 * index;
  const [lowWord, highWord] = [load(at), load(at + 4)];
  const sameHigh = jump(bpf.BPF_JEQ, high(value), [undefined, 'fail']);
  switch (op) {
    case 'EQ':
      return [highWord, sameHigh, lowWord, jump(bpf.BPF_JEQ, low(value), ['pass', 'fail'])];
    case 'NE':
      return [
        highWord,
        jump(bpf.BPF_JEQ, high(value), [undefined, 'pass']),
        lowWord,
        jump(bpf.BPF_JEQ, low(value), ['fail', 'pass']),
      ];
    case 'LT':
      return [
        highWord,
        jump(bpf.BPF_JGE, high(value), [undefined, 'pass']),
        sameHigh,
        lowWord,
        jump(bpf.BPF_JGE, low(value), ['fail', 'pass']),
      ];
    case 'LE':
      return [
        highWord,
        jump(bpf.BPF_JGE, high(value), [undefined, 'pass']),
        sameHigh,
        lowWord,
        jump(bpf.BPF_JGT, low(value), ['fail', 'pass']),
      ];
    case 'GT':
      return [
        highWord,
        jump(bpf.BPF_JGT, high(value), ['pass', undefined]),
        sameHigh,
        lowWord,
        jump(bpf.BPF_JGT, low(value), ['pass', 'fail']),
      ];
    case 'GE':
      return [
        highWord,
        jump(bpf.BPF_JGT, high(value), ['pass', undefined]),
        sameHigh,
        lowWord,
        jump(bpf.BPF_JGE, low(value), ['pass', 'fail']),
      ];
    case 'MASKED_EQ': {
      const and = (mask: number): Instruction => ({ code: bpf.BPF_ALU | bpf.BPF_AND | bpf.BPF_K, k: mask });
      return [
        highWord,
        and(high(value)),
        jump(bpf.BPF_JEQ, high(two), [undefined, 'fail']),
        lowWord,
        and(low(value)),
        jump(bpf.BPF_JEQ, low(two), ['pass', 'fail']),
      ];
    }
  }
}

/** The text of helper/lower/seccomp.gen.ts. */
export function printFilters(): string {
  const print = (machine: SeccompMachine) =>
    compileSeccomp(DEFAULT_RULES, machine)
      .map((row) => `    [${row.join(', ')}],\n`)
      .join('');
  return `// Docker's default seccomp profile as classic BPF. Generated by .ci/seccomp-filter.ts; do not edit.
// Converted from the Moby project's seccomp/default.json, Copyright The Moby Authors, licensed under the Apache License, Version 2.0
// (see LICENSE); changed: compiled, and architectures other than x86-64 and arm64 are left out.

/** An instruction (struct sock_filter); with a capability, \`k\` is 0 for a process that has it in its bounding set. */
export type Row = readonly [code: number, yes: number, no: number, k: number, capability?: number];

export const FILTERS: { readonly [arch in 'x64' | 'arm64']: readonly Row[] } = {
  x64: [
${print('x64')}  ],
  arm64: [
${print('arm64')}  ],
};
`;
}

if (import.meta.main) writeFileSync(new URL('../helper/lower/seccomp.gen.ts', import.meta.url), printFilters());
