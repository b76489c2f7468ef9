// Reads request bodies, bounded: a JSON body is small, an archive is a stream that the engine takes as it comes.
import { BerthError } from '../base/errors.ts';
import type { Call } from './call.ts';

/** More than any client sends: arguments and environment together are at most 2 MiB for execve. */
export const JSON_BYTES_MAX = 4 * 1024 * 1024;

/** The body is over the bound. Not a BerthError: only HTTP has a status for it. */
export class TooLarge extends Error {}

/** The JSON object of the body; undefined when there is no body. Throws bad_parameter, TooLarge. */
export async function readJson(
  call: Pick<Call, 'body' | 'headers'>,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const bytes = await readBytes(call);
  if (bytes.length === 0) return undefined;
  const type = (call.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new BerthError('bad_parameter', `unsupported Content-Type header (${type}): must be 'application/json'`);
  }
  const value = parseJson(bytes);
  if (value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value))
    throw new BerthError('bad_parameter', 'invalid JSON: the body is not an object');
  return value as Readonly<Record<string, unknown>>;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new BerthError('bad_parameter', `invalid JSON: ${why}`, { cause: error });
  }
}

async function readBytes(call: Pick<Call, 'body' | 'headers'>): Promise<Buffer> {
  if (Number(call.headers['content-length'] ?? 0) > JSON_BYTES_MAX) throw new TooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving a plain loop would destroy the request, and with it the connection that the answer goes out on.
  for await (const chunk of call.body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > JSON_BYTES_MAX) throw new TooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
