// What a command works with: where the engine is, the terminal, the environment. Made once by main.ts; tests make their own.
import type { Client } from '../client/client.ts';
import { isComingBack, isOwn, pathsOf } from './ready.ts';

/** Which instance is meant. */
export type Place = {
  /** `--state-dir` or BERTH_STATE_DIR; undefined: the system instance, or the user's own when rootless. */
  readonly stateDir: string | undefined;
  /** The engine's REST socket. */
  readonly socket: string;
  /** Given by `-H` or BERTH_HOST: somebody else starts that engine. */
  readonly foreign: boolean;
  /** The uid the engine runs as: the caller's, or what root's engine becomes. */
  readonly engineUid: number;
};

export type Session = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** Which instance; throws CliError where the words that name it are wrong. */
  readonly place: () => Place;
  /** The folder of the programs: `cli.cjs`, `engine.cjs`, `helper.cjs`, `node`. */
  readonly home: string;
  /** A client of the engine, which is started at the first request when it does not run and may be. */
  readonly client: () => Promise<Client>;
};

/** Adds place and client to what is known at the start of the process. */
export function makeSession(of: Omit<Session, 'place' | 'client'>, place: () => Place): Session {
  let found: Place | undefined;
  let client: Promise<Client> | undefined;
  const session: Session = {
    env: of.env,
    home: of.home,
    get stdin() {
      return of.stdin;
    },
    get stdout() {
      return of.stdout;
    },
    get stderr() {
      return of.stderr;
    },
    place: () => {
      found ??= place();
      return found;
    },
    client: () => {
      client ??= connect(session);
      return client;
    },
  };
  return session;
}

async function connect(session: Session): Promise<Client> {
  const { makeClient } = await import('../client/client.ts');
  const place = session.place();
  if (place.foreign) return makeClient(place.socket);
  const revive = async (): Promise<void> => {
    const { ensureRunning } = await import('./ensure.ts');
    await ensureRunning(session);
  };
  // An engine serves on when its helper is gone for good; who may start one looks, the others cannot help it.
  if (isOwn(place) && !isComingBack(pathsOf(place))) await revive();
  return makeClient(place.socket, revive);
}
