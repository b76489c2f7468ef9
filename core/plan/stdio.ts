// Standard input, output and error: pipes or a terminal, and its size.
import type { Stdio } from '../../proto/gen/berth/helper/v1/plan.ts';
import { refuse } from './reason.ts';

/** `size`: rows, columns, as Docker's ConsoleSize; only a terminal has one. */
export type StdioAsked = { readonly tty: boolean; readonly stdin: boolean; readonly size: readonly number[] };

const SIZE_MAX = 65_535;

/** Throws bad_parameter for a size that no terminal has. */
export function planStdio({ tty, stdin, size }: StdioAsked): Stdio {
  const [rows = 0, columns = 0] = tty ? size : [];
  const fits = [rows, columns].every((n) => Number.isInteger(n) && n >= 0 && n <= SIZE_MAX);
  if (!fits) refuse(`console size ${rows} rows, ${columns} columns: each must be 0 to ${SIZE_MAX}`);
  return { tty, stdin, columns, rows };
}
