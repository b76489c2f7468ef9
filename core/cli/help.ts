// Usage texts, made from the command table in the form of Docker's. Source: docker/cli 28.2, cli/cobra.go, and pflag's FlagUsages.
import type { Command, Flag } from './command.ts';

const WIDTH_MIN = 40;

/** `berth run`: the command's first name. */
export function fullName(command: Pick<Command, 'names'>): string {
  return `berth ${(command.names[0] ?? []).join(' ')}`;
}

/** `Usage:  berth run [OPTIONS] IMAGE [COMMAND] [ARG...]`. */
export function usageLine(command: Pick<Command, 'names' | 'usage'>): string {
  return `Usage:  ${fullName(command)}${command.usage === '' ? '' : ` ${command.usage}`}`;
}

/** The whole of `berth COMMAND --help`, wrapped at `width` columns. */
export function commandHelp(command: Command, width: number): string {
  const parts = [usageLine(command), '', command.summary];
  if (command.names.length > 1)
    parts.push(
      '',
      'Aliases:',
      `  ${[...command.names]
        .reverse()
        .map((words) => `berth ${words.join(' ')}`)
        .join(', ')}`,
    );
  const flags = command.flags.filter((flag) => flag.hidden !== true);
  if (flags.length > 0) parts.push('', 'Options:', flagTable(flags, width));
  return `${parts.join('\n')}\n`;
}

/** One line or more per flag: `-e, --env list   Set environment variables`. */
export function flagTable(flags: readonly Flag[], width: number): string {
  const sorted = [...flags].sort((left, right) => (left.name < right.name ? -1 : 1));
  const rows = sorted.map((flag) => ({ words: flagWords(flag), help: flag.help + presetText(flag) }));
  const column = Math.max(...rows.map((row) => row.words.length)) + 3;
  return rows
    .map(
      (row) =>
        row.words.padEnd(column) + wrap(row.help, Math.max(width - column, WIDTH_MIN)).join(`\n${' '.repeat(column)}`),
    )
    .join('\n');
}

function flagWords(flag: Flag): string {
  const word = flag.kind === 'bool' ? '' : ` ${flag.shown ?? flag.kind}`;
  return `  ${flag.short === undefined ? '    ' : `-${flag.short}, `}--${flag.name}${word}`;
}

function presetText(flag: Flag): string {
  return flag.preset === undefined ? '' : ` (default ${flag.preset})`;
}

/** Breaks a text into lines at spaces; a word longer than a line stands alone. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** `berth --help`: every command by one name, and the global flags. */
export function topHelp(commands: readonly Command[], globals: readonly Flag[], width: number): string {
  const single = commands.filter((one) => one.names[0]?.length === 1 && one.hidden !== true);
  const groups = [
    ...new Set(commands.flatMap((one) => one.names.filter((words) => words.length > 1).map((words) => words[0] ?? ''))),
  ].sort();
  const rows = [
    'Usage:  berth [OPTIONS] COMMAND',
    '',
    'Containers in milliseconds: an unprivileged engine, a small root helper',
    '',
    'Commands:',
    ...listed(
      single.map((one) => [one.names[0]?.[0] ?? '', one.summary]),
      width,
    ),
    '',
    'Management Commands:',
    ...listed(
      groups.map((name) => [name, GROUPS[name] ?? `Manage ${name}`]),
      width,
    ),
    '',
    'Global Options:',
    flagTable(globals, width),
    '',
    "Run 'berth COMMAND --help' for more information on a command.",
  ];
  return `${rows.join('\n')}\n`;
}

/** `berth container --help`. */
export function groupHelp(commands: readonly Command[], group: string, width: number): string {
  const rows = commands.flatMap((one) => {
    const words = one.names.find((name) => name[0] === group && name.length > 1);
    return words === undefined ? [] : [[words.slice(1).join(' '), one.summary] as const];
  });
  const head = [`Usage:  berth ${group} COMMAND`, '', GROUPS[group] ?? `Manage ${group}`, '', 'Commands:'];
  return `${[...head, ...listed(rows, width), '', `Run 'berth ${group} COMMAND --help' for more information on a command.`].join('\n')}\n`;
}

const GROUPS: Readonly<Record<string, string>> = {
  admin: 'Enroll keys and manage principals (root)',
  audit: 'Read and verify the audit log',
  container: 'Manage containers',
  image: 'Manage images',
  key: 'Manage your signing keys',
  policy: 'Check, test, show and apply policies',
  system: 'Start, stop and describe Berth itself',
};

function listed(rows: readonly (readonly [string, string])[], width: number): string[] {
  const column = Math.max(...rows.map(([name]) => name.length), 10) + 2;
  return rows
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(
      ([name, text]) =>
        `  ${name.padEnd(column)}${wrap(text, Math.max(width - column - 2, WIDTH_MIN)).join(`\n${' '.repeat(column + 2)}`)}`,
    );
}
