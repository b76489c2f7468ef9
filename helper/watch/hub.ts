// Events to the engines that listen, each principal's own only. A listener that does not read is cut off rather than waited for: its engine
// comes back and starts from a snapshot.
import type { Event } from '../../proto/gen/berth/helper/v1/request.ts';

/** Takes an event; false when it has too many waiting. */
export type Listener = { readonly take: (event: Event) => boolean; readonly end: () => void };

export type Hub = {
  /** Gives the function that ends the listening. */
  readonly listen: (principal: string, listener: Listener) => () => void;
  readonly publish: (principal: string, event: NonNullable<Event['event']>) => void;
  readonly close: () => void;
};

const LISTENERS_MAX = 16;

export function newHub(): Hub {
  const listeners = new Map<string, Set<Listener>>();
  return {
    listen(principal, listener) {
      const own = listeners.get(principal) ?? new Set();
      const [oldest] = own;
      if (own.size >= LISTENERS_MAX && oldest !== undefined) {
        own.delete(oldest);
        oldest.end();
      }
      listeners.set(principal, own.add(listener));
      return () => own.delete(listener);
    },
    publish(principal, event) {
      for (const listener of listeners.get(principal) ?? []) {
        if (listener.take({ event })) continue;
        listeners.get(principal)?.delete(listener);
        listener.end();
      }
    },
    close() {
      for (const own of listeners.values()) for (const listener of own) listener.end();
      listeners.clear();
    },
  };
}
