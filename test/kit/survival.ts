// Every point at which something of Berth is killed, as one list: verb, victims, moment. And what a shell prints while that happens.
import { expect } from 'vitest';
import type { Part } from './instance.ts';

export const VERBS = ['start', 'run', 'exec', 'output', 'stop', 'remove', 'load', 'pull'] as const;
export type Verb = (typeof VERBS)[number];

export const VICTIMS: readonly (readonly Part[])[] = [
  ['engine'],
  ['helper'],
  ['engine', 'helper'],
  ['keeper'],
  ['porter'],
];

/** `within`: a share of the time the verb takes, drawn by the random numbers of the run. */
export type Moment = { readonly kind: 'before' | 'after' } | { readonly kind: 'within'; readonly draw: number };
const WITHIN = process.env['BERTH_LONG'] ? 20 : 2;
export const MOMENTS: readonly Moment[] = [
  { kind: 'before' },
  ...Array.from({ length: WITHIN }, (_, draw): Moment => ({ kind: 'within', draw })),
  { kind: 'after' },
];

export type Point = { readonly verb: Verb; readonly victims: readonly Part[]; readonly moment: Moment };
export const POINTS: readonly Point[] = VERBS.flatMap((verb) =>
  VICTIMS.flatMap((victims) => MOMENTS.map((moment) => ({ verb, victims, moment }))),
);

export function pointText({ verb, victims, moment }: Point): string {
  return `${verb}, ${victims.join(' and ')} killed ${moment.kind}${moment.kind === 'within' ? ` (${moment.draw})` : ''}`;
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function makeRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Prints 0 to n - 1, a write(2) each, without pause. */
export function counting(n: number): string {
  return `i=0; while [ $i -lt ${n} ]; do echo $i; i=$((i+1)); done; exit 42`;
}

/** The same until it finds the file /stop. */
export const COUNTING_ON = 'i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); done; exit 42';

/** The lines 0, 1, 2, … each once, in order, and nothing else; gives how many. */
export function expectCount(text: string): number {
  const lines = text.split('\n');
  const end = lines.at(-1) === '' ? lines.length - 1 : lines.length;
  const wrong = lines.findIndex((line, i) => i < end && line !== String(i));
  const around = wrong < 0 ? [] : lines.slice(Math.max(0, wrong - 2), wrong + 3);
  expect(around, `line ${wrong} of ${end}`).toEqual([]);
  return end;
}
