// What happens, as it happens.
import type { EngineEvent } from '../engine/engine.ts';
import { type EventMessage, printEvent } from '../spec/docker-api.ts';
import { type Answer, type Call, filtersOf, timeOf } from './call.ts';

/** `GET /events?since=T&until=T&filters={…}`. */
export async function streamEvents(call: Call): Promise<Answer> {
  const query = { sinceNs: timeOf(call, 'since'), untilNs: timeOf(call, 'until'), filters: filtersOf(call) };
  const events = call.engine.events.subscribe(query);
  return {
    kind: 'stream',
    type: 'application/json',
    chunks: {
      [Symbol.asyncIterator]: () => {
        const from = events[Symbol.asyncIterator]();
        return {
          next: async () => {
            const next = await from.next();
            return next.done === true
              ? { done: true, value: undefined }
              : { done: false, value: Buffer.from(`${eventLine(next.value)}\n`) };
          },
          return: async () => {
            await from.return?.();
            return { done: true, value: undefined };
          },
        };
      },
    },
  };
}

/** `status`, `id` and `from` repeat what is in Type, Action and Actor: clients before API 1.22 read only those. */
function eventLine(event: EngineEvent): string {
  const message: EventMessage = {
    status: event.action,
    id: event.id,
    from: event.attributes['image'],
    Type: event.type,
    Action: event.action,
    Actor: { ID: event.id, Attributes: event.attributes },
    scope: 'local',
    time: Number(event.timeNs / 1_000_000_000n),
  };
  return printEvent(message, event.timeNs);
}
