// What happened, for `docker events`: the last thousand are kept, subscribers get the rest as it comes.
import { wallNs } from './clock.ts';
import type { EngineEvent, EventQuery } from './engine.ts';
import { makeFeed } from './feed.ts';

export type Emit = (event: Omit<EngineEvent, 'timeNs'>) => void;

export type Events = {
  readonly emit: Emit;
  readonly subscribe: (query: EventQuery) => AsyncIterable<EngineEvent>;
};

const KEPT = 1000;
/** A subscriber that does not read loses the oldest of these. */
const BEHIND_MAX = 10_000;

export function makeEvents(): Events {
  const ring: EngineEvent[] = [];
  const listeners = new Set<(event: EngineEvent) => void>();
  return {
    emit: (event) => {
      const whole = { ...event, timeNs: wallNs() };
      ring.push(whole);
      if (ring.length > KEPT) ring.shift();
      for (const listener of listeners) listener(whole);
    },
    subscribe: (query) => {
      const { sinceNs, untilNs } = query;
      const wanted = (event: EngineEvent): boolean =>
        matches(event, query.filters) && (untilNs === undefined || event.timeNs <= untilNs);
      const feed = makeFeed<EngineEvent>({ most: BEHIND_MAX, onEnd: () => listeners.delete(listener) });
      const listener = (event: EngineEvent): void => {
        if (wanted(event)) feed.push(event);
      };
      if (sinceNs !== undefined)
        for (const event of ring) if (event.timeNs >= sinceNs && wanted(event)) feed.push(event);
      listeners.add(listener);
      if (untilNs !== undefined) setTimeout(feed.end, Math.max(0, Number((untilNs - wallNs()) / 1_000_000n))).unref();
      return feed.iterable;
    },
  };
}

/** Docker's event filters: any of one kind, all of the kinds. */
function matches(event: EngineEvent, filters: EventQuery['filters']): boolean {
  return Object.entries(filters).every(
    ([kind, values]) => values.length === 0 || values.some((value) => matchesOne(event, kind, value)),
  );
}

function matchesOne(event: EngineEvent, kind: string, value: string): boolean {
  const { attributes } = event;
  switch (kind) {
    case 'type':
      return event.type === value;
    case 'event':
      return event.action === value || event.action.startsWith(`${value}:`);
    case 'container':
      return (
        event.type === 'container' && (event.id.startsWith(value) || attributes['name'] === value.replace(/^\//, ''))
      );
    case 'image':
      return (
        (event.type === 'image' && (event.id === value || attributes['name'] === value)) ||
        attributes['image'] === value
      );
    case 'label': {
      const [key = '', wanted] = value.split(/=(.*)/s);
      return Object.hasOwn(attributes, key) && (wanted === undefined || attributes[key] === wanted);
    }
    default:
      return false;
  }
}
