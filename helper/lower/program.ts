// A program of the launcher under construction: a table of records (one system call each) and the bytes they point to. What a record can say is
// all that the new process can do: call the kernel with constants, addresses in the program and earlier results; compare the answer; jump.

/** The address of bytes of the program: of its data, or of the header's unused part. */
export type Data = { readonly kind: 'data' | 'header'; readonly offset: number; readonly length: number };
/** What an earlier record returned. */
export type Result = { readonly kind: 'result'; readonly record: number };
/** The unsigned 32-bit number that lies at that address when the record runs. */
export type Word = { readonly kind: 'word'; readonly data: Data };
/** A place to jump to; `record` is 0 until `here` sets it. */
export type Label = { readonly kind: 'label'; record: number };
/** The address of a field of the record at the label: the kernel writes there what a later record compares or passes on. */
export type Slot = { readonly kind: 'slot'; readonly label: Label; readonly field: number };
export type Argument = number | bigint | string | Data | Result | Word | Slot;

export type Record = {
  /** The call's number on x86-64, or ADD. */
  readonly number: number;
  readonly args: readonly Exclude<Argument, string>[];
  /** In words, for the sentence a user reads when it fails. */
  readonly step: string;
  /** Goes on whatever the kernel answers. */
  readonly ignore: boolean;
  /** Jumps when the result is that number. */
  readonly on: readonly [result: number, to: Label] | undefined;
};
export type RecordOptions = Partial<Pick<Record, 'step' | 'ignore' | 'on'>>;

/** No system call: the result is the sum of the first two arguments. With `on` it compares and jumps. */
export const ADD = -1;

/** A plan that cannot be made into a program: which field, and why. */
export class Refused extends Error {
  readonly field: string;
  constructor(field: string, reason: string) {
    super(reason);
    this.field = field;
  }
}

export type Program = {
  /** The pipe's write end on which the process reports (see decodeStatus of helper/launch); -1: nowhere. */
  readonly status: number;
  readonly records: readonly Record[];
  /** The data, by their offsets. */
  readonly chunks: ReadonlyMap<number, Uint8Array>;
  readonly pointers: readonly (readonly [at: number, target: Data | Slot])[];
  /** The helper's descriptors that the process starts with. */
  readonly descriptors: ReadonlySet<number>;
  /** What the next records are for, in the words that a user reads when one fails. */
  readonly step: string;
  /** The same program during another step. */
  readonly during: (step: string) => Program;
  /** Appends a record; strings become the addresses of their bytes. */
  readonly call: (number: number, args: readonly Argument[], options?: RecordOptions) => Result;
  /** Appends a jump that is always taken. */
  readonly jump: (to: Label) => void;
  /** Appends an end with that failure, -errno. */
  readonly fail: (errno: number, why: string) => void;
  readonly data: (bytes: Uint8Array, pointers?: readonly (readonly [number, Data | Slot])[]) => Data;
  readonly string: (text: string) => Data;
  /** A null-terminated array of the strings' addresses. */
  readonly strings: (texts: readonly string[]) => Data;
  /** Names a descriptor of the helper: it is open in the process under the same number. */
  readonly use: (descriptor: number) => number;
  readonly here: (label: Label) => void;
  /** A few bytes that a Word can always reach, however large the program is. */
  readonly scratch: Data;
};

/** A new, empty program that reports on the descriptor. */
export function createProgram(status: number): Program {
  const records: Record[] = [];
  const chunks = new Map<number, Uint8Array>();
  const pointers: [number, Data | Slot][] = [];
  const descriptors = new Set(status < 0 ? [] : [status]);
  const known = new Map<string, Data>();
  let size = 0;

  const data: Program['data'] = (bytes, inside = []) => {
    const offset = size;
    chunks.set(offset, bytes);
    size += (bytes.length + 7) & ~7;
    for (const [at, target] of inside) pointers.push([offset + at, target]);
    return { kind: 'data', offset, length: bytes.length };
  };
  const string: Program['string'] = (text) => {
    if (text.includes('\0')) throw new Refused('text', 'holds a zero byte');
    const made = known.get(text) ?? data(encoder.encode(`${text}\0`));
    known.set(text, made);
    return made;
  };
  const strings: Program['strings'] = (texts) => {
    const pointed = texts.map((text, i): [number, Data] => [8 * i, string(text)]);
    return data(new Uint8Array(8 * (texts.length + 1)), pointed);
  };
  const use: Program['use'] = (descriptor) => {
    descriptors.add(descriptor);
    return descriptor;
  };
  const here: Program['here'] = (label) => void Object.assign(label, { record: records.length + 1 });
  const all = { status, records, chunks, pointers, descriptors, scratch, data, string, strings, use, here };
  const during = (step: string): Program => {
    const call: Program['call'] = (number, args, { step: own = step, ignore = false, on } = {}) => {
      const ready = args.map((arg) => (typeof arg === 'string' ? string(arg) : arg));
      records.push({ number, args: ready, step: own, ignore, on });
      return { kind: 'result', record: records.length };
    };
    const jump: Program['jump'] = (to) => void call(ADD, [0, 0], { step: 'jump', on: [0, to] });
    const fail: Program['fail'] = (errno, why) => void call(ADD, [-errno, 0], { step: why });
    return { ...all, step, during, call, jump, fail };
  };
  return during('');
}

const scratch: Data = { kind: 'header', offset: 16, length: 80 };

const encoder = new TextEncoder();

/** A label to be set later with `here`. */
export function newLabel(): Label {
  return { kind: 'label', record: 0 };
}

/** The address `offset` bytes into the data. */
export function within(data: Data, offset: number): Data {
  return { kind: data.kind, offset: data.offset + offset, length: data.length - offset };
}

/** The bytes of unsigned 64-bit numbers; negative ones in two's complement. */
export function u64(...values: (number | bigint)[]): Uint8Array {
  return new Uint8Array(new BigUint64Array(values.map((value) => BigInt.asUintN(64, BigInt(value)))).buffer);
}

/** The bytes of unsigned 32-bit numbers. */
export function u32(...values: number[]): Uint8Array {
  return new Uint8Array(new Uint32Array(values).buffer);
}
