// Waits for processes of containers without ever blocking: a pidfd becomes readable when its process has ended. A container that traces its own
// processes can delay what waitid(2) says; then it is asked again later. Our own children are written to the file of exits and then reaped; those
// of an earlier helper are the keeper's children, who does the same, and are looked up there.
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { WNOWAIT } from '../../proto/abi/wait.gen.ts';
import { watchPidfd } from '../sys/descriptors.ts';
import { SysError } from '../sys/error.ts';
import { bootNs, exitOfOther, pidfdSendSignal, waitPidfd } from '../sys/processes.ts';
import type { ExitEntry, Exits } from './exits.ts';

type Child = { readonly pid: number; readonly pidfd: number; readonly startedNs: bigint };

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

/** An end that nobody told: shown as exit code 255. */
export const UNSEEN = 255 << 8;

function seen(child: Child, exits: Exits): ExitEntry | undefined {
  const { pid, pidfd } = child;
  if (failsWith('ECHILD', () => waitPidfd(pidfd, WNOWAIT))) return seenByOthers(child, exits);
  const status = waitPidfd(pidfd, WNOWAIT);
  if (status === undefined) return undefined;
  const entry = { pid, status, bootNs: bootNs() };
  exits.append(entry);
  waitPidfd(pidfd);
  return entry;
}

/** The keeper writes an end down before it reaps; where it is reaped and not written down, it was init's, because a keeper was killed. */
function seenByOthers({ pid, pidfd, startedNs }: Child, exits: Exits): ExitEntry | undefined {
  const reaped = hasEnded(pidfd);
  const entry = exits.find(pid, startedNs);
  if (entry !== undefined || !reaped) return entry;
  return { pid, status: exitOfOther(pidfd) ?? UNSEEN, bootNs: bootNs() };
}

/** Whether the process is no more, not even as somebody's zombie. */
export function hasEnded(pidfd: number): boolean {
  return failsWith('ESRCH', () => pidfdSendSignal(pidfd, 0));
}

function failsWith(code: string, call: () => unknown): boolean {
  try {
    call();
    return false;
  } catch (error) {
    if (error instanceof SysError && error.code === code) return true;
    throw error;
  }
}
