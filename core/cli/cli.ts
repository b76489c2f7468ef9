// One command line of `berth`: words to a command of the table, its sentence and exit code to the shell. Nothing else is loaded before that.
import { printable } from '../base/printable.ts';
import type { Command, Given } from './command.ts';
import { textOf } from './command.ts';
import { COMMANDS, GLOBALS } from './commands.ts';
import { CliError } from './error.ts';
import { parseFlags } from './flags.ts';
import { commandHelp, fullName, groupHelp, topHelp, usageLine } from './help.ts';
import { findPlace } from './place.ts';
import { makeSession, type Session } from './session.ts';
import { VERSION } from './version-text.ts';

type Found = { command: Command; words: readonly string[] };

/** Runs one command line and gives the exit code. Standard output and error are touched only to print: opening them costs milliseconds. */
export async function runCli(words: readonly string[], session: Streams): Promise<number> {
  const globals = parseFlags({ flags: GLOBALS, stopAtWord: true }, words);
  if (globals.kind === 'bad') {
    return say(session, {
      text: `${globals.why}\n\nUsage:  berth [OPTIONS] COMMAND\n\nRun 'berth --help' for more information\n`,
      code: 125,
    });
  }
  const rest = globals.kind === 'help' ? [] : globals.given.args;
  if (globals.kind === 'given' && textOf(globals.given, 'version') === 'true') {
    return say(session, { text: `Berth version ${VERSION}\n`, code: 0 });
  }
  if (rest.length === 0) return say(session, { text: topHelp(COMMANDS, GLOBALS, widthOf(session)), code: 0 });
  if (rest[0] === 'help') return runCli([...rest.slice(1), '--help'], session);
  const found = findCommand(rest);
  if (found === undefined) return say(session, unknownCommand(rest, session));
  const given = readWords(found, session);
  if ('text' in given) return say(session, given);
  try {
    const asked =
      globals.kind === 'given'
        ? { host: textOf(globals.given, 'host'), stateDir: textOf(globals.given, 'state-dir') }
        : { host: undefined, stateDir: undefined };
    const handler = await found.command.load();
    return await handler(
      makeSession(session, () => findPlace(asked, session.env, process.getuid?.() ?? 0)),
      given,
    );
  } catch (error) {
    return reportFailure(error, session);
  }
}

type Streams = Pick<Session, 'env' | 'stdin' | 'stdout' | 'stderr' | 'home'>;
/** What is printed instead of doing anything: help on standard output, a complaint on standard error. */
type Told = { readonly text: string; readonly code: number };

function say(session: Streams, told: Told): number {
  (told.code === 0 ? session.stdout : session.stderr).write(printable(told.text));
  return told.code;
}

function widthOf(session: Streams): number {
  return session.stdout.columns ?? 80;
}

/** The command whose name is the longest beginning of the words. */
export function findCommand(words: readonly string[]): Found | undefined {
  for (const length of [2, 1]) {
    const name = words.slice(0, length).join(' ');
    const command = COMMANDS.find((one) =>
      one.names.some((names) => names.length === length && names.join(' ') === name),
    );
    if (command !== undefined && words.length >= length) return { command, words: words.slice(length) };
  }
  return undefined;
}

/** Docker's commands that a user may miss, alone or in a group. */
const LATER = new Set(
  'build builder buildx commit compose context cp df diff export history import login logout manifest network plugin port prune push save search stats swarm tag top volume'.split(
    ' ',
  ),
);

function unknownCommand(words: readonly string[], session: Streams): Told {
  const [first = '', second] = words;
  const isGroup = COMMANDS.some((one) => one.names.some((name) => name.length > 1 && name[0] === first));
  if (isGroup && (second === undefined || second === '--help' || second === '-h')) {
    return { text: groupHelp(COMMANDS, first, widthOf(session)), code: 0 };
  }
  const name = isGroup ? `berth ${first} ${second}` : `berth ${first}`;
  const group = isGroup ? ` ${first}` : '';
  if (LATER.has(isGroup ? `${second}` : first))
    return { text: `${name} is not there yet: docker has it, this release of Berth has not\n`, code: 1 };
  return { text: `berth: unknown command: ${name}\n\nRun 'berth${group} --help' for more information\n`, code: 1 };
}

function readWords(found: Found, session: Streams): Given | Told {
  const { command } = found;
  const parsed = parseFlags(command, found.words);
  const name = fullName(command);
  if (parsed.kind === 'help') {
    const note = parsed.deprecated ? 'Flag shorthand -h has been deprecated, use --help\n' : '';
    return { text: note + commandHelp(command, widthOf(session)), code: 0 };
  }
  if (parsed.kind === 'bad') {
    return { text: `${parsed.why}\n\n${usageLine(command)}\n\nRun '${name} --help' for more information\n`, code: 125 };
  }
  for (const { name: flag, deprecated } of command.flags) {
    if (deprecated !== undefined && parsed.given.flags.has(flag))
      session.stdout.write(`Flag --${flag} has been deprecated, ${deprecated}\n`);
  }
  const why = wordsProblem(command, parsed.given);
  if (why === undefined) return parsed.given;
  const run = why.startsWith('requires at least') ? 'See' : 'Run';
  return {
    text: `berth: '${name}' ${why}\n\n${usageLine(command)}\n\n${run} '${name} --help' for more information\n`,
    code: 1,
  };
}

/** Docker's words for too few or too many arguments. Source: docker/cli 28.2, cli/required.go. */
function wordsProblem(command: Command, given: Given): string | undefined {
  const { max, unless } = command.words;
  const count = given.args.length;
  const min = unless !== undefined && given.flags.has(unless) ? command.words.min - 1 : command.words.min;
  const plural = (number: number): string => `${number} argument${number === 1 ? '' : 's'}`;
  if (count >= min && (max === undefined || count <= max)) return undefined;
  if (max === 0) return 'accepts no arguments';
  if (max === min) return `requires ${plural(min)}`;
  if (max === undefined || count < min) return `requires at least ${plural(min)}`;
  return `requires at most ${plural(max)}`;
}

async function reportFailure(error: unknown, session: Pick<Session, 'stderr' | 'env'>): Promise<number> {
  const { complain, failureText } = await import('./failure.ts');
  const { text, code } = failureText(error, session.env);
  if (text !== '') complain(session, text);
  return error instanceof CliError ? error.code : code;
}
