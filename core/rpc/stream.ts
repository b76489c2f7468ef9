// A stream of answers: never faster than the client reads, ended when it goes.
import type { ServerWritableStream } from '@grpc/grpc-js';

/**
 * Writes what comes until it ends or the client goes; then the source's return() is called, also while its next() still waits.
 * Throws what the source throws.
 */
export async function sendAll<Request, Answer>(
  call: ServerWritableStream<Request, Answer>,
  open: (request: Request) => Promise<AsyncIterator<Answer>>,
): Promise<void> {
  const gone = new Promise<'gone'>((resolve) => call.once('cancelled', () => resolve('gone')));
  const source = await open(call.request);
  try {
    while (!call.cancelled) {
      const next = await Promise.race([source.next(), gone]);
      if (next === 'gone' || next.done === true) return;
      if (!call.write(next.value)) await Promise.race([drained(call), gone]);
    }
  } finally {
    await source.return?.();
  }
}

function drained(call: ServerWritableStream<unknown, unknown>): Promise<void> {
  return new Promise((resolve) => call.once('drain', resolve));
}

/** The same values in another form. Not a generator: a generator's return() waits for a next() that may never end. */
export function mapped<From, To>(source: AsyncIterable<From>, form: (value: From) => To): AsyncIterator<To> {
  const from = source[Symbol.asyncIterator]();
  return {
    next: async () => {
      const next = await from.next();
      return next.done === true ? { done: true, value: undefined } : { done: false, value: form(next.value) };
    },
    return: async () => {
      await from.return?.();
      return { done: true, value: undefined };
    },
  };
}
