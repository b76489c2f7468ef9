// Keeps one session with the helper open: connects, follows its events, connects again when the helper has gone and come back.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Event, HelloReply } from '../../proto/gen/berth/helper/v1/request.ts';
import type { KeyFile } from '../../proto/sign/key.ts';
import { BerthError } from '../base/errors.ts';
import { openSession, type Place, type Session } from './session.ts';

export type Watcher = {
  /** Every event, in the helper's order; after each (re)connection a snapshot of everything first, then `ready`. */
  readonly event: (event: Event) => void;
  /** A connection was made; its snapshots follow. */
  readonly up: (hello: HelloReply) => void;
  readonly down: (problem: string) => void;
};

export type Connection = {
  /** The open session; waits for one. Throws helper_unavailable at `untilMs` of the wall clock. */
  readonly session: (untilMs: number) => Promise<Session>;
  /** This one is of no use any more; nothing happens when that is known. */
  readonly drop: (session: Session, problem: string) => void;
  readonly known: () => { readonly hello: HelloReply | undefined; readonly problem: string | undefined };
  readonly close: () => void;
};

const RETRY_MS = { first: 10, most: 1000 };
/** One that ends sooner was refused, or its helper does not get up: the next try waits. */
const GOOD_MS = 1000;

type State = {
  current: { readonly session: Session; readonly sinceMs: number } | undefined;
  hello: HelloReply | undefined;
  problem: string | undefined;
  pauseMs: number;
  closed: boolean;
  waiting: (() => void)[];
};

/** Starts connecting at once. */
export function keepConnected(place: Place, key: KeyFile, watcher: Watcher): Connection {
  const state: State = {
    current: undefined,
    hello: undefined,
    problem: 'not connected yet',
    pauseMs: 0,
    closed: false,
    waiting: [],
  };
  const drop = (session: Session, problem: string): void => {
    const { current } = state;
    if (current?.session !== session) return;
    state.current = undefined;
    state.problem = problem;
    if (Date.now() - current.sinceMs > GOOD_MS) state.pauseMs = 0;
    session.close();
    watcher.down(problem);
    if (!state.closed) void connect();
  };
  const connect = async (): Promise<void> => {
    while (!state.closed) {
      if (state.pauseMs > 0) await sleep(state.pauseMs, undefined, { ref: false });
      state.pauseMs = Math.min(Math.max(state.pauseMs * 2, RETRY_MS.first), RETRY_MS.most);
      try {
        const session = await openSession(place, key);
        if (state.closed) return session.close();
        Object.assign(state, { current: { session, sinceMs: Date.now() }, hello: session.hello, problem: undefined });
        watcher.up(session.hello);
        session.watch(watcher.event, (problem) => drop(session, problem));
        return wake(state);
      } catch (error) {
        state.problem = error instanceof Error ? error.message : String(error);
      }
    }
  };
  void connect();
  return {
    session: (untilMs) => waitForSession(state, untilMs),
    drop,
    known: () => ({ hello: state.hello, problem: state.problem }),
    close: () => {
      state.closed = true;
      if (state.current !== undefined) drop(state.current.session, 'the engine ends');
      wake(state);
    },
  };
}

function wake(state: State): void {
  const all = state.waiting;
  state.waiting = [];
  for (const one of all) one();
}

async function waitForSession(state: State, untilMs: number): Promise<Session> {
  while (state.current === undefined) {
    const leftMs = untilMs - Date.now();
    if (leftMs <= 0 || state.closed) throw unavailable(state.problem);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, leftMs);
      state.waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
  return state.current.session;
}

function unavailable(problem: string | undefined): BerthError {
  return new BerthError('helper_unavailable', `the helper does not answer: ${problem ?? 'it was not there in time'}`, {
    hint: 'berth system status tells what runs; berth system up starts it',
  });
}
