// Gives memory back when nothing happens: a burst of launches leaves V8 with a large heap that it would keep. Only a quiet process is collected,
// so no request waits for it.
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (how: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

const EVERY_MS = 5000;
/** A process that was busy for a smaller share of the time is quiet. */
const QUIET_SHARE = 0.02;
/** Less growth since the last time is not worth it. */
const GROWN_BYTES = 1 << 20;

/** Looks from time to time; the timer does not keep the process alive. */
export function collectWhenIdle(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as Collect;
  let before = performance.eventLoopUtilization();
  let kept = 0;
  setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    if (utilization > QUIET_SHARE || process.memoryUsage().heapUsed < kept + GROWN_BYTES) return;
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    kept = process.memoryUsage().heapUsed;
  }, EVERY_MS).unref();
}
