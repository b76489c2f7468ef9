// The launcher's file: an ELF header, one segment to read and execute, a stack that is not executable, the code. Source: man 5 elf.
import { EM_AARCH64, EM_X86_64, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_LOAD } from '../../proto/abi/elf.gen.ts';
import type { Arch } from '../lower/encode.ts';

/** Instructions; a name for the place; or a jump, whose distance (in units, from its start on arm64, from its end on x86-64) is put into `bits` of its last word. */
type Jump = {
  readonly code: readonly number[];
  readonly to: string;
  readonly bits: number;
  readonly shift: number;
  readonly unit: number;
};
export type Listing = readonly (readonly number[] | { readonly label: string } | Jump)[];
/** Machine code and where its entries are: `start` is the file's, `clone` is called by the helper, `run` expects the program mapped. */
export type Code = {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly clone: number;
  readonly run: number;
};
/** `cloneAt`: where the entry `clone` is in the file. */
export type LauncherFile = { readonly bytes: Uint8Array; readonly cloneAt: number };

const LOAD_ADDRESS = 0x400000;
const HEADER_BYTES = 64;
const SEGMENT_BYTES = 56;
const CODE_AT = HEADER_BYTES + 2 * SEGMENT_BYTES;

/** Names the place in a listing. */
export function label(name: string): { readonly label: string } {
  return { label: name };
}

/** The listing's bytes, all jumps filled in. */
export function assemble(listing: Listing): Code {
  const code: number[] = [];
  const places = new Map<string, number>();
  const jumps: [end: number, jump: Jump][] = [];
  for (const item of listing) {
    if ('label' in item) places.set(item.label, code.length);
    else if ('to' in item) jumps.push([code.push(...item.code), item]);
    else code.push(...item);
  }
  const bytes = Uint8Array.from(code);
  const view = new DataView(bytes.buffer);
  for (const [end, { to, bits, shift, unit }] of jumps) {
    const from = unit === 1 ? end : end - unit;
    const distance = ((places.get(to) ?? Number.NaN) - from) / unit;
    if (!Number.isInteger(distance)) throw new Error(`no label ${to}`);
    const mask = bits === 32 ? -1 : (1 << bits) - 1;
    view.setInt32(end - 4, view.getInt32(end - 4, true) | ((distance & mask) << shift), true);
  }
  const place = (name: string) => places.get(name) ?? 0;
  return { bytes, start: place('start'), clone: place('clone'), run: place('run') };
}

/** The code as an executable file. */
export function wrapElf(arch: Arch, code: Code): LauncherFile {
  const bytes = new Uint8Array(CODE_AT + code.bytes.length);
  const view = new DataView(bytes.buffer);
  const u16 = (at: number, value: number) => view.setUint16(at, value, true);
  const u32 = (at: number, value: number) => view.setUint32(at, value, true);
  const u64 = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // magic, 64 bits, little endian, version
  u16(16, ET_EXEC);
  u16(18, arch === 'x64' ? EM_X86_64 : EM_AARCH64);
  u32(20, 1);
  u64(24, LOAD_ADDRESS + CODE_AT + code.start);
  u64(32, HEADER_BYTES);
  u16(52, HEADER_BYTES);
  u16(54, SEGMENT_BYTES);
  u16(56, 2);
  u32(64, PT_LOAD);
  u32(68, PF_R | PF_X);
  u64(80, LOAD_ADDRESS);
  u64(88, LOAD_ADDRESS);
  u64(96, bytes.length);
  u64(104, bytes.length);
  u64(112, 0x1000);
  u32(120, PT_GNU_STACK);
  u32(124, PF_R | PF_W);
  bytes.set(code.bytes, CODE_AT);
  return { bytes, cloneAt: CODE_AT + code.clone };
}
