// What a command works with: where the engine is, the terminal, the environment. Made once by main.ts; tests make their own.
import type { Client } from '../client/client.ts';

/** Which instance is meant. */
export type Place = {
  /** `--state-dir` or BERTH_STATE_DIR; undefined: the system instance, or the user's own when rootless. */
  readonly stateDir: string | undefined;
  /** The engine's REST socket. */
  readonly socket: string;
  /** Given by `-H` or BERTH_HOST: somebody else starts that engine. */
  readonly foreign: boolean;
};

export type Session = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly place: Place;
  /** The folder of the programs: `cli.cjs`, `engine.cjs`, `helper.cjs`, `node`. */
  readonly home: string;
  /** A client of the engine, which is started first when it does not run and may be. */
  readonly client: () => Promise<Client>;
};
