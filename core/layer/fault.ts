// The worker's errors: every failure is one line for a person and a status for the helper.
import { BerthError } from '../base/errors.ts';
import { TarError } from '../hot/tar-table.ts';
import type { Status } from '../spec/layer-index.ts';

/** A failure of the worker with the status its result carries. */
export class LayerFault extends Error {
  readonly status: Status;
  constructor(status: Status, message: string, more: { cause?: unknown } = {}) {
    super(message, more);
    this.status = status;
  }
}

/** The status and the sentence of anything thrown: a bad index is bad input, a failed system call is io, the rest is a bug. */
export function statusOf(error: unknown): { status: Status; message: string } {
  if (error instanceof LayerFault) return { status: error.status, message: error.message };
  if (error instanceof TarError) return { status: error.limit ? 'limit' : 'input', message: error.message };
  if (error instanceof BerthError) return { status: 'input', message: error.message };
  if (error instanceof Error && 'syscall' in error) return { status: 'io', message: error.message };
  return { status: 'internal', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** The text as one printable line of at most 1,000 bytes: names in a tar may hold anything, terminal escapes included. */
export function oneLine(text: string): string {
  const plain = text.replace(/[^\x20-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return plain.length > 1000 ? `${plain.slice(0, 997)}...` : plain;
}
