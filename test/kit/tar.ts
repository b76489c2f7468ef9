// Writes tars for tests, good and odd ones: every header field can be set, pax and GNU headers can stand before an entry.

export type TarItem = {
  name: string;
  /** The type letter of the header; '0' by default. */
  type?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  /** Written as data; its length is the header's size unless `size` says otherwise. */
  content?: string | Uint8Array;
  size?: number;
  link?: string;
  major?: number;
  minor?: number;
  /** Records of a pax header before the entry, in order; the key's and value's characters are bytes. */
  pax?: readonly (readonly [string, string])[];
  /** GNU long name and long link before the entry. */
  longName?: string;
  longLink?: string;
  prefix?: string;
  /** 'ustar' (default), 'gnu' or 'v7' magic. */
  form?: 'ustar' | 'gnu' | 'v7';
  /** Base-256 instead of octal numbers. */
  binary?: boolean;
  /** Bytes written over the header before the checksum is made. */
  patch?: readonly (readonly [number, string | Uint8Array])[];
  /** Leaves the checksum wrong. */
  badSum?: boolean;
};

const bytesOf = (text: string | Uint8Array): Uint8Array =>
  typeof text === 'string' ? Buffer.from(text, 'latin1') : text;

function number(value: number, width: number, binary: boolean): Uint8Array {
  if (!binary && value >= 0 && value < 8 ** (width - 1))
    return Buffer.from(`${value.toString(8).padStart(width - 1, '0')}\0`, 'latin1');
  const bytes = Buffer.alloc(width);
  let rest = BigInt(value);
  for (let i = width - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  bytes[0] = (bytes[0] ?? 0) | 0x80;
  return bytes;
}

/** One header block with its checksum. */
export function tarHeader(item: TarItem): Uint8Array {
  const header = Buffer.alloc(512);
  const put = (at: number, bytes: Uint8Array, most: number): void => header.set(bytes.subarray(0, most), at);
  const { form = 'ustar', binary = false } = item;
  put(0, bytesOf(item.name), 100);
  put(100, number(item.mode ?? 0o644, 8, binary), 8);
  put(108, number(item.uid ?? 0, 8, binary), 8);
  put(116, number(item.gid ?? 0, 8, binary), 8);
  put(124, number(item.size ?? bytesOf(item.content ?? '').length, 12, binary), 12);
  put(136, number(item.mtime ?? 1_700_000_000, 12, binary), 12);
  put(156, bytesOf(item.type ?? '0'), 1);
  put(157, bytesOf(item.link ?? ''), 100);
  if (form !== 'v7') {
    put(257, bytesOf(form === 'gnu' ? 'ustar  \0' : 'ustar\x0000'), 8);
    put(329, number(item.major ?? 0, 8, false), 8);
    put(337, number(item.minor ?? 0, 8, false), 8);
    put(345, bytesOf(item.prefix ?? ''), 155);
  }
  for (const [at, bytes] of item.patch ?? []) put(at, bytesOf(bytes), 512 - at);
  sealHeader(header);
  if (item.badSum) header[148] = 0x37;
  return header;
}

/** Writes the checksum of a header. */
export function sealHeader(header: Uint8Array): void {
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.set(bytesOf(`${sum.toString(8).padStart(6, '0')}\0 `), 148);
}

const padded = (bytes: Uint8Array): Uint8Array => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 511)]);

/** The records of a pax header. */
export function paxBody(records: readonly (readonly [string, string])[]): Uint8Array {
  const lines = records.map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = rest.length;
    while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
    return length + rest;
  });
  return bytesOf(lines.join(''));
}

/** An entry with what stands before it and its padded data. */
export function tarEntry(item: TarItem): Uint8Array {
  const parts: Uint8Array[] = [];
  const meta = (type: string, content: Uint8Array): void => {
    parts.push(tarHeader({ name: '././@Meta', type, content, form: type === 'x' ? 'ustar' : 'gnu' }), padded(content));
  };
  if (item.pax !== undefined) meta('x', paxBody(item.pax));
  if (item.longName !== undefined) meta('L', bytesOf(`${item.longName}\0`));
  if (item.longLink !== undefined) meta('K', bytesOf(`${item.longLink}\0`));
  parts.push(tarHeader(item), padded(bytesOf(item.content ?? '')));
  return Buffer.concat(parts);
}

/** A whole tar with its end. */
export function tarOf(items: readonly TarItem[]): Uint8Array {
  return Buffer.concat([...items.map(tarEntry), Buffer.alloc(1024)]);
}
