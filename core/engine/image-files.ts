// What lies in an image, without mounting it: the helper lends the merged index and the layers' tars, read-only. Answers are kept for each
// image, the descriptors only for a while.
import { closeSync, fstatSync, readSync } from 'node:fs';
import type { Digest } from '../base/brand.ts';
import type { Link } from '../link/link.ts';
import type { Found } from '../plan/facts.ts';
import { decodeImageIndex, type ImageEntry, type ImageIndex, lookup } from '../spec/image-index.ts';

export type ImageFiles = {
  /** A text of the image, empty where there is no such file; at most 1 MiB. */
  readonly text: (layers: readonly Digest[], path: string) => Promise<string>;
  readonly look: (layers: readonly Digest[], paths: readonly string[]) => Promise<Readonly<Record<string, Found>>>;
  /** All answers so far. */
  readonly known: (layers: readonly Digest[]) => Readonly<Record<string, Found>>;
  /** The highest owner and group of any file. */
  readonly owners: (layers: readonly Digest[]) => Promise<{ readonly highestUid: number; readonly highestGid: number }>;
  /** Forgets an image that was removed. */
  readonly forget: (layers: readonly Digest[]) => void;
  readonly close: () => void;
};

type Opened = { readonly index: ImageIndex; readonly tars: readonly number[]; readonly timer: NodeJS.Timeout };
type Known = {
  readonly texts: Map<string, string>;
  readonly found: Map<string, Found>;
  owners: { readonly highestUid: number; readonly highestGid: number } | undefined;
  opened: Promise<Opened> | undefined;
};

const HEAD_BYTES = 4096;
const TEXT_BYTES_MAX = 1 << 20;
const IDLE_MS = 10_000;
const IMAGES_KEPT = 32;
const PATHS_KEPT = 256;

export function makeImageFiles(link: Link): ImageFiles {
  const images = new Map<string, Known>();
  const knownOf = (layers: readonly Digest[]): Known => {
    const key = layers.join();
    const known = images.get(key) ?? { texts: new Map(), found: new Map(), owners: undefined, opened: undefined };
    images.delete(key);
    images.set(key, known);
    const oldest = images.keys().next().value;
    if (images.size > IMAGES_KEPT && oldest !== undefined) images.delete(oldest);
    return known;
  };
  const open = (known: Known, layers: readonly Digest[]): Promise<Opened> => {
    known.opened ??= borrow(link, layers, () => shut(known)).catch((error: unknown) => {
      known.opened = undefined;
      throw error;
    });
    return known.opened;
  };
  return {
    text: async (layers, path) => {
      const known = knownOf(layers);
      const kept = known.texts.get(path);
      if (kept !== undefined) return kept;
      const opened = await open(known, layers);
      const at = lookup(opened.index, path);
      const text =
        at.kind === 'found' && at.entry.kind === 'file'
          ? readEntry(opened, at.entry, TEXT_BYTES_MAX).toString('utf8')
          : '';
      known.texts.set(path, text);
      return text;
    },
    look: async (layers, paths) => {
      const known = knownOf(layers);
      if (known.found.size > PATHS_KEPT) known.found.clear();
      const answer: Record<string, Found> = {};
      for (const path of paths) {
        const found = known.found.get(path) ?? foundAt(await open(known, layers), path);
        known.found.set(path, found);
        answer[path] = found;
      }
      return answer;
    },
    known: (layers) => Object.fromEntries(knownOf(layers).found),
    owners: async (layers) => {
      const known = knownOf(layers);
      if (known.owners === undefined) {
        const { highestUid, highestGid } = (await open(known, layers)).index;
        known.owners = { highestUid, highestGid };
      }
      return known.owners;
    },
    forget: (layers) => {
      const known = images.get(layers.join());
      images.delete(layers.join());
      if (known !== undefined) shut(known);
    },
    close: () => {
      for (const known of images.values()) shut(known);
      images.clear();
    },
  };
}

function shut(known: Known): void {
  const { opened } = known;
  known.opened = undefined;
  void opened?.then(
    ({ tars, timer }) => {
      clearTimeout(timer);
      for (const fd of tars) closeSync(fd);
    },
    () => {},
  );
}

async function borrow(link: Link, layers: readonly Digest[], idle: () => void): Promise<Opened> {
  const { fds } = await link.send({ $case: 'mergeImage', value: { layers: [...layers].reverse() } }, { wantFds: true });
  const [first, ...tars] = fds;
  if (first === undefined) throw new Error('the helper gave no index with the merged image');
  try {
    const bytes = Buffer.allocUnsafe(fstatSync(first).size);
    for (let at = 0; at < bytes.length; ) {
      const count = readSync(first, bytes, at, bytes.length - at, at);
      if (count === 0) break;
      at += count;
    }
    return { index: decodeImageIndex(bytes), tars, timer: setTimeout(idle, IDLE_MS).unref() };
  } catch (error) {
    for (const fd of tars) closeSync(fd);
    throw error;
  } finally {
    closeSync(first);
  }
}

/** The file's first bytes. Tars come topmost first, an entry counts its layer from the bottom. */
function readEntry(opened: Opened, entry: ImageEntry, bytesMax: number): Buffer {
  const tar = opened.tars[opened.tars.length - 1 - entry.layer];
  const bytes = Buffer.alloc(Math.min(entry.size, bytesMax));
  if (tar === undefined) return Buffer.alloc(0);
  for (const { offset, length, tarOffset } of entry.extents) {
    if (offset >= bytes.length) break;
    readSync(tar, bytes, offset, Math.min(length, bytes.length - offset), tarOffset);
  }
  return bytes;
}

function foundAt(opened: Opened, path: string): Found {
  const at = lookup(opened.index, path);
  if (at.kind !== 'found') return { kind: 'missing', at: at.path };
  const { entry } = at;
  if (entry.kind === 'dir') return { kind: 'directory', at: at.path };
  if (entry.kind !== 'file') return { kind: 'other', at: at.path };
  const { mode, uid, gid } = entry;
  return { kind: 'file', at: at.path, mode, uid, gid, head: readEntry(opened, entry, HEAD_BYTES) };
}
