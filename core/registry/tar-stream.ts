// Reads the outer tar of an archive of images as it streams by: names, sizes, links; contents are handed on in pieces. Layers inside
// are opaque bytes here. Source: POSIX pax; GNU tar manual, Basic Tar Format; man 5 tar.
import { BerthError } from '../base/errors.ts';

const BLOCK = 512;
const META_BYTES_MAX = 1 << 20;
const NAME_BYTES_MAX = 4096;

export type TarEntry =
  | { readonly kind: 'file'; readonly name: string; readonly size: number }
  | { readonly kind: 'link'; readonly name: string; readonly target: string; readonly hard: boolean }
  | { readonly kind: 'directory'; readonly name: string };

/** What happens to the entries. `file` must read all of `contents`. */
export type TarVisitor = {
  readonly file: (entry: { name: string; size: number }, contents: AsyncIterable<Uint8Array>) => Promise<void>;
  readonly link: (entry: { name: string; target: string; hard: boolean }) => void;
};

/** The refusal of an archive. */
export function badArchive(why: string, cause?: unknown): BerthError {
  return new BerthError('image_invalid', `invalid archive: ${why}`, { cause });
}

/** Bytes of a stream in the portions that are asked for. */
type Portions = Disposable & {
  /** The next so many bytes, or fewer at the end of the stream. */
  readonly take: (count: number) => Promise<Uint8Array>;
  /** The next so many bytes in pieces as they come. Throws image_invalid when the stream ends before. */
  readonly pieces: (count: number) => AsyncGenerator<Uint8Array>;
};

function portionsOf(source: AsyncIterable<Uint8Array>): Portions {
  const chunks = source[Symbol.asyncIterator]();
  let held: Uint8Array = new Uint8Array();
  const more = async (): Promise<boolean> => {
    while (held.length === 0) {
      const next = await chunks.next();
      if (next.done === true) return false;
      held = next.value;
    }
    return true;
  };
  const cut = (count: number): Uint8Array => {
    const piece = held.subarray(0, count);
    held = held.subarray(piece.length);
    return piece;
  };
  const take = async (count: number): Promise<Uint8Array> => {
    const parts: Uint8Array[] = [];
    for (let left = count; left > 0 && (await more()); left -= parts.at(-1)?.length ?? 0) parts.push(cut(left));
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  };
  async function* pieces(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0; ) {
      if (!(await more())) throw badArchive('unexpected EOF');
      const piece = cut(left);
      left -= piece.length;
      yield piece;
    }
  }
  return { take, pieces, [Symbol.dispose]: () => void chunks.return?.().catch(() => {}) };
}

/** Reads a tar and what stands behind its end. Throws image_invalid. */
export async function readTar(source: AsyncIterable<Uint8Array>, visitor: TarVisitor): Promise<void> {
  using portions = portionsOf(source);
  let meta: Meta = {};
  for (;;) {
    const header = await portions.take(BLOCK);
    if (header.length === 0 || header.every((byte) => byte === 0)) break;
    if (header.length < BLOCK) throw badArchive('unexpected EOF');
    const fields = readHeader(header);
    const kind = META[fields.type];
    if (kind !== undefined) {
      if (fields.size > META_BYTES_MAX) throw badArchive(`a header has ${fields.size} bytes`);
      meta = { ...meta, ...kind(await whole(portions, fields.size)) };
      await skip(portions, padding(fields.size));
      continue;
    }
    await visit(portions, visitor, entryOf(fields, meta));
    meta = {};
  }
  while ((await portions.take(1 << 16)).length > 0); // what stands behind the end
}

async function visit(portions: Portions, visitor: TarVisitor, entry: TarEntry): Promise<void> {
  if (entry.kind === 'link') visitor.link(entry);
  if (entry.kind !== 'file') return;
  await visitor.file(entry, portions.pieces(entry.size));
  await skip(portions, padding(entry.size));
}

const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;

async function whole(portions: Portions, size: number): Promise<Uint8Array> {
  const bytes = await portions.take(size);
  if (bytes.length < size) throw badArchive('unexpected EOF');
  return bytes;
}

async function skip(portions: Portions, size: number): Promise<void> {
  await whole(portions, size);
}

type Header = { readonly name: string; readonly link: string; readonly size: number; readonly type: string };
/** What a header before an entry says instead of the entry's own. */
type Meta = { readonly name?: string; readonly link?: string; readonly size?: number };

const META: Readonly<Record<string, (bytes: Uint8Array) => Meta>> = {
  L: (bytes) => ({ name: untilNul(bytes) }),
  K: (bytes) => ({ link: untilNul(bytes) }),
  x: readPax,
  g: () => ({}), // a global header, as git archive writes: nothing in it that matters here
};

