// The bytes of a program as the launcher reads them (its code: helper/launch/launcher.ts). Record n, counted from 1, lies at PROGRAM_BASE +
// 96 n; record 0 is the header; after the last record come the data. A program is written for one address: pointers in it are ready to use.
import { ARM64_NUMBERS } from '../../proto/abi/unistd.gen.ts';
import { ADD, type Data, type Program, Refused, type Slot } from './program.ts';

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

const NEVER_HIGH = 0x80000000; // -2^63: no call returns it
const MAGIC = [0x62, 0x65, 0x72, 0x74, 0x68, 0x31]; // "berth1"

export type Layout = {
  readonly arch: Arch;
  /** Where it will lie, if not where the launcher maps it. */
  readonly base?: number;
  /** Added to each record's own number in reports. */
  readonly reportFrom?: number;
};

/** Lays the program out. Throws Refused for one that is too large, and Error for a jump to a label that was never set. */
export function encodeProgram(
  program: Program,
  { arch, base = PROGRAM_BASE, reportFrom = 0 }: Layout,
): Uint8Array<ArrayBuffer> {
  const dataAt = RECORD_BYTES * (program.records.length + 1);
  const last = program.chunks.reduce((size, chunk) => size + ((chunk.length + 7) & ~7), dataAt);
  if (last > PROGRAM_BYTES_MAX) throw new Refused('program', `${last} bytes are more than ${PROGRAM_BYTES_MAX}`);
  const bytes = new Uint8Array(last);
  const words = new Uint32Array(bytes.buffer);
  bytes.set(MAGIC);
  words[STATUS_AT >> 2] = program.status;
  for (const [i, record] of program.records.entries())
    encodeRecord(words, i + 1, { record, arch, base, reportFrom, dataAt });
  let at = dataAt;
  for (const chunk of program.chunks) {
    bytes.set(chunk, at);
    at += (chunk.length + 7) & ~7;
  }
  for (const [offset, target] of program.pointers)
    putNumber(words, dataAt + offset, addressOf(target, { base, dataAt }));
  return bytes;
}

type Places = { readonly base: number; readonly dataAt: number };
type Context = Required<Layout> & Places & { readonly record: Program['records'][number] };

function encodeRecord(words: Uint32Array, index: number, context: Context): void {
  const { record, arch, dataAt } = context;
  const at = RECORD_BYTES * index;
  const sources = new Uint16Array(words.buffer, at + FIELD.sources, 6);
  words[at >> 2] = record.number === ADD ? ADD : numberOn(arch, record.number);
  words[(at + FIELD.ignore) >> 2] = record.ignore ? 1 : 0;
  for (const [k, arg] of record.args.entries()) {
    const to = at + FIELD.args + 8 * k;
    if (typeof arg === 'number' || typeof arg === 'bigint') putNumber(words, to, arg);
    else if (arg.kind === 'result') sources[k] = arg.record;
    else if (arg.kind === 'word') sources[k] = WORD_SOURCE | wordIndex(offsetOf(arg.data, dataAt));
    else putNumber(words, to, addressOf(arg, context));
  }
  words[(at + FIELD.index) >> 2] = context.reportFrom + index;
  if (record.on === undefined) words[(at + FIELD.match + 4) >> 2] = NEVER_HIGH;
  else {
    putNumber(words, at + FIELD.match, record.on[0]);
    words[(at + FIELD.target) >> 2] = recordOf(record.on[1].record, record.step);
  }
}

function wordIndex(at: number): number {
  if (at >= WORD_SOURCE * 4) throw new Refused('program', `a word at ${at} is out of the launcher's reach`);
  return at >> 2;
}

function recordOf(record: number, what: string): number {
  if (record === 0) throw new Error(`${what}: its label was never set`);
  return record;
}

function addressOf(target: Data | Slot, { base, dataAt }: Places): number {
  if (target.kind !== 'slot') return base + offsetOf(target, dataAt);
  return base + RECORD_BYTES * recordOf(target.label.record, 'slot') + target.field;
}

function offsetOf({ kind, offset }: Data, dataAt: number): number {
  return kind === 'data' ? dataAt + offset : offset;
}

/** Writes 64 bits; numbers are whole, negative ones in two's complement. Faster than BigInt64Array for what is nearly always small. */
function putNumber(words: Uint32Array, at: number, value: number | bigint): void {
  if (typeof value === 'bigint') {
    words[at >> 2] = Number(value & 0xffffffffn);
    words[(at >> 2) + 1] = Number((value >> 32n) & 0xffffffffn);
  } else {
    words[at >> 2] = value;
    words[(at >> 2) + 1] = Math.floor(value / 0x100000000);
  }
}
