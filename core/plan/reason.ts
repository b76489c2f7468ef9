// Why a plan is as it is: what planners give beside their values, and how bad intents are refused.
import { BerthError } from '../base/errors.ts';

/** `about` names a line of the printed plan, such as `namespace pid` or `mount /dev/shm`; `text` says why it is so. */
export type Reason = { readonly about: string; readonly text: string };

/** A planned value, its reasons, and what the user should be told although it works. */
export type Noted<T> = {
  readonly value: T;
  readonly reasons: readonly Reason[];
  readonly warnings: readonly string[];
};

/** A value with its reasons. */
export function noted<T>(value: T, reasons: readonly Reason[] = [], warnings: readonly string[] = []): Noted<T> {
  return { value, reasons, warnings };
}

/** The notes of several planners, in order. */
export function gather(parts: readonly Noted<unknown>[]): Pick<Noted<unknown>, 'reasons' | 'warnings'> {
  return {
    reasons: parts.flatMap((part) => part.reasons),
    warnings: parts.flatMap((part) => part.warnings),
  };
}

/** Throws bad_parameter with Docker's text where Docker has one. */
export function refuse(message: string, hint?: string): never {
  throw new BerthError('bad_parameter', message, hint === undefined ? {} : { hint });
}

/** Throws program_not_found, with which a run ends as 127. */
export function noProgram(name: string, hint: string): never {
  throw new BerthError('program_not_found', `exec: "${name}": executable file not found in $PATH`, { hint });
}

/** Throws not_implemented: what was asked is understood, and cannot be done yet. */
export function notYet(message: string, hint?: string): never {
  throw new BerthError('not_implemented', message, hint === undefined ? {} : { hint });
}
