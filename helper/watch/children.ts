// Waits for processes of containers without ever blocking: a pidfd becomes readable when its process has ended. A container that traces its own
// processes can delay what waitid(2) says; then it is asked again later. Our own children are written to the file of exits and then reaped; those
// of an earlier helper are the keeper's children, who does the same, and are looked up there.
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ECHILD } from '../../proto/abi/errno.ts';
import { WNOWAIT } from '../../proto/abi/wait.ts';
import { watchPidfd } from '../sys/descriptors.ts';
import { SysError } from '../sys/error.ts';
import { exitOfOther, waitPidfd } from '../sys/processes.ts';
import { bootNs } from '../sys/time.ts';
import type { ExitEntry, Exits } from './exits.ts';

export type Child = { readonly pid: number; readonly pidfd: number; readonly startedNs: bigint };

/** How the process ended, once it has; it is reaped and its pidfd closed by then. */
export async function whenExited(child: Child, exits: Exits): Promise<ExitEntry> {
  await new Promise<void>((resolve) => watchPidfd(child.pidfd, resolve));
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, 100)) {
    const entry = seen(child, exits);
    if (entry !== undefined) {
      closeSync(child.pidfd);
      return entry;
    }
    await sleep(waitMs);
  }
}

function seen(child: Child, exits: Exits): ExitEntry | undefined {
  const status = statusOf(child.pidfd);
  if (status === 'not ours') return exits.find(child.pid, child.startedNs) ?? reapedByInit(child);
  if (status === undefined) return undefined;
  const entry = { pid: child.pid, status, bootNs: bootNs() };
  exits.append(entry);
  waitPidfd(child.pidfd);
  return entry;
}

/** A child of a keeper that was killed after its helper is init's; only the kernel knows how it ended (Linux 6.15 on). */
function reapedByInit({ pid, pidfd }: Child): ExitEntry | undefined {
  const status = exitOfOther(pidfd);
  return status === undefined ? undefined : { pid, status, bootNs: bootNs() };
}

function statusOf(pidfd: number): number | undefined | 'not ours' {
  try {
    return waitPidfd(pidfd, WNOWAIT);
  } catch (error) {
    if (error instanceof SysError && error.errno === ECHILD) return 'not ours';
    throw error;
  }
}
