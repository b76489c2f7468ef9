// The time in nanoseconds since 1970, finer than Date.now() and never going back between two calls while the clock is not set.
let base = 0n;
let since = 0n;

/** Nanoseconds since 1970. Follows the wall clock when it is set by more than 5 ms. */
export function wallNs(): bigint {
  const now = process.hrtime.bigint();
  const wall = BigInt(Date.now()) * 1_000_000n;
  const fine = base + (now - since);
  const off = wall - fine;
  if (off > 5_000_000n || off < -5_000_000n) {
    base = wall;
    since = now;
    return wall;
  }
  return fine;
}

/** As Docker prints times: `2026-01-31T12:00:00.000000000Z`, always nine digits. */
export function timeText(ns: bigint): string {
  const seconds = ns / 1_000_000_000n;
  const day = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${day}.${String(ns % 1_000_000_000n).padStart(9, '0')}Z`;
}
