// The process `berth`. Streams are opened when first used: opening standard input alone costs a millisecond and changes a terminal's state.
import { runCli } from './cli.ts';

const streams = {
  env: process.env,
  home: import.meta.dirname,
  get stdin() {
    return process.stdin;
  },
  get stdout() {
    return process.stdout;
  },
  get stderr() {
    return process.stderr;
  },
};

/** Ends with what is written, not before: a pipe whose reader is slow takes the rest first. */
function leave(code: number): void {
  process.exitCode = code;
  if (process.stdout.writableLength === 0) process.exit();
  process.stdout.write('', () => process.exit());
}

// `berth logs x | head`: nobody reads any more. The shell's own programs die of SIGPIPE there, which Node ignores.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 141 : 1));

void runCli(process.argv.slice(2), streams).then(leave);
