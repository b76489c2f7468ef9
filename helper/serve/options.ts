// The helper's command line, and where an instance keeps its sockets, state, policy and log. Source: ARCHITECTURE, "Paths".
import { parseArgs } from 'node:util';

export type Paths = Readonly<ReturnType<typeof pathsOf>>;
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

/** The paths of the system instance, or of the one beneath `stateDir`. */
function pathsOf(stateDir: string | undefined) {
  const at = (part: string, ofSystem: string): string => (stateDir === undefined ? ofSystem : `${stateDir}/${part}`);
  const lib = at('lib', '/var/lib/berth');
  const [run, etc, audit] = [at('run', '/run/berth'), at('etc', '/etc/berth'), at('log/audit', '/var/log/berth/audit')];
  // `slot` remembers that of a --state-dir instance.
  return { run, etc, audit, users: `${lib}/users`, helper: `${lib}/helper`, slot: `${lib}/slot` };
}
