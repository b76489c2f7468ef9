// A queue between callbacks and `for await`: push from anywhere, read one by one, end from either side.

export type Feed<T> = {
  readonly push: (value: T) => void;
  /** After what was pushed, the loop ends; with an error it throws. */
  readonly end: (error?: unknown) => void;
  readonly iterable: AsyncIterableIterator<T, undefined, undefined>;
};

/** `most`: the oldest values are dropped beyond so many. `onEnd` runs once, when either side ends it. */
export function makeFeed<T>(more: { readonly most?: number; readonly onEnd?: () => void } = {}): Feed<T> {
  const waiting: T[] = [];
  const state = { ended: false, error: undefined as unknown, wake: undefined as (() => void) | undefined };
  const end = (error?: unknown): void => {
    if (state.ended) return;
    state.ended = true;
    state.error = error;
    more.onEnd?.();
    state.wake?.();
  };
  const next = async (): Promise<IteratorResult<T, undefined>> => {
    for (;;) {
      if (waiting.length > 0) return { done: false, value: waiting.shift() as T };
      if (state.ended) {
        const { error } = state;
        state.error = undefined;
        if (error !== undefined) throw error;
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        state.wake = resolve;
      });
    }
  };
  return {
    push: (value) => {
      if (state.ended) return;
      waiting.push(value);
      if (waiting.length > (more.most ?? Number.POSITIVE_INFINITY)) waiting.shift();
      state.wake?.();
    },
    end,
    iterable: {
      next,
      return: () => {
        waiting.length = 0;
        end();
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    },
  };
}
