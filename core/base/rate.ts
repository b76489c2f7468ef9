// Token buckets, one for each uid: so many at once, then so many each second. What is over is refused before any work.

export type Pace = { readonly burst: number; readonly perSecond: number };
/** Takes a token of this key's bucket; false where it is empty. */
export type Take = (key: number) => boolean;

const BUCKETS_MAX = 4096;

/** Buckets that fill by the clock given, in milliseconds; it may be set back. Of many thousands of keys those that are full are forgotten. */
export function openBuckets(pace: Pace, nowMs: () => number): Take {
  const buckets = new Map<number, { tokens: number; atMs: number }>();
  const filled = (bucket: { tokens: number; atMs: number }, now: number): number =>
    Math.min(pace.burst, bucket.tokens + (Math.max(0, now - bucket.atMs) / 1000) * pace.perSecond);
  return (key) => {
    const now = nowMs();
    if (buckets.size >= BUCKETS_MAX && !buckets.has(key)) {
      for (const [other, bucket] of buckets) if (filled(bucket, now) >= pace.burst) buckets.delete(other);
      if (buckets.size >= BUCKETS_MAX) return false;
    }
    const tokens = filled(buckets.get(key) ?? { tokens: pace.burst, atMs: now }, now);
    const took = tokens >= 1;
    buckets.set(key, { tokens: took ? tokens - 1 : tokens, atMs: now });
    return took;
  };
}
