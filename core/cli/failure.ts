// What a failed command prints: Docker's words for what the server says, one line for everything else.
import { BerthError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { ApiError, NoServer } from '../client/error.ts';
import { CliError } from './error.ts';

/** Writes a line to standard error, as it may be printed. */
export function complain(session: { readonly stderr: NodeJS.WriteStream }, text: string): void {
  session.stderr.write(`${printable(text)}\n`);
}

/** The lines for stderr and the exit code. A bug shows its stack where BERTH_DEBUG is set. */
export function failureText(
  error: unknown,
  env: Readonly<Record<string, string | undefined>>,
): { text: string; code: number } {
  if (error instanceof CliError) return { text: error.message, code: error.code };
  if (error instanceof ApiError) return { text: daemonText(error), code: 1 };
  if (error instanceof NoServer) return { text: error.message, code: 1 };
  if (error instanceof BerthError)
    return { text: error.hint === undefined ? error.message : `${error.message}: ${error.hint}`, code: 1 };
  if (error instanceof Error) {
    const debug = (env['BERTH_DEBUG'] ?? '') !== '';
    return { text: debug ? (error.stack ?? error.message) : `berth: ${error.message}`, code: 1 };
  }
  return { text: `berth: ${String(error)}`, code: 1 };
}

/** `Error response from daemon: …`: scripts look for these words. */
export function daemonText(error: ApiError): string {
  return `Error response from daemon: ${error.message}`;
}
