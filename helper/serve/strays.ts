// Processes that an earlier helper started and did not live to write down: half-made launches and execs, layer workers. They are the keeper's children
// now. Nobody was told that they run, and whoever asked for them asks again; so they are ended.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Ends the keeper's children that are not known. What a container in the host's pid namespace left behind is not one of them. */
export function endStrays(keeper: number, known: ReadonlySet<number>): void {
  const own = readlinkSync('/proc/self/ns/pid');
  for (const pid of childrenOf(keeper)) {
    if (pid === process.pid || known.has(pid)) continue;
    try {
      const half = readlinkSync(`/proc/${pid}/exe`).startsWith('/memfd:berth-');
      if (half || readlinkSync(`/proc/${pid}/ns/pid`) !== own) process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!['ENOENT', 'ESRCH'].includes((error as { code?: string }).code ?? '')) throw error; // it has ended
    }
  }
}

function childrenOf(pid: number): number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
}
