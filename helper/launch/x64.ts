// The launcher's code for x86-64. It uses no stack, no memory but its program, and keeps two registers across system calls: rbx, the program,
// and r12, the record it is at. arm64.ts is the same, line for line. What the records mean: helper/lower/encode.ts. Encodings: "Intel 64 and IA-32
// Architectures Software Developer's Manual", volume 2.
import { MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../proto/abi/mman.gen.ts';
import { SYS_clone3, SYS_exit_group, SYS_mmap, SYS_write } from '../../proto/abi/unistd.gen.ts';
import { FIELD, PROGRAM_BASE, PROGRAM_BYTES_MAX, RECORD_BYTES, REPORT_BYTES, STATUS_AT } from '../lower/encode.ts';
import { assemble, type Code, type Listing, label } from './elf.ts';

const imm32 = (value: number) => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff];
const movEax = (value: number) => [0xb8, ...imm32(value)];
const movEdi = (value: number) => [0xbf, ...imm32(value)];
const movEdx = (value: number) => [0xba, ...imm32(value)];
const syscall = [0x0f, 0x05];
const jump = (opcode: number[]) => (to: string) => ({
  code: [...opcode, ...imm32(0)],
  to,
  bits: 32,
  shift: 0,
  unit: 1,
});
const [jmp, je, jne, jae, js] = [
  jump([0xe9]),
  jump([0x0f, 0x84]),
  jump([0x0f, 0x85]),
  jump([0x0f, 0x83]),
  jump([0x0f, 0x88]),
];

const LOOP: Listing = [
  label('run'),
  [0x4c, 0x8d, 0x63, RECORD_BYTES], // lea r12, [rbx + record]
  label('next'),
  [0x31, 0xc9], // xor ecx, ecx
  label('feed'), // arguments that come from elsewhere
  [0x41, 0x0f, 0xb7, 0x44, 0x4c, FIELD.sources], // movzx eax, word [r12 + 2 rcx + sources]
  [0x85, 0xc0], // test eax, eax
  je('fed'),
  [0x66, 0x85, 0xc0], // test ax, ax
  js('word'),
  [0x6b, 0xc0, RECORD_BYTES], // imul eax, eax, record
  [0x48, 0x8b, 0x44, 0x03, FIELD.result], // mov rax, [rbx + rax + result]
  jmp('store'),
  label('word'),
  [0x25, ...imm32(0x7fff)], // and eax, 0x7fff
  [0x8b, 0x04, 0x83], // mov eax, [rbx + 4 rax]
  label('store'),
  [0x49, 0x89, 0x44, 0xcc, FIELD.args], // mov [r12 + 8 rcx + args], rax
  label('fed'),
  [0xff, 0xc1, 0x83, 0xf9, 6], // inc ecx; cmp ecx, 6
  jne('feed'),
  [0x41, 0x8b, 0x04, 0x24], // mov eax, [r12]
  [0x49, 0x8b, 0x7c, 0x24, FIELD.args], // mov rdi, [r12 + args]
  [0x49, 0x8b, 0x74, 0x24, FIELD.args + 8], // rsi
  [0x49, 0x8b, 0x54, 0x24, FIELD.args + 16], // rdx
  [0x4d, 0x8b, 0x54, 0x24, FIELD.args + 24], // r10
  [0x4d, 0x8b, 0x44, 0x24, FIELD.args + 32], // r8
  [0x4d, 0x8b, 0x4c, 0x24, FIELD.args + 40], // r9
  [0x83, 0xf8, 0xff], // cmp eax, -1
  jne('call'),
  [0x48, 0x8d, 0x04, 0x37], // lea rax, [rdi + rsi]
  jmp('answered'),
  label('call'),
  syscall,
  label('answered'),
  [0x49, 0x89, 0x44, 0x24, FIELD.result], // mov [r12 + result], rax
  [0x49, 0x3b, 0x44, 0x24, FIELD.match], // cmp rax, [r12 + match]
  jne('unmatched'),
  [0x41, 0x6b, 0x44, 0x24, FIELD.target, RECORD_BYTES], // imul eax, [r12 + target], record
  [0x4c, 0x8d, 0x24, 0x03], // lea r12, [rbx + rax]
  jmp('next'),
  label('unmatched'),
  [0x48, 0x3d, ...imm32(-4095)], // cmp rax, -4095
  jae('failed'),
  label('step'),
  [0x49, 0x83, 0xc4, RECORD_BYTES], // add r12, record
  jmp('next'),
  label('failed'),
  [0x41, 0x80, 0x7c, 0x24, FIELD.ignore, 0], // cmp byte [r12 + ignore], 0
  jne('step'),
  [0x48, 0x8b, 0x7b, STATUS_AT], // mov rdi, [rbx + status]
  [0x49, 0x8d, 0x74, 0x24, FIELD.index], // lea rsi, [r12 + index]
  [...movEdx(REPORT_BYTES), ...movEax(SYS_write), ...syscall],
  [...movEdi(127), ...movEax(SYS_exit_group), ...syscall],
];

/** Assembles the launcher. `cloneNumber` is another call than clone3 only in the test of the entry where the kernel has none. */
export function assembleX64(cloneNumber = SYS_clone3): Code {
  return assemble([
    label('start'), // map descriptor 0, the program, and run it
    [...movEax(SYS_mmap), ...movEdi(PROGRAM_BASE), ...movEdx(PROT_READ | PROT_WRITE)],
    [0xbe, ...imm32(PROGRAM_BYTES_MAX)], // mov esi, …
    [0x41, 0xba, ...imm32(MAP_PRIVATE | MAP_FIXED_NOREPLACE)], // mov r10d, …
    [0x45, 0x31, 0xc0, 0x45, 0x31, 0xc9, ...syscall], // xor r8d, r8d; xor r9d, r9d
    [0xbb, ...imm32(PROGRAM_BASE), 0x48, 0x39, 0xd8], // mov ebx, …; cmp rax, rbx
    je('run'),
    [0x0f, 0x0b], // ud2: no program, nobody to tell
    label('clone'), // (clone_args, size, program): the parent returns pid or -errno, the child runs the program
    [0x53, 0x41, 0x54, 0x48, 0x89, 0xd3], // push rbx; push r12; mov rbx, rdx
    [...movEax(cloneNumber), ...syscall, 0x48, 0x85, 0xc0], // test rax, rax
    je('run'),
    [0x41, 0x5c, 0x5b, 0xc3], // pop r12; pop rbx; ret
    ...LOOP,
  ]);
}
