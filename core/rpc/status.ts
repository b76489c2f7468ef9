// The gRPC status of every error code. A new code does not compile until it has one.
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { BerthError, type Code } from '../base/errors.ts';
import { printable } from '../base/printable.ts';

/** Source: grpc.github.io/grpc/core/md_doc_statuscodes.html. */
export const STATUS = {
  bad_parameter: status.INVALID_ARGUMENT,
  conflict: status.FAILED_PRECONDITION,
  container_not_found: status.NOT_FOUND,
  container_not_running: status.FAILED_PRECONDITION,
  exec_not_found: status.NOT_FOUND,
  helper_refused: status.PERMISSION_DENIED,
  helper_unavailable: status.UNAVAILABLE,
  image_in_use: status.FAILED_PRECONDITION,
  image_invalid: status.INVALID_ARGUMENT,
  image_not_found: status.NOT_FOUND,
  internal: status.INTERNAL,
  launch_failed: status.FAILED_PRECONDITION,
  name_in_use: status.ALREADY_EXISTS,
  no_descriptors: status.RESOURCE_EXHAUSTED,
  no_space: status.RESOURCE_EXHAUSTED,
  not_executable: status.FAILED_PRECONDITION,
  not_implemented: status.UNIMPLEMENTED,
  program_not_found: status.FAILED_PRECONDITION,
  registry: status.UNAVAILABLE,
  store_damaged: status.DATA_LOSS,
  unauthorized: status.UNAUTHENTICATED,
} satisfies Record<Code, status>;

/** What a call that fails ends with: our code and hint as trailing metadata `berth-code` and `berth-hint`. Bugs are logged, and say so. */
export function callError(error: unknown, log: (line: string) => void): Partial<ServiceError> {
  if (!(error instanceof BerthError)) {
    log(`bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return { code: status.INTERNAL, details: 'a bug in the engine: see its log' };
  }
  const metadata = new Metadata();
  metadata.set('berth-code', error.code);
  const { message, hint } = error;
  if (hint !== undefined) metadata.set('berth-hint', ascii(hint));
  const details = printable(hint === undefined ? message : `${message}: ${hint}`);
  return { code: STATUS[error.code], details, metadata };
}

/** Metadata is ASCII. Source: gRPC over HTTP2, Custom-Metadata. */
function ascii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
