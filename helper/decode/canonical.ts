// A message has exactly one encoding. Any other one (unknown or repeated fields, long varints, defaults on the wire, another order) is refused, so
// that two readers of the same bytes can never see two messages.
import { Malformed, must } from './malformed.ts';

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
    throw new Malformed(name, `must be an encoded ${name}: ${why}`);
  }
  const rule = 'must be in canonical form: known fields, once, in order, no defaults';
  must(sameBytes(codec.encode(message).finish(), bytes), name, rule);
  return message;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
