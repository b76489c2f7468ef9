// Times that people write: seconds since 1970, RFC 3339 with parts left out, or how long ago (`42m`). Source: moby api/types/time/timestamp.go.
import { readDuration } from '../spec/units.ts';
import { CliError } from './error.ts';

/** The text of the query, seconds since 1970 with decimals; undefined when nothing was given. Throws CliError naming the flag. */
export function readWhen(flag: string, text: string | undefined, nowMs: number): string | undefined {
  if (text === undefined || text === '') return undefined;
  if (/^\d+(\.\d+)?$/.test(text)) return text;
  const ago = readDuration(text);
  if (ago !== undefined) return ((nowMs - ago) / 1000).toFixed(3);
  if (/^\d{4}-\d{2}-\d{2}(T\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?)?(Z|[+-]\d{2}:\d{2})?$/.test(text)) {
    const ms = Date.parse(completed(text));
    if (!Number.isNaN(ms)) return (ms / 1000).toFixed(3);
  }
  throw new CliError(
    `invalid value for ${JSON.stringify(flag)}: failed to parse value as time or duration: ${JSON.stringify(text)}`,
  );
}

/** Fills in midnight, full hours and minutes; without a zone the time is local, which Date.parse assumes only when a time is there. */
function completed(text: string): string {
  const [, date = '', hours, minutes, seconds, zone = ''] =
    /^([^TZ+]{10})(?:T(\d{2})(?::(\d{2})(?::([\d.]+))?)?)?(.*)$/.exec(text) ?? [];
  return `${date}T${hours ?? '00'}:${minutes ?? '00'}:${seconds ?? '00'}${zone}`;
}
