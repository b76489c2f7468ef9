// The process `berth`. Streams are opened when first used: opening standard input alone costs a millisecond and changes a terminal's state.
import { runCli } from './cli.ts';

const streams = {
  env: process.env,
  home: import.meta.dirname,
  get stdin() {
    return process.stdin;
  },
  get stdout() {
    return guarded();
  },
  get stderr() {
    return process.stderr;
  },
};

let stdout: NodeJS.WriteStream | undefined;

/** Standard output. `berth logs x | head`: where nobody reads any more, the shell's own programs die of SIGPIPE, which Node ignores. */
function guarded(): NodeJS.WriteStream {
  stdout ??= process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? 141 : 1),
  );
  return stdout;
}

/** Ends with what is written, not before: a pipe whose reader is slow takes the rest first. */
function leave(code: number): void {
  process.exitCode = code;
  if (stdout === undefined || stdout.writableLength === 0) process.exit();
  stdout.write('', () => process.exit());
}

void runCli(process.argv.slice(2), streams).then(leave);
