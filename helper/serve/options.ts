// The helper's command line.
import { parseArgs } from 'node:util';
import { type Paths, pathsOf } from './paths.ts';

export type Options = {
  readonly stateDir: string | undefined;
  readonly slot: number | undefined;
  /** Started by the keeper. */
  readonly kept: boolean;
  readonly paths: Paths;
};

/** Reads the arguments; throws Error with one line for what is wrong. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: { 'state-dir': { type: 'string' }, slot: { type: 'string' }, kept: { type: 'boolean' } },
  });
  const stateDir = values['state-dir'];
  if (stateDir !== undefined && !stateDir.startsWith('/'))
    throw new Error(`--state-dir ${stateDir}: must be an absolute path`);
  const slot = values.slot === undefined ? undefined : Number(values.slot);
  if (slot !== undefined && !(Number.isInteger(slot) && slot >= 0 && slot <= 23))
    throw new Error(`--slot ${values.slot}: must be 0 to 23`);
  return { stateDir, slot, kept: values.kept ?? false, paths: pathsOf(stateDir) };
}

/** The arguments for the helper that the keeper starts. */
export function keptArguments({ stateDir }: Options): string[] {
  return [...(stateDir === undefined ? [] : ['--state-dir', stateDir]), '--kept'];
}
