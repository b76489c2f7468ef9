// The bytes of a program as the launcher reads them (its code: helper/launch/launcher.ts). Record n, counted from 1, lies at PROGRAM_BASE +
// 96 n; record 0 is the header; after the last record come the data. A program is written for one address: pointers in it are ready to use.
import { ARM64_NUMBERS } from '../../proto/abi/unistd.gen.ts';
import { ADD, type Data, type Label, type Program, type Record, Refused, type Slot } from './program.ts';

export type Arch = 'x64' | 'arm64';

/** The number of a call, which programs name by x86-64's, on the architecture. Throws for one that proto/abi does not list. */
export function numberOn(arch: Arch, number: number): number {
  const known = arch === 'x64' ? number : ARM64_NUMBERS.get(number);
  if (known === undefined) throw new Error(`no arm64 number for system call ${number}`);
  return known;
}

/** Where the launcher maps its program, and how much at most. */
export const PROGRAM_BASE = 0x10000000;
export const PROGRAM_BYTES_MAX = 16 << 20;
export const RECORD_BYTES = 96;
/** The header's descriptor for reports. */
export const STATUS_AT = 8;
/** Fields of a record: u32 call; u8 ignore; u64 arguments; u16 sources; u32 own number, i64 result (a report is these 12 bytes); i64 match; u32 target. */
export const FIELD = {
  number: 0,
  ignore: 4,
  args: 8,
  sources: 56,
  index: 68,
  result: 72,
  match: 80,
  target: 88,
} as const;
/** A source: 0, the argument as it is; a record's number, its result; with this bit, the u32 at that word of the program. */
export const WORD_SOURCE = 0x8000;
/** What a report of the header's own (record 0) says: the process was cloned, the result is its pid. */
export const REPORT_BYTES = 12;

const NEVER = -(2 ** 63); // no call returns it
const MAGIC = [0x62, 0x65, 0x72, 0x74, 0x68, 0x31]; // "berth1"

export type Layout = {
  readonly arch: Arch;
  /** Where it will lie, if not where the launcher maps it. */
  readonly base?: number;
  /** Added to each record's own number in reports. */
  readonly reportFrom?: number;
};

/** Lays the program out. Throws Refused for one that is too large, and Error for a jump to a label that was never set. */
export function encodeProgram(program: Program, layout: Layout): Uint8Array<ArrayBuffer> {
  const { arch, base = PROGRAM_BASE, reportFrom = 0 } = layout;
  const { records, chunks, pointers, status } = program;
  const dataAt = RECORD_BYTES * (records.length + 1);
  let last = dataAt;
  for (const [offset, chunk] of chunks) last = dataAt + offset + ((chunk.length + 7) & ~7);
  if (last > PROGRAM_BYTES_MAX) throw new Refused('program', `${last} bytes are more than ${PROGRAM_BYTES_MAX}`);
  const bytes = new Uint8Array(last);
  const words = new Uint32Array(bytes.buffer);
  const offsetOf = ({ kind, offset }: Data) => (kind === 'data' ? dataAt + offset : offset);
  const addressOf = (target: Data | Slot) =>
    base + (target.kind === 'slot' ? RECORD_BYTES * placeOf(target.label) + target.field : offsetOf(target));
  const halves = new Uint16Array(bytes.buffer);
  const putArgument = (at: number, k: number, arg: Record['args'][number]) => {
    const source = (at + FIELD.sources + 2 * k) >> 1;
    if (typeof arg === 'number' || typeof arg === 'bigint') putNumber(words, at + FIELD.args + 8 * k, arg);
    else if (arg.kind === 'result') halves[source] = arg.record;
    else if (arg.kind === 'word') halves[source] = WORD_SOURCE | wordIndex(offsetOf(arg.data));
    else putNumber(words, at + FIELD.args + 8 * k, addressOf(arg));
  };
  bytes.set(MAGIC);
  words[STATUS_AT >> 2] = status;
  for (const [i, { number, args, ignore, on }] of records.entries()) {
    const at = RECORD_BYTES * (i + 1);
    words[at >> 2] = number === ADD ? ADD : numberOn(arch, number);
    words[(at + FIELD.ignore) >> 2] = ignore ? 1 : 0;
    for (const [k, arg] of args.entries()) putArgument(at, k, arg);
    words[(at + FIELD.index) >> 2] = reportFrom + i + 1;
    putNumber(words, at + FIELD.match, on?.[0] ?? NEVER);
    words[(at + FIELD.target) >> 2] = on === undefined ? 0 : placeOf(on[1]);
  }
  for (const [offset, chunk] of chunks) bytes.set(chunk, dataAt + offset);
  for (const [offset, target] of pointers) putNumber(words, dataAt + offset, addressOf(target));
  return bytes;
}

function wordIndex(at: number): number {
  if (at >= WORD_SOURCE * 4) throw new Refused('program', `a word at ${at} is out of the launcher's reach`);
  return at >> 2;
}

function placeOf({ record }: Label): number {
  if (record === 0) throw new Error('a label was never set');
  return record;
}

/** Writes 64 bits; numbers are whole, negative ones in two's complement. Faster than BigInt64Array for what is nearly always small. */
function putNumber(words: Uint32Array, at: number, value: number | bigint): void {
  const isBig = typeof value === 'bigint';
  words[at >> 2] = isBig ? Number(value & 0xffffffffn) : value;
  words[(at >> 2) + 1] = isBig ? Number((value >> 32n) & 0xffffffffn) : Math.floor(value / 0x100000000);
}
