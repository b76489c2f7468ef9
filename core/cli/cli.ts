// One command line of `berth`: words to a command of the table, its sentence and exit code to the shell. Nothing else is loaded before that.
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

/** Runs one command line and gives the exit code. */
export async function runCli(
  words: readonly string[],
  session: Pick<Session, 'env' | 'stdin' | 'stdout' | 'stderr' | 'home'>,
): Promise<number> {
  const { stdout, stderr } = session;
  const globals = parseFlags({ flags: GLOBALS, stopAtWord: true }, words);
  const width = stdout.columns ?? 80;
  if (globals.kind === 'help') return print(stdout, topHelp(COMMANDS, GLOBALS, width));
  if (globals.kind === 'bad')
    return print(
      stderr,
      `${globals.why}\n\nUsage:  berth [OPTIONS] COMMAND\n\nRun 'berth --help' for more information\n`,
      125,
    );
  if (textOf(globals.given, 'version') === 'true') return print(stdout, `Berth version ${VERSION}\n`);
  const rest = globals.given.args;
  if (rest.length === 0) return print(stdout, topHelp(COMMANDS, GLOBALS, width));
  if (rest[0] === 'help') return runCli([...rest.slice(1), '--help'], session);
  const found = findCommand(rest);
  if (found === undefined) return unknownCommand(rest, session);
  const given = readWords(found, width);
  if ('text' in given) return print(given.code === 0 ? stdout : stderr, given.text, given.code);
  try {
    const asked = { host: textOf(globals.given, 'host'), stateDir: textOf(globals.given, 'state-dir') };
    const handler = await found.command.load();
    return await handler(
      makeSession(session, () => findPlace(asked, session.env, process.getuid?.() ?? 0)),
      given,
    );
  } catch (error) {
    return reportFailure(error, session);
  }
}

function print(to: NodeJS.WriteStream, text: string, code = 0): number {
  to.write(text);
  return code;
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

function unknownCommand(words: readonly string[], session: Pick<Session, 'stdout' | 'stderr'>): number {
  const [first = '', second] = words;
  const isGroup = COMMANDS.some((one) => one.names.some((name) => name.length > 1 && name[0] === first));
  if (isGroup && (second === undefined || second === '--help' || second === '-h')) {
    return print(session.stdout, groupHelp(COMMANDS, first, session.stdout.columns ?? 80));
  }
  const name = isGroup ? `berth ${first} ${second}` : `berth ${first}`;
  return print(
    session.stderr,
    `berth: unknown command: ${name}\n\nRun 'berth${isGroup ? ` ${first}` : ''} --help' for more information\n`,
    1,
  );
}

type Told = { readonly text: string; readonly code: number };

function readWords(found: Found, width: number): Given | Told {
  const { command } = found;
  const parsed = parseFlags(command, found.words);
  const name = fullName(command);
  if (parsed.kind === 'help') {
    const note = parsed.deprecated ? 'Flag shorthand -h has been deprecated, use --help\n' : '';
    return { text: note + commandHelp(command, width), code: 0 };
  }
  if (parsed.kind === 'bad')
    return { text: `${parsed.why}\n\n${usageLine(command)}\n\nRun '${name} --help' for more information\n`, code: 125 };
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
  const { failureText } = await import('./failure.ts');
  const { text, code } = failureText(error, session.env);
  if (text !== '') session.stderr.write(`${text}\n`);
  return error instanceof CliError ? error.code : code;
}
