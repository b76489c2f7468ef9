// The engine's command line and where its files lie. Source: ARCHITECTURE.md, "Paths".
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Place } from '../link/session.ts';

export type Options = {
  readonly stateDir: string | undefined;
  readonly insecureRegistries: readonly string[];
  /** Serve although no helper can run here: `doctor` says why. */
  readonly alone: boolean;
};

/** Reads the arguments; throws Error with one line for what is wrong. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      'state-dir': { type: 'string' },
      'insecure-registry': { type: 'string', multiple: true },
      alone: { type: 'boolean' },
    },
  });
  const stateDir = values['state-dir'] ?? (process.env['BERTH_STATE_DIR'] || undefined);
  if (stateDir !== undefined && !stateDir.startsWith('/'))
    throw new Error(`--state-dir ${stateDir}: must be an absolute path`);
  return { stateDir, insecureRegistries: values['insecure-registry'] ?? [], alone: values.alone ?? false };
}

export type Paths = {
  readonly helper: Place;
  /** The user's sockets, and his state; the helper makes both directories. */
  readonly run: string;
  readonly state: string;
};

export function pathsOf(stateDir: string | undefined, uid: number): Paths {
  const run = stateDir === undefined ? '/run/berth' : join(stateDir, 'run');
  const lib = stateDir === undefined ? '/var/lib/berth' : join(stateDir, 'lib');
  return {
    helper: { socket: join(run, 'helper.sock'), lane: join(run, 'lane.sock') },
    run: join(run, String(uid)),
    state: join(lib, 'users', String(uid)),
  };
}
