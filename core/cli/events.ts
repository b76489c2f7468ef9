// `berth events`. Source: docker/cli 28.2, cli/command/system/events.go.
import { printable } from '../base/printable.ts';
import { readLines } from '../client/client.ts';
import { type Given, listOf, textOf } from './command.ts';
import { CliError } from './error.ts';
import { readFilters } from './filters.ts';
import { formatValue } from './formatter.ts';
import type { Session } from './session.ts';
import { readWhen } from './when.ts';

type Event = {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> | null };
  readonly time: number;
  /** More digits than a number keeps: taken from the line itself. */
  readonly timeNano?: number;
};

/** Prints events as they come, a line each. */
export async function printEvents(session: Session, given: Given): Promise<number> {
  const format = textOf(given, 'format');
  const now = Date.now();
  const query = {
    since: readWhen('since', textOf(given, 'since'), now),
    until: readWhen('until', textOf(given, 'until'), now),
    filters: readFilters(listOf(given, 'filter')),
  };
  const reply = await (await session.client()).events(query);
  for await (const event of readLines<Event>(reply)) {
    session.stdout.write(
      `${format === undefined || format === '' ? printable(eventText(event)).replaceAll('\n', '\\n') : formatted(event, format)}\n`,
    );
  }
  return 0;
}

function formatted(event: Event, format: string): string {
  try {
    return formatValue(event, format, { what: 'Error parsing format: ', goType: '*events.Message' });
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(error.message, 64);
  }
}

/** `2026-11-23T23:30:43.668415000Z container start ID (image=bb:1, name=web)`. */
export function eventText(event: Event): string {
  const attributes = Object.entries(event.Actor.Attributes ?? {}).sort(([left], [right]) => (left < right ? -1 : 1));
  const list = attributes.length === 0 ? '' : ` (${attributes.map(([key, value]) => `${key}=${value}`).join(', ')})`;
  return `${timeText(event)} ${event.Type} ${event.Action} ${event.Actor.ID}${list}`;
}

function timeText(event: Event): string {
  const ms = event.timeNano === undefined ? event.time * 1000 : Math.trunc(event.timeNano / 1e6);
  const fraction =
    event.timeNano === undefined ? '000000000' : String(Math.trunc(event.timeNano % 1e9)).padStart(9, '0');
  const minutes = -new Date(ms).getTimezoneOffset();
  const local = new Date(ms + minutes * 60_000).toISOString().slice(0, 19);
  const zone =
    minutes === 0
      ? 'Z'
      : `${minutes < 0 ? '-' : '+'}${pad(Math.trunc(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
  return `${local}.${fraction}${zone}`;
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
