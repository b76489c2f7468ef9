// What the server said no with, and what it means when there is no server.
import type { Code } from '../base/errors.ts';

/** An answer from 400 on. `code` is there when the server is Berth's. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: Code | undefined;
  constructor(status: number, message: string, code: Code | undefined) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Nobody answers at the socket. */
export class NoServer extends Error {
  readonly path: string;
  constructor(path: string, cause: unknown) {
    super(`Cannot connect to the Berth engine at unix://${path}. Is the engine running?`, { cause });
    this.path = path;
  }
}
