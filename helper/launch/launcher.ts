// The launcher's file. Its code uses no stack, no memory but its program, and keeps its registers across system calls: where the program is (rbx, x19),
// the record it is at (r12, x20), and on arm64 a record's size (x21). What the records mean: helper/lower/encode.ts. Both architectures stand side by side:
// x86-64 in bytes with its assembler's words beside them ("Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2), arm64 in
// instructions ("Arm Architecture Reference Manual for A-profile", chapter C6). The file has one segment to read and execute and a stack that is not
// executable; man 5 elf.
import * as elf from '../../proto/abi/elf.gen.ts';
import { MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../proto/abi/mman.gen.ts';
import { SYS_clone3, SYS_exit_group, SYS_mmap, SYS_write } from '../../proto/abi/unistd.gen.ts';
import { type Arch, FIELD, numberOn, PROGRAM_BASE, PROGRAM_BYTES_MAX, STATUS_AT } from '../lower/encode.ts';
import { RECORD_BYTES as RECORD, REPORT_BYTES as REPORT } from '../lower/encode.ts';
import { u32, u64 } from '../lower/program.ts';

/** Machine code of both architectures; or a jump, whose distance is put into its last four bytes (x86-64: from its end) or `bits` of its last word. */
type Code = { readonly x64: readonly number[]; readonly arm64: readonly number[] };
type Jump = Code & { readonly to: string; readonly bits: number; readonly shift: number };
type Listing = readonly (string | (Code & { readonly to?: undefined }) | Jump)[]; // a string names the place

/** Bytes of x86-64: hexadecimal text, [a byte], a 32-bit number. */
const x = (...parts: readonly (string | readonly [number] | number)[]) =>
  parts.flatMap((p) => (typeof p === 'string' ? [...Buffer.from(p, 'hex')] : typeof p === 'number' ? [...u32(p)] : p));
const both = (x64: readonly number[], ...arm64: number[]): Code => ({ x64, arm64: [...u32(...arm64)] });
const jump =
  (x64: string, arm64: number, [bits, shift]: readonly [number, number]) =>
  (to: string): Jump => ({ ...both(x(x64, 0), arm64), to, bits, shift });

// One line for each instruction of arm64; registers by number.
const [BASE, CUR, SIZE] = [19, 20, 21];
const movz = (d: number, value: number) => 0xd2800000 | ((value & 0xffff) << 5) | d;
const mov = (d: number, value: number) => [movz(d, value), 0xf2a00000 | ((value >>> 16) << 5) | d] as const; // movz, movk
const movReg = (d: number, s: number) => 0xaa0003e0 | (s << 16) | d;
const addImm = (d: number, n: number, value: number) => 0x91000000 | (value << 10) | (n << 5) | d;
const add = (d: number, n: number, m: number) => 0x8b000000 | (m << 16) | (n << 5) | d;
const addShifted = (d: number, n: number, [m, shift]: [number, number]) => add(d, n, m) | (shift << 10);
const maddSize = (d: number, n: number, a: number) => 0x9b000000 | (SIZE << 16) | (a << 10) | (n << 5) | d; // d = n * size + a
const and7fff = (d: number, n: number) => 0x92403800 | (n << 5) | d;
const cmp = (n: number, m: number) => 0xeb00001f | (m << 16) | (n << 5);
const cmpImm = (n: number, value: number) => 0xf100001f | (value << 10) | (n << 5);
const cmnImm = (n: number, value: number) => 0xb100001f | (value << 10) | (n << 5);
const cmnImmW = (n: number, value: number) => 0x3100001f | (value << 10) | (n << 5);
const ldr = (t: number, n: number, at: number) => 0xf9400000 | ((at >> 3) << 10) | (n << 5) | t;
const ldrW = (t: number, n: number, at: number) => 0xb9400000 | ((at >> 2) << 10) | (n << 5) | t;
const ldrH = (t: number, n: number, at: number) => 0x79400000 | ((at >> 1) << 10) | (n << 5) | t;
const ldrB = (t: number, n: number, at: number) => 0x39400000 | (at << 10) | (n << 5) | t;
const str = (t: number, n: number, at: number) => 0xf9000000 | ((at >> 3) << 10) | (n << 5) | t;
const svc = 0xd4000001;
const call = (number: number) => [movz(8, numberOn('arm64', number)), svc] as const;
const pushKept = [0xa9be53f3, 0xf9000bf5] as const; // stp x19, x20, [sp, #-32]!; str x21, [sp, #16]
const popKeptReturn = [0xf9400bf5, 0xa8c253f3, 0xd65f03c0] as const; // ldr x21, [sp, #16]; ldp x19, x20, [sp], #32; ret

const jmp = jump('e9', 0x14000000, [26, 0]); // b
const je = jump('0f84', 0x54000000, [19, 5]); // b.eq
const jne = jump('0f85', 0x54000001, [19, 5]); // b.ne
const jae = jump('0f83', 0x54000002, [19, 5]); // b.hs
const jumpIfNoSource = jump('85c00f84', 0xb400000b, [19, 5]); // test eax, eax; je | cbz x11
const jumpIfWord = jump('6685c00f88', 0x3778000b, [14, 5]); // test ax, ax; js | tbnz x11, #15
const jumpIfChild = jump('4885c00f84', 0xb4000000, [19, 5]); // test rax, rax; je | cbz x0

const PROTECTION = PROT_READ | PROT_WRITE;
const FLAGS = MAP_PRIVATE | MAP_FIXED_NOREPLACE;

const entries = (cloneNumber: number): Listing => [
  'start', // map descriptor 0, the program, and run it
  both(x('b8', SYS_mmap, 'bf', PROGRAM_BASE, 'ba', PROTECTION), ...mov(0, PROGRAM_BASE)), // mov eax; mov edi; mov edx
  both(x('be', PROGRAM_BYTES_MAX, '41ba', FLAGS), ...mov(1, PROGRAM_BYTES_MAX), movz(2, PROTECTION)), // mov esi; mov r10d
  both(x('4531c04531c90f05'), ...mov(3, FLAGS), movz(4, 0), movz(5, 0), ...call(SYS_mmap)), // xor r8d, r8d; xor r9d, r9d; syscall
  both(x('bb', PROGRAM_BASE, '4839d8'), ...mov(BASE, PROGRAM_BASE), cmp(0, BASE)), // mov ebx; cmp rax, rbx
  je('run'),
  both(x('0f0b'), 0), // ud2: no program, nobody to tell
  'clone', // (clone_args, size, program): the parent returns pid or -errno, the child runs the program
  both(x('5341544889d3'), ...pushKept, movReg(BASE, 2)), // push rbx; push r12; mov rbx, rdx
  both(x('b8', cloneNumber, '0f05'), movz(8, cloneNumber), svc), // mov eax; syscall
  jumpIfChild('run'),
  both(x('415c5bc3'), ...popKeptReturn), // pop r12; pop rbx; ret
];

const LOOP: Listing = [
  'run',
  both(x('4c8d63', [RECORD]), movz(SIZE, RECORD), addImm(CUR, BASE, RECORD)), // lea r12, [rbx + record]
  'next',
  both(x('31c9'), movz(9, 0)), // xor ecx, ecx
  'feed', // arguments that come from elsewhere
  both(x('410fb7444c', [FIELD.sources]), addShifted(10, CUR, [9, 1]), ldrH(11, 10, FIELD.sources)), // movzx eax, word [r12 + 2 rcx + sources]
  jumpIfNoSource('fed'),
  jumpIfWord('word'),
  both(x('6bc0', [RECORD]), maddSize(11, 11, BASE)), // imul eax, eax, record
  both(x('488b4403', [FIELD.result]), ldr(12, 11, FIELD.result)), // mov rax, [rbx + rax + result]
  jmp('store'),
  'word',
  both(x('25', 0x7fff), and7fff(11, 11)), // and eax, 0x7fff
  both(x('8b0483'), addShifted(11, BASE, [11, 2]), ldrW(12, 11, 0)), // mov eax, [rbx + 4 rax]
  'store',
  both(x('498944cc', [FIELD.args]), addShifted(10, CUR, [9, 3]), str(12, 10, FIELD.args)), // mov [r12 + 8 rcx + args], rax
  'fed',
  both(x('ffc183f906'), addImm(9, 9, 1), cmpImm(9, 6)), // inc ecx; cmp ecx, 6
  jne('feed'),
  both(x('418b0424'), ldrW(8, CUR, FIELD.number)), // mov eax, [r12]
  ...['498b7c24', '498b7424', '498b5424', '4d8b5424', '4d8b4424', '4d8b4c24'].map(
    (load, i) => both(x(load, [FIELD.args + 8 * i]), ldr(i, CUR, FIELD.args + 8 * i)), // mov rdi, [r12 + args]; rsi; rdx; r10; r8; r9
  ),
  both(x('83f8ff'), cmnImmW(8, 1)), // cmp eax, -1
  jne('call'),
  both(x('488d0437'), add(0, 0, 1)), // lea rax, [rdi + rsi]
  jmp('answered'),
  'call',
  both(x('0f05'), svc), // syscall
  'answered',
  both(x('49894424', [FIELD.result]), str(0, CUR, FIELD.result)), // mov [r12 + result], rax
  both(x('493b4424', [FIELD.match]), ldr(9, CUR, FIELD.match), cmp(0, 9)), // cmp rax, [r12 + match]
  jne('unmatched'),
  both(x('416b4424', [FIELD.target], [RECORD]), ldrW(9, CUR, FIELD.target)), // imul eax, [r12 + target], record
  both(x('4c8d2403'), maddSize(CUR, 9, BASE)), // lea r12, [rbx + rax]
  jmp('next'),
  'unmatched',
  both(x('483d', -4095), cmnImm(0, 4095)), // cmp rax, -4095
  jae('failed'),
  'step',
  both(x('4983c4', [RECORD]), addImm(CUR, CUR, RECORD)), // add r12, record
  jmp('next'),
  'failed',
  both(x('41807c24', [FIELD.ignore], '00'), ldrB(9, CUR, FIELD.ignore), cmpImm(9, 0)), // cmp byte [r12 + ignore], 0
  jne('step'),
  both(x('488b7b', [STATUS_AT]), ldr(0, BASE, STATUS_AT)), // mov rdi, [rbx + status]
  both(x('498d7424', [FIELD.index]), addImm(1, CUR, FIELD.index)), // lea rsi, [r12 + index]
  both(x('ba', REPORT, 'b8', SYS_write, '0f05'), movz(2, REPORT), ...call(SYS_write)), // mov edx; mov eax; syscall
  both(x('bf', 127, 'b8', SYS_exit_group, '0f05'), movz(0, 127), ...call(SYS_exit_group)), // mov edi; mov eax; syscall
];

/** Where the code's entries are: `start` is the file's, `clone` is called by the helper, `run` expects the program mapped. */
export type Assembled = { readonly [entry in 'start' | 'clone' | 'run']: number } & { readonly bytes: Uint8Array };

/** The launcher's code, all jumps filled in. `cloneNumber` is another call than clone3 only in the test of the entry where the kernel has none. */
export function assemble(arch: Arch, cloneNumber = SYS_clone3): Assembled {
  const code: number[] = [];
  const places: { [name: string]: number } = {};
  const jumps: [end: number, jump: Jump][] = [];
  for (const item of [...entries(cloneNumber), ...LOOP]) {
    if (typeof item === 'string') places[item] = code.length;
    else if (item.to === undefined) code.push(...item[arch]);
    else jumps.push([code.push(...item[arch]), item]);
  }
  const bytes = Uint8Array.from(code);
  const view = new DataView(bytes.buffer);
  const place = (name: string) => {
    const known = places[name];
    if (known === undefined) throw new Error(`no label ${name}`);
    return known;
  };
  for (const [end, { to, bits, shift }] of jumps) {
    const distance = place(to) - end;
    const field = arch === 'x64' ? distance : (((distance + 4) >> 2) & ((1 << bits) - 1)) << shift;
    view.setInt32(end - 4, view.getInt32(end - 4, true) | field, true);
  }
  return { bytes, start: place('start'), clone: place('clone'), run: place('run') };
}

const LOAD_ADDRESS = 0x400000;
const [HEADER_BYTES, SEGMENT_BYTES, SEGMENTS] = [64, 56, 2];
const CODE_AT = HEADER_BYTES + SEGMENTS * SEGMENT_BYTES;
const MAGIC = 0x00010102464c457fn; // 64 bits, little endian, version 1

/** `cloneAt`: where the entry `clone` is in the file. */
export type LauncherFile = { readonly bytes: Uint8Array; readonly cloneAt: number };

/** The code as an executable file. */
export function wrapElf(arch: Arch, code: Assembled): LauncherFile {
  const size = CODE_AT + code.bytes.length;
  const two = (low: number, high: number) => BigInt(low) | (BigInt(high) << 32n);
  const machine = arch === 'x64' ? elf.EM_X86_64 : elf.EM_AARCH64;
  const [kind, entry] = [two(elf.ET_EXEC | (machine << 16), 1), LOAD_ADDRESS + CODE_AT + code.start];
  const header = u64(MAGIC, 0, kind, entry, HEADER_BYTES, 0, two(0, HEADER_BYTES | (SEGMENT_BYTES << 16)), SEGMENTS);
  const text = u64(two(elf.PT_LOAD, elf.PF_R | elf.PF_X), 0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1000);
  const stack = u64(two(elf.PT_GNU_STACK, elf.PF_R | elf.PF_W), 0, 0, 0, 0, 0, 0);
  return { bytes: Uint8Array.from([...header, ...text, ...stack, ...code.bytes]), cloneAt: CODE_AT + code.clone };
}

/** The launcher's file for an architecture. */
export function emitLauncher(arch: Arch): LauncherFile {
  return wrapElf(arch, assemble(arch));
}
