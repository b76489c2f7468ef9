// `--env-file` and `--env`: lines and words to KEY=VALUE. Source: docker/cli 28.2, opts/file.go and opts/env.go.
import { readFileSync } from 'node:fs';
import { CliError } from './error.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** The variables of a file: empty lines and comments are skipped, a name alone takes its value from `env` or is left out. Throws CliError. */
export function readEnvFile(path: string, env: Env): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EISDIR') throw new CliError(`invalid env file (${path}): read ${path}: is a directory`);
    const why = { ENOENT: 'no such file or directory', EACCES: 'permission denied' }[code ?? ''] ?? String(error);
    throw new CliError(`open ${path}: ${why}`);
  }
  return parseEnvLines(text, { path, env });
}

/** The same from the file's text. */
export function parseEnvLines(text: string, from: { path: string; env: Env }): string[] {
  return text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .flatMap((raw) => {
      const line = raw.trimStart();
      if (line === '' || line.startsWith('#')) return [];
      const equals = line.indexOf('=');
      const name = equals < 0 ? line.trimEnd() : line.slice(0, equals);
      if (name === '') throw new CliError(`invalid env file (${from.path}): no variable name on line '${line}'`);
      if (/\s/.test(name))
        throw new CliError(`invalid env file (${from.path}): variable '${name}' contains whitespaces`);
      if (equals >= 0) return [`${name}=${line.slice(equals + 1)}`];
      const value = from.env[name];
      return value === undefined ? [] : [`${name}=${value}`];
    });
}

/** `-e KEY` takes the caller's value; without one the name alone goes on, which unsets it. */
export function resolveEnv(words: readonly string[], env: Env): string[] {
  return words.map((word) => (word.includes('=') || env[word] === undefined ? word : `${word}=${env[word]}`));
}
