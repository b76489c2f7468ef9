// The launcher's code for arm64: x64.ts line for line. Kept across system calls: x19, the program; x20, the record it is at; x21, a record's size.
import { MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../proto/abi/mman.gen.ts';
import { SYS_clone3, SYS_exit_group, SYS_mmap, SYS_write } from '../../proto/abi/unistd.gen.ts';
import {
  FIELD,
  numberOn,
  PROGRAM_BASE,
  PROGRAM_BYTES_MAX,
  RECORD_BYTES,
  REPORT_BYTES,
  STATUS_AT,
} from '../lower/encode.ts';
import { assemble, type Code, type Listing, label } from './elf.ts';

const [BASE, CUR, SIZE] = [19, 20, 21];

// One line for each instruction used, as the "Arm Architecture Reference Manual for A-profile", chapter C6, encodes it. Registers by number.
const movz = (d: number, value: number) => 0xd2800000 | ((value & 0xffff) << 5) | d;
const movkHigh = (d: number, value: number) => 0xf2a00000 | ((value >>> 16) << 5) | d;
const mov = (d: number, value: number) => [movz(d, value), movkHigh(d, value)];
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
const undefinedInstruction = 0;
const pushKept = [0xa9be53f3, 0xf9000bf5]; // stp x19, x20, [sp, #-32]!; str x21, [sp, #16]
const popKeptReturn = [0xf9400bf5, 0xa8c253f3, 0xd65f03c0]; // ldr x21, [sp, #16]; ldp x19, x20, [sp], #32; ret

const branch = (opcode: number, to: string, [bits, shift]: [number, number]) => ({
  code: bytesOf(opcode),
  to,
  bits,
  shift,
  unit: 4,
});
const b = (to: string) => branch(0x14000000, to, [26, 0]);
const bEq = (to: string) => branch(0x54000000, to, [19, 5]);
const bNe = (to: string) => branch(0x54000001, to, [19, 5]);
const bHs = (to: string) => branch(0x54000002, to, [19, 5]);
const cbz = (t: number, to: string) => branch(0xb4000000 | t, to, [19, 5]);
const tbnz15 = (t: number, to: string) => branch(0x37780000 | t, to, [14, 5]);

const LOOP: Listing = [
  label('run'),
  bytesOf(movz(SIZE, RECORD_BYTES), addImm(CUR, BASE, RECORD_BYTES)),
  label('next'),
  bytesOf(movz(9, 0)),
  label('feed'), // arguments that come from elsewhere
  bytesOf(addShifted(10, CUR, [9, 1]), ldrH(11, 10, FIELD.sources)),
  cbz(11, 'fed'),
  tbnz15(11, 'word'),
  bytesOf(maddSize(11, 11, BASE), ldr(12, 11, FIELD.result)),
  b('store'),
  label('word'),
  bytesOf(and7fff(11, 11), addShifted(11, BASE, [11, 2]), ldrW(12, 11, 0)),
  label('store'),
  bytesOf(addShifted(10, CUR, [9, 3]), str(12, 10, FIELD.args)),
  label('fed'),
  bytesOf(addImm(9, 9, 1), cmpImm(9, 6)),
  bNe('feed'),
  bytesOf(ldrW(8, CUR, FIELD.number), ...[0, 1, 2, 3, 4, 5].map((i) => ldr(i, CUR, FIELD.args + 8 * i)), cmnImmW(8, 1)),
  bNe('call'),
  bytesOf(add(0, 0, 1)),
  b('answered'),
  label('call'),
  bytesOf(svc),
  label('answered'),
  bytesOf(str(0, CUR, FIELD.result), ldr(9, CUR, FIELD.match), cmp(0, 9)),
  bNe('unmatched'),
  bytesOf(ldrW(9, CUR, FIELD.target), maddSize(CUR, 9, BASE)),
  b('next'),
  label('unmatched'),
  bytesOf(cmnImm(0, 4095)),
  bHs('failed'),
  label('step'),
  bytesOf(addImm(CUR, CUR, RECORD_BYTES)),
  b('next'),
  label('failed'),
  bytesOf(ldrB(9, CUR, FIELD.ignore), cmpImm(9, 0)),
  bNe('step'),
  bytesOf(ldr(0, BASE, STATUS_AT), addImm(1, CUR, FIELD.index), movz(2, REPORT_BYTES)),
  bytesOf(movz(8, numberOn('arm64', SYS_write)), svc),
  bytesOf(movz(0, 127), movz(8, numberOn('arm64', SYS_exit_group)), svc),
];

/** Assembles the launcher. `cloneNumber` is another call than clone3 only in the test of the entry where the kernel has none. */
export function assembleArm64(cloneNumber = SYS_clone3): Code {
  return assemble([
    label('start'), // map descriptor 0, the program, and run it
    bytesOf(...mov(0, PROGRAM_BASE), ...mov(1, PROGRAM_BYTES_MAX), movz(2, PROT_READ | PROT_WRITE)),
    bytesOf(...mov(3, MAP_PRIVATE | MAP_FIXED_NOREPLACE), movz(4, 0), movz(5, 0)),
    bytesOf(movz(8, numberOn('arm64', SYS_mmap)), svc, ...mov(BASE, PROGRAM_BASE), cmp(0, BASE)),
    bEq('run'),
    bytesOf(undefinedInstruction),
    label('clone'), // (clone_args, size, program): the parent returns pid or -errno, the child runs the program
    bytesOf(...pushKept, movReg(BASE, 2), movz(8, cloneNumber), svc),
    cbz(0, 'run'),
    bytesOf(...popKeptReturn),
    ...LOOP,
  ]);
}

function bytesOf(...words: number[]): number[] {
  return words.flatMap((word) => [word & 0xff, (word >> 8) & 0xff, (word >> 16) & 0xff, (word >>> 24) & 0xff]);
}
