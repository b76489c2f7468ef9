// `--env-file` and `--env`: lines and words to KEY=VALUE. Source: docker/cli 28.2, pkg/kvfile/kvfile.go and opts/env.go.
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { CliError } from './error.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** The variables of a file: empty lines and comments are skipped, a name alone takes its value from `env` or is left out. Throws CliError. */
export function readEnvFile(path: string, env: Env): string[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EISDIR') throw new CliError(`invalid env file (${path}): read ${path}: is a directory`);
    const why = { ENOENT: 'no such file or directory', EACCES: 'permission denied' }[code ?? ''] ?? String(error);
    throw new CliError(`open ${path}: ${why}`);
  }
  return parseEnvLines(bytes, { path, env });
}

/** Go's bufio.MaxScanTokenSize, with the line's end. */
const LINE_BYTES_MAX = 65_536;

/** The same from the file's bytes. */
export function parseEnvLines(bytes: Uint8Array, from: { path: string; env: Env }): string[] {
  const bad = (why: string): CliError => new CliError(`invalid env file (${from.path}): ${why}`);
  return linesOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).flatMap((raw, i) => {
    if (raw.length >= LINE_BYTES_MAX) throw bad('bufio.Scanner: token too long');
    if (!isUtf8(raw)) throw bad(`invalid utf8 bytes at line ${i + 1}: [${raw.join(' ')}]`);
    const line = (i === 0 ? raw.toString().replace(/^\uFEFF/, '') : raw.toString()).trimStart();
    if (line === '' || line.startsWith('#')) return [];
    const equals = line.indexOf('=');
    const name = equals < 0 ? line : line.slice(0, equals);
    if (name === '') throw bad(`no variable name on line '${line}'`);
    if (/[ \t]/.test(name)) throw bad(`variable '${name}' contains whitespaces`);
    if (equals >= 0) return [line];
    const value = from.env[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
}

function linesOf(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const at = bytes.indexOf(0x0a, start);
    const end = at < 0 ? bytes.length : at;
    lines.push(bytes.subarray(start, end > start && bytes[end - 1] === 0x0d ? end - 1 : end));
    start = end + 1;
  }
  return lines;
}

/** `-e KEY` takes the caller's value; without one the name alone goes on, which unsets it. */
export function resolveEnv(words: readonly string[], env: Env): string[] {
  return words.map((word) => (word.includes('=') || env[word] === undefined ? word : `${word}=${env[word]}`));
}