function readHeader(header: Uint8Array): Header {
  const stored = readNumber(header.subarray(148, 156));
  const unsummed = header.with(148, 0).fill(0x20, 148, 156);
  if (stored !== unsummed.reduce((sum, byte) => sum + byte, 0))
    throw badArchive('it is no tar, or damaged: bad header');
  const name = untilNul(header.subarray(0, 100));
  const ustar = Buffer.from(header.subarray(257, 263)).toString('latin1') === 'ustar\0';
  const prefix = ustar ? untilNul(header.subarray(345, 500)) : '';
  const size = readNumber(header.subarray(124, 136));
  const type = String.fromCharCode(header[156] ?? 0);
  return { name: prefix === '' ? name : `${prefix}/${name}`, link: untilNul(header.subarray(157, 257)), size, type };
}

function untilNul(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8');
}

/** Octal, or base 256 when the first bit is set. */
function readNumber(bytes: Uint8Array): number {
  const first = bytes[0] ?? 0;
  if (first & 0x80) {
    const value = bytes.reduce((sum, byte, i) => sum * 256 + (i === 0 ? byte & 0x7f : byte), 0);
    if (!Number.isSafeInteger(value)) throw badArchive('a number is out of range');
    return value;
  }
  const text = untilNul(bytes).trim();
  if (!/^[0-7]*$/.test(text)) throw badArchive('it is no tar, or damaged: bad header');
  return text === '' ? 0 : Number.parseInt(text, 8);
}

/** Records as `LENGTH KEY=VALUE\n`, the length counting the whole record. */
function readPax(bytes: Uint8Array): Meta {
  const found = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = Number(Buffer.from(bytes.subarray(at, space)).toString('latin1'));
    const record = Buffer.from(bytes.subarray(space + 1, at + length - 1)).toString('utf8');
    const equals = record.indexOf('=');
    const good = space > at && space - at < 10 && Number.isInteger(length) && at + length <= bytes.length && equals > 0;
    if (!good || bytes[at + length - 1] !== 0x0a) throw badArchive('a pax header is damaged');
    found.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  const [name, link, size] = [found.get('path'), found.get('linkpath'), found.get('size')];
  if (size !== undefined && !/^\d{1,15}$/.test(size)) throw badArchive('a pax header has a bad size');
  if ([...found.keys()].some((key) => key.startsWith('GNU.sparse.'))) throw badArchive('it has a sparse file');
  return {
    ...(name === undefined ? {} : { name }),
    ...(link === undefined ? {} : { link }),
    ...(size === undefined ? {} : { size: Number(size) }),
  };
}

function entryOf(header: Header, meta: Meta): TarEntry {
  const given = meta.name ?? header.name;
  const size = meta.size ?? header.size;
  const name = cleanName(given);
  switch (header.type) {
    case '0':
    case '\0':
    case '7':
      // An old tar marks directories by the slash alone.
      return given.endsWith('/') ? { kind: 'directory', name } : { kind: 'file', name: named(name), size };
    case '5':
      return { kind: 'directory', name };
    case '1':
    case '2': {
      const hard = header.type === '1';
      return { kind: 'link', name: named(name), target: linkTarget(name, meta.link ?? header.link, hard), hard };
    }
    default:
      throw badArchive(
        `${JSON.stringify(name)} is neither file, directory nor link (type ${JSON.stringify(header.type)})`,
      );
  }
}

function named(name: string): string {
  if (name === '') throw badArchive('a file has no name');
  return name;
}

/** A name as path beneath the archive's root, without `./` and doubled slashes. Throws image_invalid for any that could lead out. */
function cleanName(given: string): string {
  const parts = given.split('/').filter((part) => part !== '' && part !== '.');
  const hostile = given.startsWith('/') || parts.includes('..') || /\p{Cc}/u.test(given);
  if (hostile || Buffer.byteLength(given) > NAME_BYTES_MAX)
    throw badArchive(`hostile name ${JSON.stringify(given.slice(0, 200))}`);
  return parts.join('/');
}

/** The entry a link means: a symbolic one from its own directory, a hard one from the root. Throws image_invalid where it leads out. */
function linkTarget(name: string, given: string, hard: boolean): string {
  if (given.startsWith('/') || /\p{Cc}/u.test(given))
    throw badArchive(`hostile link ${JSON.stringify(given.slice(0, 200))}`);
  const parts = hard ? [] : name.split('/').slice(0, -1);
  for (const part of given.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) throw badArchive(`link ${JSON.stringify(name)} leads out of the archive`);
  }
  return parts.join('/');
}
