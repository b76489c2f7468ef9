// Side-by-side measurement: contestants take turns, so that noise of the machine hits all of them; medians and ratios are printed.
/** `prepare` and `after` are not measured. */
export type Contestant = {
  readonly name: string;
  readonly run: () => void | Promise<void>;
  readonly prepare?: () => void;
  readonly after?: () => void;
};
export type Row = {
  readonly name: string;
  readonly min: number;
  readonly median: number;
  readonly p95: number;
  readonly ratio: number | undefined;
};
export type Outcome = {
  readonly title: string;
  readonly unit: string;
  readonly rows: readonly Row[];
  readonly target: number | undefined;
};

/** The middle value; of an even number of samples the upper middle. */
export function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1] ?? Number.NaN;
}

function row(name: string, samples: readonly number[], ours: number | undefined): Row {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = median(sorted);
  return {
    name,
    min: sorted[0] ?? Number.NaN,
    median: middle,
    p95: sorted[Math.floor(sorted.length * 0.95)] ?? Number.NaN,
    ratio: ours === undefined ? undefined : ours / middle,
  };
}

/**
 * Runs every contestant `rounds` times in turn, after one unmeasured round. The first contestant is ours: the others' `ratio` is
 * our median divided by theirs. `target` is the largest ratio against the first rival that we want.
 */
export async function race(
  title: string,
  contestants: readonly Contestant[],
  options: { rounds: number; target?: number },
): Promise<Outcome> {
  const samples = contestants.map((): number[] => []);
  for (let round = -1; round < options.rounds; round++)
    for (const [index, contestant] of contestants.entries()) {
      contestant.prepare?.();
      const started = process.hrtime.bigint();
      await contestant.run();
      const tookMs = Number(process.hrtime.bigint() - started) / 1e6;
      contestant.after?.();
      if (round >= 0) samples[index]?.push(tookMs);
    }
  const ours = median(samples[0] ?? []);
  return {
    title,
    unit: 'ms',
    rows: contestants.map((c, i) => row(c.name, samples[i] ?? [], i === 0 ? undefined : ours)),
    target: options.target,
  };
}

/** The outcome of single numbers measured once each (memory, sizes); the first is ours. */
export function compare(
  title: string,
  unit: string,
  values: readonly { name: string; value: number }[],
  target?: number,
): Outcome {
  const ours = values[0]?.value;
  return {
    title,
    unit,
    target,
    rows: values.map(({ name, value }, i) => ({
      name,
      min: value,
      median: value,
      p95: value,
      ratio: i === 0 || ours === undefined ? undefined : ours / value,
    })),
  };
}

/** One block of text for people: a line per contestant, and whether the target is met. */
export function print(outcome: Outcome): string {
  const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(2));
  const lines = outcome.rows.map(
    ({ name, min, median: mid, p95, ratio }) =>
      `  ${name.padEnd(28)} median ${number(mid).padStart(8)}  min ${number(min).padStart(8)}  p95 ${number(p95).padStart(8)} ${outcome.unit}${ratio === undefined ? '' : `   ours/this ${ratio.toFixed(2)}`}`,
  );
  const rival = outcome.rows[1]?.ratio;
  const verdict =
    outcome.target === undefined || rival === undefined
      ? ''
      : `  target ≤ ${outcome.target}: ${rival <= outcome.target ? 'met' : `missed by ${(rival / outcome.target).toFixed(2)}×`}\n`;
  return `${outcome.title}\n${lines.join('\n')}\n${verdict}`;
}
