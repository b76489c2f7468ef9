// What comes back from a registry: bodies within a limit, and error bodies as Docker words them.
// Source: distribution registry/api/errcode/errors.go and registry/client/errors.go, v2.8.
import type { IncomingMessage } from 'node:http';
import { BerthError } from '../base/errors.ts';

const ERROR_BYTES_MAX = 64 << 10;

/** One error of a registry, `MANIFEST_UNKNOWN` and its message. */
export type RegistryFault = { readonly status: number; readonly code: string; readonly message: string };

/** Everything of a body up to a limit. Throws registry when there is more, or when the connection breaks. */
export async function readBytes(answer: IncomingMessage, bytesMax: number, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > bytesMax) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new BerthError('registry', `${what}: unexpected EOF`, { cause });
  }
  answer.destroy(); // what is left of an endless body
  if (size > bytesMax) throw new BerthError('registry', `${what}: it is larger than ${bytesMax} bytes`);
  return Buffer.concat(chunks);
}

/** Reads the body of an answer that is no success. Never throws: a bad body is told by its status alone. */
export async function readFault(answer: IncomingMessage): Promise<RegistryFault> {
  const status = answer.statusCode ?? 0;
  const plain = {
    status,
    code: '',
    message: `received unexpected HTTP status: ${status} ${answer.statusMessage ?? ''}`.trim(),
  };
  const bytes = await readBytes(answer, ERROR_BYTES_MAX, 'error').catch(() => new Uint8Array());
  try {
    const body = JSON.parse(Buffer.from(bytes).toString()) as { errors?: unknown; details?: unknown };
    const first: unknown = Array.isArray(body.errors) ? body.errors[0] : undefined;
    if (typeof first !== 'object' || first === null) return plain;
    const { code, message } = first as { code?: unknown; message?: unknown };
    if (typeof code !== 'string') return plain;
    return { status, code: printable(code), message: printable(typeof message === 'string' ? message : '') };
  } catch {
    return plain; // not JSON: an error page of some proxy
  }
}

/** Without control characters: the text ends on somebody's terminal. */
function printable(text: string): string {
  return text.slice(0, 500).replace(/\p{Cc}/gu, ' ');
}

/** `manifest unknown: manifest unknown`. */
export function faultText(fault: RegistryFault): string {
  if (fault.code === '') return fault.message;
  return `${fault.code.toLowerCase().replaceAll('_', ' ')}: ${fault.message}`;
}
