// The boot clock: the one that orders what happened across restarts of the helper.
import { CLOCK_BOOTTIME } from '../../proto/abi/time.gen.ts';
import { checked, raw } from './libc.ts';

/** Nanoseconds of CLOCK_BOOTTIME. man 2 clock_gettime. */
export function bootNs(): bigint {
  const time = Buffer.alloc(16);
  checked('clock_gettime', 'CLOCK_BOOTTIME', raw.clockGettime(CLOCK_BOOTTIME, time));
  return time.readBigInt64LE(0) * 1_000_000_000n + time.readBigInt64LE(8);
}
