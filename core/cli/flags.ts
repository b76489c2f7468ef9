// The words of a command line to flags and arguments. Not node's parseArgs: Docker's grammar is pflag's (`-e=K=V`, `-m` without a value, `-it`,
// `--rm=false`, flags ending at the image's name), and its sentences are what people search for. Source: github.com/spf13/pflag v1.0.6, flag.go.
import type { Command, Flag, Given } from './command.ts';
import { checkValue } from './values.ts';

export type Parsed =
  | { kind: 'given'; given: Given }
  | { kind: 'help'; deprecated: boolean }
  | { kind: 'bad'; why: string };

/** Reads the words after a command's name. */
export function parseFlags(command: Pick<Command, 'flags' | 'stopAtWord'>, words: readonly string[]): Parsed {
  const flags = new Map<string, string[]>();
  const args: string[] = [];
  const rest = [...words];
  while (rest.length > 0) {
    const word = rest.shift() ?? '';
    if (word === '--') {
      args.push(...rest);
      break;
    }
    if (!word.startsWith('-') || word === '-') {
      args.push(word);
      if (command.stopAtWord !== true) continue;
      args.push(...rest);
      break;
    }
    const stop = word.startsWith('--')
      ? readLong(command, word, { rest, flags })
      : readShort(command, word, { rest, flags });
    if (stop !== undefined) return stop;
  }
  return { kind: 'given', given: { flags, args } };
}

type State = { rest: string[]; flags: Map<string, string[]> };

function readLong(command: Pick<Command, 'flags'>, word: string, state: State): Parsed | undefined {
  const body = word.slice(2);
  if (body.startsWith('-') || body.startsWith('=')) return { kind: 'bad', why: `bad flag syntax: ${word}` };
  const equals = body.indexOf('=');
  const name = equals < 0 ? body : body.slice(0, equals);
  const flag = command.flags.find((one) => one.name === name);
  if (flag === undefined)
    return name === 'help' ? { kind: 'help', deprecated: false } : { kind: 'bad', why: `unknown flag: --${name}` };
  if (equals >= 0) return keep(flag, body.slice(equals + 1), state);
  if (flag.kind === 'bool') return keep(flag, 'true', state);
  const value = state.rest.shift();
  return value === undefined ? { kind: 'bad', why: `flag needs an argument: ${word}` } : keep(flag, value, state);
}

function readShort(command: Pick<Command, 'flags'>, word: string, state: State): Parsed | undefined {
  for (let letters = word.slice(1); letters !== ''; letters = letters.slice(1)) {
    const letter = letters.charAt(0);
    const flag = command.flags.find((one) => one.short === letter);
    if (flag === undefined && letter === 'h') return { kind: 'help', deprecated: true };
    if (flag === undefined) return { kind: 'bad', why: `unknown shorthand flag: '${letter}' in -${letters}` };
    const hasValue = letters.length > 2 && letters.charAt(1) === '=';
    if (flag.kind !== 'bool' || hasValue) return keepShort(flag, { letters, hasValue }, state);
    const stop = keep(flag, 'true', state);
    if (stop !== undefined) return stop;
  }
  return undefined;
}

/** The value of a letter: after `=`, else the rest of the word, else the next word. */
function keepShort(flag: Flag, at: { letters: string; hasValue: boolean }, state: State): Parsed | undefined {
  if (at.hasValue) return keep(flag, at.letters.slice(2), state);
  if (at.letters.length > 1) return keep(flag, at.letters.slice(1), state);
  const value = state.rest.shift();
  if (value === undefined) return { kind: 'bad', why: `flag needs an argument: '${flag.short}' in -${at.letters}` };
  return keep(flag, value, state);
}

function keep(flag: Flag, value: string, state: State): Parsed | undefined {
  const why = checkValue(flag, value);
  if (why !== undefined) {
    const shown = flag.short === undefined ? `--${flag.name}` : `-${flag.short}, --${flag.name}`;
    return { kind: 'bad', why: `invalid argument ${JSON.stringify(value)} for "${shown}" flag: ${why}` };
  }
  const values = state.flags.get(flag.name) ?? [];
  values.push(value);
  state.flags.set(flag.name, values);
  return undefined;
}
