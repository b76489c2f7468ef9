// Docker's default seccomp profile to classic BPF: a balanced tree over the call numbers, argument rules at its leaves. The filter is installed by the new
// process itself, last before execve. A hostile engine could only ask for no filter at all, which policy decides; it cannot supply one.
import { AUDIT_ARCH_AARCH64, AUDIT_ARCH_X86_64 } from '../../proto/abi/audit.gen.ts';
import { EPERM, ENOSYS } from '../../proto/abi/errno.gen.ts';
import {
  BPF_ABS,
  BPF_ALU,
  BPF_AND,
  BPF_JA,
  BPF_JEQ,
  BPF_JGE,
  BPF_JGT,
  BPF_JMP,
  BPF_K,
  BPF_LD,
  BPF_RET,
  BPF_W,
} from '../../proto/abi/filter.gen.ts';
import { SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS } from '../../proto/abi/seccomp.gen.ts';

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
};
type Leaf = number | readonly SeccompRule[];

const LOAD = BPF_LD | BPF_W | BPF_ABS;
const RETURN = BPF_RET | BPF_K;
const jump = (test: number, k: number, [yes, no]: readonly [Target | number, Target | number]): Instruction => ({
  code: BPF_JMP | test | BPF_K,
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

/**
 * The filter for a process whose bounding set is `capabilities`, as an array of struct sock_filter (8 bytes each, at most 4,096).
 * Another architecture's entry (i386 through int 0x80) kills the process: its numbers mean other calls.
 */
export function compileSeccomp(
  rules: readonly SeccompRule[],
  machine: SeccompMachine,
  capabilities: bigint,
): Uint8Array {
  const has = (capability: number | undefined): boolean =>
    capability !== undefined && ((capabilities >> BigInt(capability)) & 1n) === 1n;
  const byNumber = new Map<number, SeccompRule[]>();
  for (const rule of rules) {
    if ((rule.needs !== undefined && !has(rule.needs)) || has(rule.unless)) continue;
    for (const number of rule[machine]) byNumber.set(number, [...(byNumber.get(number) ?? []), rule]);
  }
  const arch = machine === 'x64' ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64;
  const head = [
    load(ARCHITECTURE),
    jump(BPF_JEQ, arch, [1, 0]),
    { code: RETURN, k: SECCOMP_RET_KILL_PROCESS },
    load(NUMBER),
  ];
  const x32 = machine === 'x64' ? [jump(BPF_JGE, X32_BIT, [0, 1]), { code: RETURN, k: verdict(ENOSYS) }] : [];
  return encode([...head, ...x32, ...search(pieces(byNumber))]);
}

/** The verdict as a function of the number, piecewise constant: where each piece begins and what holds there. */
function pieces(byNumber: ReadonlyMap<number, readonly SeccompRule[]>): [from: number, leaf: Leaf][] {
  const made: [number, Leaf][] = [[0, verdict(EPERM)]];
  const push = (from: number, leaf: Leaf): void => {
    if (made.at(-1)?.[0] === from) made.pop();
    if (made.at(-1)?.[1] !== leaf) made.push([from, leaf]);
  };
  for (const [number, rules] of [...byNumber].sort(([a], [b]) => a - b)) {
    const plain = rules.filter((rule) => rule.args.length === 0);
    const allowed = plain.some((rule) => rule.errno === 0);
    const leaf = allowed ? verdict(0) : plain.length === rules.length ? verdict(plain[0]?.errno ?? EPERM) : rules;
    push(number, leaf);
    push(number + 1, verdict(EPERM));
  }
  return made;
}

/** Binary search; the left half follows its comparison, so that short jumps suffice nearly everywhere. */
function search(part: readonly (readonly [number, Leaf])[]): Instruction[] {
  const [first] = part;
  if (first === undefined) throw new Error('an empty search tree');
  if (part.length === 1) return leafCode(first[1]);
  const middle = part.length >> 1;
  const left = search(part.slice(0, middle));
  const right = search(part.slice(middle));
  const from = part[middle]?.[0] ?? 0;
  if (left.length <= 255) return [jump(BPF_JGE, from, [left.length, 0]), ...left, ...right];
  return [jump(BPF_JGE, from, [0, 1]), { code: BPF_JMP | BPF_JA, k: left.length }, ...left, ...right];
}

function leafCode(leaf: Leaf): Instruction[] {
  if (typeof leaf === 'number') return [{ code: RETURN, k: leaf }];
  const conditional = leaf.filter((rule) => rule.args.length > 0).flatMap((rule) => ruleCode(rule));
  const plain = leaf.find((rule) => rule.args.length === 0);
  return [...conditional, { code: RETURN, k: verdict(plain?.errno ?? EPERM) }];
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
  const sameHigh = jump(BPF_JEQ, high(value), [undefined, 'fail']);
  switch (op) {
    case 'EQ':
      return [highWord, sameHigh, lowWord, jump(BPF_JEQ, low(value), ['pass', 'fail'])];
    case 'NE':
      return [
        highWord,
        jump(BPF_JEQ, high(value), [undefined, 'pass']),
        lowWord,
        jump(BPF_JEQ, low(value), ['fail', 'pass']),
      ];
    case 'LT':
      return [
        highWord,
        jump(BPF_JGE, high(value), [undefined, 'pass']),
        sameHigh,
        lowWord,
        jump(BPF_JGE, low(value), ['fail', 'pass']),
      ];
    case 'LE':
      return [
        highWord,
        jump(BPF_JGE, high(value), [undefined, 'pass']),
        sameHigh,
        lowWord,
        jump(BPF_JGT, low(value), ['fail', 'pass']),
      ];
    case 'GT':
      return [
        highWord,
        jump(BPF_JGT, high(value), ['pass', undefined]),
        sameHigh,
        lowWord,
        jump(BPF_JGT, low(value), ['pass', 'fail']),
      ];
    case 'GE':
      return [
        highWord,
        jump(BPF_JGT, high(value), ['pass', undefined]),
        sameHigh,
        lowWord,
        jump(BPF_JGE, low(value), ['pass', 'fail']),
      ];
    case 'MASKED_EQ': {
      const and = (mask: number): Instruction => ({ code: BPF_ALU | BPF_AND | BPF_K, k: mask });
      return [
        highWord,
        and(high(value)),
        jump(BPF_JEQ, high(two), [undefined, 'fail']),
        lowWord,
        and(low(value)),
        jump(BPF_JEQ, low(two), ['pass', 'fail']),
      ];
    }
  }
}

function encode(code: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * code.length);
  const view = new DataView(bytes.buffer);
  for (const [index, { code: operation, k, yes, no }] of code.entries()) {
    view.setUint16(8 * index, operation, true);
    view.setUint8(8 * index + 2, typeof yes === 'number' ? yes : 0);
    view.setUint8(8 * index + 3, typeof no === 'number' ? no : 0);
    view.setUint32(8 * index + 4, k >>> 0, true);
  }
  return bytes;
}
