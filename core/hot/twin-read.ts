// The twin's readers of single values: numbers, text and paths of tar headers. A failed read throws Refusal with the number of asm/memory.ts.

/** Numbers of what is refused, as in asm/memory.ts. */
export const E = {
  checksum: 1,
  metaSize: 2,
  pax: 3,
  number: 4,
  path: 5,
  name: 6,
  type: 7,
  size: 8,
  id: 9,
  cut: 10,
  after: 11,
  zero: 12,
  sparse: 13,
  align: 14,
  segments: 15,
  nul: 16,
  linkEmpty: 17,
  linkLong: 18,
  device: 19,
  whiteout: 20,
  xattr: 21,
  root: 22,
  twice: 23,
} as const;

/** Why reading stopped. */
export class Refusal extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`refused ${code}`);
    this.code = code;
  }
}

/** Text up to the first zero byte, a character per byte. */
export function text(bytes: Uint8Array, at: number, most: number): string {
  let out = '';
  for (let i = at; i < at + most && bytes[i] !== 0; i++) out += String.fromCharCode(bytes[i] ?? 0);
  return out;
}

/** A numeric header field, octal or base-256, within ±(2^53 - 1). */
export function field(bytes: Uint8Array, at: number, length: number): number {
  const part = bytes.subarray(at, at + length);
  if (((part[0] ?? 0) & 0x80) !== 0) return base256(part);
  const digits = /^[ \0]*([^ \0]*)/.exec(String.fromCharCode(...part))?.[1] ?? '';
  if (!/^[0-7]*$/.test(digits)) throw new Refusal(E.number);
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function base256(part: Uint8Array): number {
  const negative = ((part[0] ?? 0) & 0x40) !== 0;
  let value = 0n;
  part.forEach((byte, i) => {
    const c = negative ? byte ^ 0xff : byte;
    value = (value << 8n) | BigInt(i === 0 ? c & 0x7f : c);
  });
  if (value > 0x1fffffffffffffn) throw new Refusal(E.number);
  return Number(negative ? ~value : value);
}

/** Decimal digits and nothing else. */
export function decimal(digits: string): number {
  const value = /^[0-9]{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new Refusal(E.pax);
  return value;
}

/** The clean form of a path: "a/b", and "" for the root; `..` stops at the root. */
export function cleanPath(path: string): string {
  const out: string[] = [];
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      out.pop();
      continue;
    }
    if (name.length > 255) throw new Refusal(E.name);
    out.push(name);
    if (out.reduce((sum, part) => sum + part.length + 1, 0) > 4096) throw new Refusal(E.path);
  }
  return out.join('/');
}
