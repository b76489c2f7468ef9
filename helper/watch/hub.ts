// Events to the engines that listen, each principal's own only.
import type { Event } from '../../proto/gen/berth/helper/v1/request.ts';

export type Listener = { readonly event: (event: Event) => void; readonly end: () => void };

export type Hub = {
  /** Gives the function that ends the listening. */
  readonly listen: (principal: string, listener: Listener) => () => void;
  readonly publish: (principal: string, event: NonNullable<Event['event']>) => void;
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
      for (const { event: tell } of listeners.get(principal) ?? []) tell({ event });
    },
  };
}
