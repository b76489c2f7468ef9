// The error a user can act on: a code the API maps to a status, one sentence, and a hint. Add codes in alphabetical order.
export type Code =
  | 'bad_parameter'
  | 'conflict'
  | 'container_not_found'
  | 'container_not_running'
  | 'exec_not_found'
  | 'helper_refused'
  | 'helper_unavailable'
  | 'image_in_use'
  | 'image_invalid'
  | 'image_not_found'
  | 'internal'
  | 'launch_failed'
  | 'name_in_use'
  | 'no_descriptors'
  | 'no_space'
  | 'not_executable'
  | 'not_implemented'
  | 'program_not_found'
  | 'registry'
  | 'store_damaged'
  | 'unauthorized';

/** A failure the user can act on. Anything else that is thrown is a bug, and is answered and logged as one. */
export class BerthError extends Error {
  readonly code: Code;
  readonly hint: string | undefined;
  constructor(code: Code, message: string, more: { cause?: unknown; hint?: string } = {}) {
    super(message, { cause: more.cause });
    this.code = code;
    this.hint = more.hint;
  }
}
