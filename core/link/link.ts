// The engine's one way to the helper: performs verbs, repeats what was under way when the helper died (verbs are idempotent by id), and makes
// errors of refusals and failures.
import { setTimeout as sleep } from 'node:timers/promises';
import type { HelloReply, Result } from '../../proto/gen/berth/helper/v1/request.ts';
import type { KeyFile } from '../../proto/sign/key.ts';
import { BerthError } from '../base/errors.ts';
import { keepConnected, type Watcher } from './connection.ts';
import { failed, Refusal } from './refusal.ts';
import { type Answer, type Asked, Busy, Lost, type Place, type Verb } from './session.ts';

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

/** Fewer than the helper takes of one user at once. */
const UNDER_WAY_MAX = 32;
const BUSY_MS = 25;
/** A helper that was killed is back within a second; longer waits help nobody. */
const PATIENCE_MS = 15_000;

/** Starts connecting at once. */
export function makeLink(place: Place, key: KeyFile, watcher: Watcher): Link {
  const connection = keepConnected(place, key, watcher);
  const slots = makeSlots(UNDER_WAY_MAX);
  const ask = (asked: Asked): Promise<Answer> =>
    slots(async () => {
      const untilMs = Date.now() + PATIENCE_MS;
      for (let first = true; ; first = false) {
        const session = await connection.session(untilMs);
        try {
          const answer = await session.ask(asked);
          if (!first || !isOutdated(answer.result)) return answer;
          connection.drop(session, 'the policy has changed');
        } catch (error) {
          if (error instanceof Lost) connection.drop(session, error.message);
          else if (!(error instanceof Busy)) throw error;
          else if (Date.now() < untilMs) await sleep(BUSY_MS);
          else throw new BerthError('helper_unavailable', `the helper is busy: ${error.message}`, { cause: error });
        }
      }
    });
  return {
    hello: async () => (await connection.session(Date.now() + PATIENCE_MS)).hello,
    known: connection.known,
    send: async (verb, { fds = [], wantFds = false } = {}) => judged(await ask({ verb, fds, wantFds, dryRun: false })),
    dryRun: async (verb, { fds = [] } = {}) => (await ask({ verb, fds, wantFds: false, dryRun: true })).result,
    close: connection.close,
  };
}

/** Who we may ask as was said by hello; an administrator may have changed it since. */
function isOutdated({ reasons }: Result): boolean {
  return reasons.some(({ rule }) => rule === 'principal' || rule === 'profile');
}

/** Runs at most so many works at once, in the order in which they came. */
function makeSlots(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const turns: (() => void)[] = [];
  return async (work) => {
    if (running >= most) await new Promise<void>((resolve) => turns.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      const next = turns.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}

function judged(answer: Answer): Answer {
  const { result } = answer;
  if (!result.allowed) throw new Refusal(result.reasons);
  if (result.outcome?.$case === 'failure') throw failed(result.outcome.value);
  return answer;
}
