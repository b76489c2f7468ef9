// Mode "unpack": the merged tree, or the top layer in overlay form, as real files beneath descriptor 4. The fall-back where EROFS cannot be
// mounted. Safe because every call names one component of a tree we made, in a directory opened beneath 4 without following anything;
// names come from the index, where no component holds a slash or is "." or "..".
import { closeSync, fchmodSync, fchownSync, ftruncateSync } from 'node:fs';
import { O_CREAT, O_DIRECTORY_OF, O_EXCL, O_WRONLY } from '../../proto/abi/fcntl.gen.ts';
import { extentsOf, KIND, latin1Bytes, type LayerEntry, type WorkerResult, xattrsOf } from '../spec/layer-index.ts';
import * as at from '../sys/at.ts';
import { SysError } from '../sys/libc.ts';
import { FD } from './descriptor.ts';
import { TYPE } from './erofs.ts';
import { LayerFault } from './fault.ts';
import { readLayers, writeImageIndex } from './image.ts';
import { type Inode, listInodes, mergeLayers, topLayer } from './merge.ts';

/** How owners and devices are treated, and what is made. */
export type UnpackOptions = { owners: boolean; devices: boolean; top: boolean };

/** Reads the words after N. Throws LayerFault for an unknown one. */
export function unpackOptions(words: readonly string[]): UnpackOptions {
  const unknown = words.find((word) => !['rootless', 'nodev', 'top'].includes(word));
  if (unknown !== undefined)
    throw new LayerFault('internal', `unknown option "${unknown}" of unpack; known are rootless, nodev, top`);
  const rootless = words.includes('rootless');
  return { owners: !rootless, devices: !rootless && !words.includes('nodev'), top: words.includes('top') };
}

type Work = { inodes: readonly Inode[]; options: UnpackOptions; tars: number; made: Set<number>; leftOut: number };

const O_DIRECTORY = process.arch === 'arm64' ? O_DIRECTORY_OF.arm64 : O_DIRECTORY_OF.x64;

/** Unpacks; the tars' descriptors follow the indexes'. Anything already in the directory under a name of the tree is an error. */
export function unpackImage(count: number, options: UnpackOptions): WorkerResult {
  const layers = readLayers(count);
  const merged = listInodes(mergeLayers(layers));
  const inodes = options.top ? listInodes(topLayer(layers)) : merged;
  const work: Work = { inodes, options, tars: FD.first + count, made: new Set(), leftOut: 0 };
  for (const [i, inode] of inodes.entries()) if (inode.entry.kind === KIND.dir) fillDir(work, i);
  // Directories last, the deepest first: making entries changes their times, and a mode may forbid it.
  for (let i = inodes.length - 1; i >= 0; i--) if (inodes[i]?.entry.kind === KIND.dir) finishDir(work, i);
  at.syncFileSystem(FD.out);
  return { ...writeImageIndex('unpack', layers, merged), leftOut: work.leftOut };
}

const bytesOf = (path: string): Uint8Array => latin1Bytes(path === '' ? '.' : path);

/** Makes all that a directory holds; directories without what is in them. */
function fillDir(work: Work, i: number): void {
  const inode = work.inodes[i];
  if (inode === undefined || inode.names.length === 0) return;
  const dir = at.openBeneath({ dir: FD.out, name: bytesOf(inode.path) }, O_DIRECTORY);
  try {
    for (const { name, inode: number } of inode.names) {
      const kid = work.inodes[number];
      if (kid !== undefined) named(kid, () => make(work, { dir, name: latin1Bytes(name) }, { number, inode: kid }));
    }
  } finally {
    closeSync(dir);
  }
}

/** Adds the path to what a system call says. */
function named(inode: Inode, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw new LayerFault('io', `unpacking "${inode.path}": ${error.message}`, { cause: error });
  }
}

function make(work: Work, to: at.At, what: { number: number; inode: Inode }): void {
  const { entry, path } = what.inode;
  if (work.made.has(what.number)) {
    const slash = path.lastIndexOf('/');
    const from = at.openBeneath({ dir: FD.out, name: bytesOf(path.slice(0, Math.max(0, slash))) }, O_DIRECTORY);
    try {
      at.makeLink({ dir: from, name: latin1Bytes(path.slice(slash + 1)) }, to);
    } finally {
      closeSync(from);
    }
    return;
  }
  const device = entry.kind === KIND.char || entry.kind === KIND.block;
  if (device && !work.options.devices) {
    work.leftOut++;
    return;
  }
  work.made.add(what.number);
  if (entry.kind === KIND.dir) at.makeDir(to, 0o700);
  else if (entry.kind === KIND.file) makeFile(work, to, what.inode);
  else {
    if (entry.kind === KIND.symlink) at.makeSymlink(to, latin1Bytes(entry.link));
    else if (entry.kind === KIND.whiteout) at.makeNode(to, TYPE[KIND.char]?.mode ?? 0, { major: 0, minor: 0 });
    else at.makeNode(to, (TYPE[entry.kind]?.mode ?? 0) | 0o600, entry);
    finishOther(work, to, entry);
  }
}

/** Owner, mode and time of what has no descriptor: links, devices, whiteouts. */
function finishOther(work: Work, to: at.At, entry: LayerEntry): void {
  if (entry.kind === KIND.whiteout) return;
  if (work.options.owners) at.changeOwner(to, entry.uid, entry.gid);
  if (entry.kind !== KIND.symlink) at.changeMode(to, entry.mode);
  at.changeTime(to, entry.mtime, entry.nsec);
}

function makeFile(work: Work, to: at.At, inode: Inode): void {
  const { entry } = inode;
  const fd = at.openBeneath(to, O_WRONLY | O_CREAT | O_EXCL, 0o600);
  try {
    for (const { offset, length, tarOffset } of extentsOf(entry)) {
      at.copyRange({ fd: work.tars + inode.layer, offset: tarOffset }, { fd, offset }, length);
    }
    if (entry.stored !== entry.size) ftruncateSync(fd, entry.size);
    finishOpen(work, fd, inode);
  } finally {
    closeSync(fd);
  }
  at.changeTime(to, entry.mtime, entry.nsec);
}

function finishDir(work: Work, i: number): void {
  const inode = work.inodes[i];
  if (inode === undefined) return;
  named(inode, () => {
    const dir = at.openBeneath({ dir: FD.out, name: bytesOf(inode.path) }, O_DIRECTORY);
    try {
      if (inode.opaque) at.setXattr(dir, latin1Bytes('user.overlay.opaque'), latin1Bytes('y'));
      finishOpen(work, dir, inode);
      at.changeTime({ dir, name: bytesOf('') }, inode.entry.mtime, inode.entry.nsec);
    } finally {
      closeSync(dir);
    }
  });
}

/** Owner first: it clears capabilities and set-id bits. */
function finishOpen(work: Work, fd: number, inode: Inode): void {
  const { entry } = inode;
  if (work.options.owners) fchownSync(fd, entry.uid, entry.gid);
  else if (entry.uid !== 0 || entry.gid !== 0) {
    at.setXattr(fd, latin1Bytes('user.berth.owner'), latin1Bytes(`${entry.uid}:${entry.gid}`));
  }
  for (const [name, value] of xattrsOf(entry.xattrs)) {
    try {
      at.setXattr(fd, latin1Bytes(name), value);
    } catch (error) {
      if (name !== 'security.capability' || !(error instanceof SysError && error.code === 'EPERM')) throw error;
      work.leftOut++; // without CAP_SETFCAP nobody may set any
    }
  }
  fchmodSync(fd, entry.mode);
}
