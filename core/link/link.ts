// The engine's one way to the helper. Keeps a session open, makes a new one when the helper comes back, repeats what was under way (verbs
// are idempotent by id), follows the helper's events.
import type { Event, HelloReply, Result } from '../../proto/gen/berth/helper/v1/request.ts';
import type { KeyFile } from '../../proto/sign/key.ts';
import { BerthError } from '../base/errors.ts';
import { failed, refused } from './refusal.ts';
import { type Answer, type Asked, Lost, openSession, type Place, type Session, type Verb } from './session.ts';

export type Watcher = {
  /** Every event, in the helper's order; after each (re)connection a snapshot of everything first, then `ready`. */
  readonly event: (event: Event) => void;
  /** A connection was made; its snapshots follow. */
  readonly up: (hello: HelloReply) => void;
  readonly down: (problem: string) => void;
};

export type SendMore = { readonly fds?: readonly number[]; readonly wantFds?: boolean };

export type Link = {
  /** The facts of the helper that answers now. Waits for one; throws helper_unavailable. */
  readonly hello: () => Promise<HelloReply>;
  /** Those of the last one that answered, and why none does now. */
  readonly known: () => { readonly hello: HelloReply | undefined; readonly problem: string | undefined };
  /** Performs a verb. Throws helper_refused, helper_unavailable, and what refusal.ts makes of a failure. */
  readonly send: (verb: Verb, more?: SendMore) => Promise<Answer>;
  /** The helper's decision alone, allowed or not. */
  readonly dryRun: (verb: Verb, more?: SendMore) => Promise<Result>;
  readonly close: () => void;
};

const RETRY_MS = { first: 10, most: 1000 };
/** A helper that was killed is back within a second; longer waits help nobody. */
const PATIENCE_MS = 15_000;

type Open = { session: Session; open: boolean };

/** Starts connecting at once. */
export function makeLink(place: Place, key: KeyFile, watcher: Watcher): Link {
  const state = {
    current: undefined as Open | undefined,
    hello: undefined as HelloReply | undefined,
    problem: 'not connected yet' as string | undefined,
    closed: false,
  };
  let waiting: (() => void)[] = [];
  const wake = (): void => {
    const all = waiting;
    waiting = [];
    for (const one of all) one();
  };
  const down = (open: Open, problem: string): void => {
    if (!open.open) return;
    open.open = false;
    open.session.close();
    if (state.current === open) state.current = undefined;
    state.problem = problem;
    watcher.down(problem);
    if (!state.closed) void connect();
  };
  const connect = async (): Promise<void> => {
    for (let pause = RETRY_MS.first; !state.closed; pause = Math.min(pause * 2, RETRY_MS.most)) {
      try {
        const session = await openSession(place, key);
        const open: Open = { session, open: true };
        if (state.closed) return session.close();
        Object.assign(state, { current: open, hello: session.hello, problem: undefined });
        watcher.up(session.hello);
        session.watch(watcher.event, (problem) => down(open, problem));
        return wake();
      } catch (error) {
        state.problem = error instanceof Error ? error.message : String(error);
        await new Promise((resolve) => setTimeout(resolve, pause).unref());
      }
    }
  };
  const current = async (until: number): Promise<Open> => {
    while (state.current === undefined) {
      const left = until - Date.now();
      if (left <= 0 || state.closed) throw unavailable(state.problem);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return state.current;
  };
  const ask = async (asked: Asked): Promise<Answer> => {
    const until = Date.now() + PATIENCE_MS;
    for (;;) {
      const open = await current(until);
      try {
        return await open.session.ask(asked);
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        down(open, error.message);
      }
    }
  };
  void connect();
  return {
    hello: async () => (await current(Date.now() + PATIENCE_MS)).session.hello,
    known: () => ({ hello: state.hello, problem: state.problem }),
    send: async (verb, more = {}) =>
      judged(await ask({ verb, fds: more.fds ?? [], wantFds: more.wantFds ?? false, dryRun: false })),
    dryRun: async (verb, more = {}) => (await ask({ verb, fds: more.fds ?? [], wantFds: false, dryRun: true })).result,
    close: () => {
      state.closed = true;
      if (state.current !== undefined) down(state.current, 'the engine ends');
      wake();
    },
  };
}

function judged(answer: Answer): Answer {
  const { result } = answer;
  if (!result.allowed) throw refused(result.reasons);
  if (result.outcome?.$case === 'failure') throw failed(result.outcome.value);
  return answer;
}

function unavailable(problem: string | undefined): BerthError {
  return new BerthError('helper_unavailable', `the helper does not answer: ${problem ?? 'it was not there in time'}`, {
    hint: 'berth system status tells what runs; berth system up starts it',
  });
}
