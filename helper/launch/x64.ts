// The launcher's code for x86-64. It uses no stack, no memory but its program, and keeps two registers across system calls: rbx, the program,
// and r12, the record it is at. arm64.ts is the same, line for line. What the records mean: helper/lower/encode.ts.
import { MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../proto/abi/mman.ts';
import { SYS_clone3, SYS_exit_group, SYS_mmap, SYS_write } from '../../proto/abi/unistd.ts';
import { FIELD, PROGRAM_BASE, PROGRAM_BYTES_MAX, RECORD_BYTES, REPORT_BYTES, STATUS_AT } from '../lower/encode.ts';
import { assemble, type Code, type Listing, label } from './elf.ts';

const imm32 = (value: number) => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff];

// One line for each instruction used, as "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2, encodes it.
const movEax = (value: number) => [0xb8, ...imm32(value)];
const movEdi = (value: number) => [0xbf, ...imm32(value)];
const movEsi = (value: number) => [0xbe, ...imm32(value)];
const movEdx = (value: number) => [0xba, ...imm32(value)];
const movEbx = (value: number) => [0xbb, ...imm32(value)];
const movR10d = (value: number) => [0x41, 0xba, ...imm32(value)];
const zeroR8 = [0x45, 0x31, 0xc0];
const zeroR9 = [0x45, 0x31, 0xc9];
const zeroEcx = [0x31, 0xc9];
const syscall = [0x0f, 0x05];
const undefinedInstruction = [0x0f, 0x0b];
const pushRbxR12 = [0x53, 0x41, 0x54];
const popR12RbxReturn = [0x41, 0x5c, 0x5b, 0xc3];
const movRbxRdx = [0x48, 0x89, 0xd3];
const testRax = [0x48, 0x85, 0xc0];
const testEax = [0x85, 0xc0];
const testAx = [0x66, 0x85, 0xc0];
const cmpRaxRbx = [0x48, 0x39, 0xd8];
const cmpEaxMinus1 = [0x83, 0xf8, 0xff];
const cmpRaxMinus4095 = [0x48, 0x3d, ...imm32(-4095)];
const cmpEcx6 = [0x83, 0xf9, 6];
const incEcx = [0xff, 0xc1];
const andEax7fff = [0x25, ...imm32(0x7fff)];
const leaRaxSum = [0x48, 0x8d, 0x04, 0x37]; // lea rax, [rdi + rsi]
const leaR12FirstRecord = [0x4c, 0x8d, 0x63, RECORD_BYTES]; // lea r12, [rbx + 96]
const leaR12Record = [0x4c, 0x8d, 0x24, 0x03]; // lea r12, [rbx + rax]
const addR12Record = [0x49, 0x83, 0xc4, RECORD_BYTES];
const imulEaxRecord = [0x6b, 0xc0, RECORD_BYTES];
const imulEaxTarget = [0x41, 0x6b, 0x44, 0x24, FIELD.target, RECORD_BYTES]; // imul eax, [r12 + target], 96
const loadSource = [0x41, 0x0f, 0xb7, 0x44, 0x4c, FIELD.sources]; // movzx eax, word [r12 + 2 rcx + sources]
const loadResult = [0x48, 0x8b, 0x44, 0x03, FIELD.result]; // mov rax, [rbx + rax + result]
const loadWord = [0x8b, 0x04, 0x83]; // mov eax, [rbx + 4 rax]
const storeArgument = [0x49, 0x89, 0x44, 0xcc, FIELD.args]; // mov [r12 + 8 rcx + args], rax
const loadNumber = [0x41, 0x8b, 0x04, 0x24];
const storeResult = [0x49, 0x89, 0x44, 0x24, FIELD.result];
const cmpMatch = [0x49, 0x3b, 0x44, 0x24, FIELD.match];
const cmpIgnore0 = [0x41, 0x80, 0x7c, 0x24, FIELD.ignore, 0];
const leaRsiReport = [0x49, 0x8d, 0x74, 0x24, FIELD.index];
const loadRdiStatus = [0x48, 0x8b, 0x7b, STATUS_AT];
const loadArguments = [
  [0x49, 0x8b, 0x7c, 0x24, FIELD.args], // rdi
  [0x49, 0x8b, 0x74, 0x24, FIELD.args + 8], // rsi
  [0x49, 0x8b, 0x54, 0x24, FIELD.args + 16], // rdx
  [0x4d, 0x8b, 0x54, 0x24, FIELD.args + 24], // r10
  [0x4d, 0x8b, 0x44, 0x24, FIELD.args + 32], // r8
  [0x4d, 0x8b, 0x4c, 0x24, FIELD.args + 40], // r9
].flat();

const jump = (opcode: number[]) => (to: string) => ({
  code: [...opcode, ...imm32(0)],
  to,
  bits: 32,
  shift: 0,
  unit: 1,
});
const jmp = jump([0xe9]);
const je = jump([0x0f, 0x84]);
const jne = jump([0x0f, 0x85]);
const jae = jump([0x0f, 0x83]);
const js = jump([0x0f, 0x88]);

const LOOP: Listing = [
  label('run'),
  leaR12FirstRecord,
  label('next'),
  zeroEcx,
  label('feed'), // arguments that come from elsewhere
  [...loadSource, ...testEax],
  je('fed'),
  testAx,
  js('word'),
  [...imulEaxRecord, ...loadResult],
  jmp('store'),
  label('word'),
  [...andEax7fff, ...loadWord],
  label('store'),
  storeArgument,
  label('fed'),
  [...incEcx, ...cmpEcx6],
  jne('feed'),
  [...loadNumber, ...loadArguments, ...cmpEaxMinus1],
  jne('call'),
  leaRaxSum,
  jmp('answered'),
  label('call'),
  syscall,
  label('answered'),
  [...storeResult, ...cmpMatch],
  jne('unmatched'),
  [...imulEaxTarget, ...leaR12Record],
  jmp('next'),
  label('unmatched'),
  cmpRaxMinus4095,
  jae('failed'),
  label('step'),
  addR12Record,
  jmp('next'),
  label('failed'),
  cmpIgnore0,
  jne('step'),
  [...loadRdiStatus, ...leaRsiReport, ...movEdx(REPORT_BYTES), ...movEax(SYS_write), ...syscall],
  [...movEdi(127), ...movEax(SYS_exit_group), ...syscall],
];

/** Assembles the launcher. `cloneNumber` is another call than clone3 only in the test of the entry where the kernel has none. */
export function assembleX64(cloneNumber = SYS_clone3): Code {
  return assemble([
    label('start'), // map descriptor 0, the program, and run it
    [...movEax(SYS_mmap), ...movEdi(PROGRAM_BASE), ...movEsi(PROGRAM_BYTES_MAX), ...movEdx(PROT_READ | PROT_WRITE)],
    [...movR10d(MAP_PRIVATE | MAP_FIXED_NOREPLACE), ...zeroR8, ...zeroR9, ...syscall],
    [...movEbx(PROGRAM_BASE), ...cmpRaxRbx],
    je('run'),
    undefinedInstruction,
    label('clone'), // (clone_args, size, program): the parent returns pid or -errno, the child runs the program
    [...pushRbxR12, ...movRbxRdx, ...movEax(cloneNumber), ...syscall, ...testRax],
    je('run'),
    popR12RbxReturn,
    ...LOOP,
  ]);
}
