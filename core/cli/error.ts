// How a command ends badly: a sentence and an exit code.

/** Ends the command: `message` goes to stderr as it is, then the process ends with `code`. */
export class CliError extends Error {
  readonly code: number;
  constructor(message: string, code = 1) {
    super(message);
    this.code = code;
  }
}
