// Ends Berth's own processes, by their pids.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from './error.ts';
import { isAlive } from './ready.ts';

const STOP_WAIT_MS = 15_000;

/** Ends a keeper and the helpers it has started; the containers among its children go on. */
export async function endKeeper(keeper: number): Promise<void> {
  if (!isAlive(keeper)) return;
  const started = helpersOf(keeper);
  await endProcess('keeper', keeper);
  for (const pid of started) await endProcess('helper', pid);
}

/** The helpers that a keeper has started; its other children are containers. */
export function helpersOf(keeper: number): number[] {
  const children = readText(`/proc/${keeper}/task/${keeper}/children`).trim().split(' ').map(Number);
  return children.filter((pid) => pid > 0 && readText(`/proc/${pid}/cmdline`).split('\0').includes('--kept'));
}

/** A file of /proc; empty when the process is gone. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // the process is gone
  }
}

/** TERM, and when that does not do, a sentence: a helper in the middle of something is never killed from here. */
export async function endProcess(name: string, pid: number): Promise<void> {
  if (!isAlive(pid)) return;
  try {
    process.kill(pid, 'SIGTERM');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ESRCH') return;
    throw new CliError(
      `cannot end the ${name} (pid ${pid}): ${code === 'EPERM' ? 'it is not yours; run this as root' : code}`,
    );
  }
  const deadline = Date.now() + STOP_WAIT_MS;
  while (isAlive(pid)) {
    if (Date.now() > deadline)
      throw new CliError(`the ${name} (pid ${pid}) did not end within ${STOP_WAIT_MS / 1000} s after SIGTERM`);
    await sleep(10);
  }
}
