// What the kernel's refusal of a call becomes: which call, on what, and its number. The number is for the program, the sentence for the person.
import { constants } from 'node:os';

/** `ENOENT` for 2, of two names the first (EAGAIN before EWOULDBLOCK); a number that Node does not know as it is. */
export function errnoName(errno: number): string {
  return Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}

export class SysError extends Error {
  readonly call: string;
  readonly errno: number;
  /** The number's name, as on Node's own errors. */
  readonly code: string;
  constructor(call: string, subject: string, errno: number) {
    super(`${call} ${subject}: ${errnoName(errno)}`);
    this.call = call;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}
