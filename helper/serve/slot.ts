// The machine's numbered slots: each instance holds one by a lock that its processes share, and takes uid ranges and group names from it. The lock
// goes when keeper and helper are both gone, however they went.
import { closeSync, openSync } from 'node:fs';
import { EAGAIN } from '../../proto/abi/errno.gen.ts';
import { LOCK_EX, LOCK_NB } from '../../proto/abi/file.gen.ts';
import { makeDirectory, readText, writeDurably } from '../ops/files.ts';
import { SysError } from '../sys/error.ts';
import { flock } from '../sys/files.ts';
import type { Paths } from './options.ts';

const SLOTS = '/run/berth.slots';
const SLOT_MAX = 23;

/** A rootless instance has slots of its own, and takes the first; the system instance has 0, others from 1. */
export type Asked = { readonly slot: number | undefined; readonly rootless: boolean; readonly isSystem: boolean };

/** Somebody else holds what this process needs. */
export class InUse extends Error {}

/** Locks the slot that is asked for, else the instance's earlier one, else the lowest free one. Throws InUse with one line where none is free. */
export function lockSlot(paths: Paths, asked: Asked): { slot: number; fd: number } {
  // One of an instance at a time: two that see no earlier slot would take two. The lock goes with the descriptor, at the latest with execve.
  if (tryLock(`${paths.slot}.lock`) === undefined) throw new InUse('the helper of this instance is being started');
  const earlier = readText(paths.slot)?.trim();
  const free = asked.isSystem || asked.rootless ? [0] : Array.from({ length: SLOT_MAX }, (_, i) => i + 1);
  const candidates = asked.slot !== undefined ? [asked.slot] : earlier ? [Number(earlier)] : free;
  const slots = makeDirectory(asked.rootless ? `${paths.helper}/slots` : SLOTS, 0o755);
  for (const slot of candidates) {
    const fd = tryLock(`${slots}/${slot}`);
    if (fd !== undefined && earlier !== String(slot)) writeDurably(paths.slot, String(slot));
    if (fd !== undefined) return { slot, fd };
  }
  throw new InUse(
    `slot ${candidates.join(', ')} of this machine is in use (${slots}): stop the other instance with \`berth system down\``,
  );
}

function tryLock(path: string): number | undefined {
  const fd = openSync(path, 'a', 0o600);
  try {
    flock(fd, LOCK_EX | LOCK_NB);
    return fd;
  } catch (error) {
    closeSync(fd);
    if (error instanceof SysError && error.errno === EAGAIN) return undefined;
    throw error;
  }
}
