// Bytes to a checked, frozen request. The bytes that were signed are the bytes that are judged: a message has exactly one encoding. Any other one
// (unknown or repeated fields, long varints, defaults on the wire, another order) is refused, so that two readers never see two messages.
import { Request } from '../../proto/gen/berth/helper/v1/request.ts';
import { REQUEST } from '../../proto/policy/evaluate.ts';
import { Malformed, must } from '../../proto/policy/form.ts';
import type { CheckedRequest } from './checked.ts';

export const REQUEST_BYTES_MAX = 65_536;

/** What the generated code has for each message. */
export type Codec<T> = {
  readonly encode: (message: T) => { finish: () => Uint8Array };
  readonly decode: (bytes: Uint8Array) => T;
};

/** The message that the bytes are; throws Malformed, calling it `name`, where they are none or not its one encoding. */
export function decodeCanonical<T>(codec: Codec<T>, bytes: Uint8Array, name: string): T {
  let message: T;
  try {
    message = codec.decode(bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Malformed([name], `must be an encoded ${name}: ${why}`);
  }
  const rule = 'must be in canonical form: known fields, once, in order, no defaults';
  const only = codec.encode(message).finish();
  must(only.length === bytes.length && only.every((byte, i) => byte === bytes[i]), { path: [name] }, rule);
  return message;
}

/** The request that the bytes are; throws Malformed naming field and rule for all that is none. */
export function decodeRequest(bytes: Uint8Array): CheckedRequest {
  must(bytes.length <= REQUEST_BYTES_MAX, { path: ['request'] }, `must be at most ${REQUEST_BYTES_MAX} bytes`);
  const decoded = decodeCanonical(Request, bytes, 'request');
  REQUEST[0](decoded, { path: [] }, undefined);
  return freeze(decoded) as CheckedRequest;
}

/** Freezes a message and all beneath it. Byte arrays cannot be frozen; nothing of the helper writes to them. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const field of Object.values(value)) freeze(field);
  return Object.freeze(value);
}
