// The streams of an exec. They are kept nowhere: what its client reads comes straight from the pipes, and the process waits for a slow client.
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { closeFd } from '../sys/fd.ts';
import { wallNs } from './clock.ts';
import type { Chunk, StreamNumber } from './engine.ts';
import { makeFeed } from './feed.ts';
import { pipeInput, terminalInput } from './input.ts';
import type { Given } from './run.ts';

export type ExecStreams = {
  readonly output: AsyncIterable<Chunk>;
  readonly input: Writable | undefined;
  /** Reads on, for nobody. */
  readonly discard: () => void;
  /** The process has ended: what is still there is read, then the output ends although others may hold the pipes. */
  readonly exited: () => void;
  /** Of a terminal, as long as it is open. */
  readonly terminal: () => number | undefined;
  /** Resolves when the output has ended. */
  readonly done: Promise<void>;
};

/** So much is read ahead of the client. */
const AHEAD_BYTES = 1 << 20;
/** A child that still holds the pipes of an exec that has ended is heard until it is silent for so long. */
const SILENCE_MS = 100;

/** Takes the descriptors over. */
export function execStreams({ ends, input }: Given): ExecStreams {
  let finish = (): void => {};
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const state = {
    ahead: 0,
    discarding: false,
    left: 0,
    terminal: ends.kind === 'tty' ? input : undefined,
    last: Date.now(),
  };
  const feed = makeFeed<Chunk>({ onEnd: finish });
  const readers = readersOf(ends);
  state.left = readers.length;
  for (const [stream, reader] of readers) {
    reader.on('data', (bytes: Buffer) => {
      state.last = Date.now();
      if (state.discarding) return;
      feed.push({ stream, timeNs: wallNs(), bytes });
      state.ahead += bytes.length;
      if (state.ahead > AHEAD_BYTES) for (const [, one] of readers) one.pause();
    });
    // A terminal's end is an error (EIO), a pipe's is not.
    reader.on('error', () => reader.destroy());
    reader.on('close', () => {
      if (--state.left === 0) feed.end();
    });
  }
  const taken = (chunk: Chunk): void => {
    state.ahead -= chunk.bytes.length;
    if (state.ahead <= AHEAD_BYTES / 2) for (const [, one] of readers) one.resume();
  };
  const discard = (): void => {
    state.discarding = true;
    for (const [, one] of readers) one.resume();
  };
  return {
    output: onTake(feed.iterable, taken, discard),
    input:
      input === undefined
        ? undefined
        : ends.kind === 'tty'
          ? terminalInput({ fd: () => state.terminal })
          : pipeInput(input),
    discard,
    exited: () => {
      if (state.terminal !== undefined) closeFd(state.terminal);
      state.terminal = undefined;
      const timer = setInterval(() => {
        const paused = readers.some(([, one]) => one.isPaused());
        if (state.left > 0 && (paused || Date.now() - state.last < SILENCE_MS)) return;
        clearInterval(timer);
        for (const [, one] of readers) one.destroy();
      }, SILENCE_MS);
    },
    terminal: () => state.terminal,
    done,
  };
}

function readersOf(ends: Given['ends']): [StreamNumber, Readable][] {
  if (ends.kind === 'pipes') {
    const open = (fd: number): Socket => new Socket({ fd, readable: true, writable: false });
    return [
      [1, open(ends.stdout)],
      [2, open(ends.stderr)],
    ];
  }
  closeFd(ends.relayRead);
  closeFd(ends.relayWrite);
  return [[1, new ReadStream(ends.master)]];
}

/** The same values; `taken` hears of each as it is read, `left` when the loop is left early. */
function onTake<T>(
  from: AsyncIterableIterator<T, undefined, undefined>,
  taken: (value: T) => void,
  left: () => void,
): AsyncIterable<T> {
  const next = async (): Promise<IteratorResult<T, undefined>> => {
    const result = await from.next();
    if (!result.done) taken(result.value);
    return result;
  };
  const iterator: AsyncIterableIterator<T, undefined, undefined> = {
    next,
    return: async () => {
      left();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return iterator;
    },
  };
  return iterator;
}
