// The machine's numbered slots: each instance holds one by a lock that its processes share, and takes uid ranges and group names from it. The lock
// goes when keeper and helper are both gone, however they went.
import { closeSync, openSync } from 'node:fs';
import { EAGAIN } from '../../proto/abi/errno.ts';
import { LOCK_EX, LOCK_NB } from '../../proto/abi/file.ts';
import { makeDirectory, readText, writeDurably } from '../ops/files.ts';
import { SysError } from '../sys/error.ts';
import { flock } from '../sys/files.ts';
import type { Paths } from './paths.ts';

const SLOTS = '/run/berth.slots';
const SLOT_MAX = 23;

/** Locks the slot that is asked for, else the instance's earlier one, else the lowest free one from `least`. Throws with one line where none is free. */
export function lockSlot(paths: Paths, asked: number | undefined, least: 0 | 1): { slot: number; fd: number } {
  const earlier = readText(paths.slot)?.trim();
  const wanted = asked ?? (earlier ? Number(earlier) : undefined);
  const last = least === 0 ? 0 : SLOT_MAX;
  const candidates = wanted === undefined ? Array.from({ length: last - least + 1 }, (_, i) => least + i) : [wanted];
  makeDirectory(SLOTS, 0o755);
  for (const slot of candidates) {
    const fd = tryLock(`${SLOTS}/${slot}`);
    if (fd === undefined) continue;
    if (earlier !== String(slot)) writeDurably(paths.slot, String(slot));
    return { slot, fd };
  }
  throw new Error(
    `slot ${candidates.join(', ')} of this machine is in use (${SLOTS}): stop the other instance with \`berth system down\``,
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
