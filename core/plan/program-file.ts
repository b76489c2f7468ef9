// What a file is to execve(2), by its first bytes: a program with its loader, a script with its interpreter, or neither.
import { EM_AARCH64, EM_X86_64, PT_INTERP } from '../../proto/abi/elf.gen.ts';

export type ProgramFile =
  /** `loader`: undefined for static programs, and where the headers lie further in than the bytes at hand. */
  | { readonly kind: 'elf'; readonly machine: number; readonly loader: string | undefined }
  | { readonly kind: 'script'; readonly interpreter: string }
  | { readonly kind: 'unknown' };

const MAGIC = [0x7f, 0x45, 0x4c, 0x46];
const LITTLE_64 = [2, 1]; // ELFCLASS64, ELFDATA2LSB
const HEADER_BYTES = 64;
const SCRIPT_BYTES = 256; // BINPRM_BUF_SIZE of linux/binfmts.h

/** Reads the head of a file. Never throws: what does not add up is unknown. */
export function readProgramFile(head: Uint8Array): ProgramFile {
  if (head[0] === 0x23 && head[1] === 0x21) return readScript(head);
  if (!MAGIC.every((byte, i) => head[i] === byte) || head.length < HEADER_BYTES) return { kind: 'unknown' };
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const machine = view.getUint16(18, head[5] === 1);
  const wide = LITTLE_64.every((byte, i) => head[4 + i] === byte);
  return { kind: 'elf', machine, loader: wide ? readLoader(view, head) : undefined };
}

/** `x64` and `arm64` as Node calls them; undefined for all others. */
export function architectureOf(machine: number): 'x64' | 'arm64' | undefined {
  if (machine === EM_X86_64) return 'x64';
  return machine === EM_AARCH64 ? 'arm64' : undefined;
}

/** Source: fs/binfmt_script.c. */
function readScript(head: Uint8Array): ProgramFile {
  const line = new TextDecoder().decode(head.subarray(2, SCRIPT_BYTES)).split('\n')[0] ?? '';
  const interpreter = line.trim().split(/[ \t]+/)[0] ?? '';
  return interpreter === '' ? { kind: 'unknown' } : { kind: 'script', interpreter };
}

/** Source: elf.h, Elf64_Ehdr and Elf64_Phdr. */
function readLoader(view: DataView, head: Uint8Array): string | undefined {
  const table = Number(view.getBigUint64(32, true));
  const size = view.getUint16(54, true);
  const count = view.getUint16(56, true);
  for (let i = 0; i < count; i++) {
    const at = table + i * size;
    if (size < 56 || at + 56 > head.length) return undefined;
    if (view.getUint32(at, true) !== PT_INTERP) continue;
    const offset = Number(view.getBigUint64(at + 8, true));
    const length = Number(view.getBigUint64(at + 32, true));
    if (offset + length > head.length || length > 4096) return undefined;
    return new TextDecoder().decode(head.subarray(offset, offset + length)).replace(/\0.*$/s, '');
  }
  return undefined;
}
