// Signal names as `--stop-signal` and `kill -s` take them.
import * as SIGNALS from '../../proto/abi/signal.gen.ts';
import { refuse } from './reason.ts';

const RTMIN = SIGNALS.SIGRTMIN + 2; // glibc's, as everybody counts them
const HALF = 15;

/**
 * The signal's number, 1 to 64, of `TERM`, `sigterm`, `15`, `RTMIN+3`, `SIGRTMAX-2`; throws bad_parameter for all else.
 * Source: github.com/moby/sys/signal v0.7, ParseSignal and SignalMap.
 */
export function parseSignal(text: string): number {
  if (/^[+-]?\d+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= SIGNALS.SIGRTMAX) return number;
    return refuse(`invalid signal: ${text}`);
  }
  const name = text.toUpperCase().replace(/^SIG/, '');
  if (name === 'CLD') return SIGNALS.SIGCHLD;
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realtime !== null) return realtimeSignal(realtime, text);
  const known: Readonly<Record<string, number>> = SIGNALS;
  const number = known[`SIG${name}`];
  return number ?? refuse(`invalid signal: ${text}`);
}

function realtimeSignal(match: RegExpExecArray, text: string): number {
  const [, end, sign, digits] = match;
  const offset = Number(digits ?? 0);
  if (end === 'MIN' && sign !== '-' && offset <= HALF) return RTMIN + offset;
  if (end === 'MAX' && sign !== '+' && offset < HALF) return SIGNALS.SIGRTMAX - offset;
  return refuse(`invalid signal: ${text}`);
}

/** `SIGTERM` for 15; the number itself where it has no name. */
export function signalName(signal: number): string {
  for (const [name, number] of Object.entries(SIGNALS)) {
    if (number === signal && !name.startsWith('SIGRT')) return name;
  }
  return String(signal);
}
