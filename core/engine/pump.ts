// Moves the output of all containers into their logs: every pipe and terminal in one poller, bytes by splice(2). Where the disk has no room
// the bytes stay in the pipe and the container waits; once a second it is tried again.
import { readSync, writeSync } from 'node:fs';
import { closeFd, setNonblocking } from '../sys/fd.ts';
import { E } from '../sys/libc.ts';
import { splicePipes } from '../sys/pipe.ts';
import { makePoller } from '../sys/poll.ts';
import type { StreamNumber } from './engine.ts';
import { endRun, type Log, type Moved, moveIn, sweepLog } from './log.ts';

/** The ends that the helper gave for a launch; the pump closes them. A terminal's bytes pass a pipe on their way, so that they can be spliced. */
export type Ends =
  | { readonly kind: 'pipes'; readonly stdout: number; readonly stderr: number }
  | { readonly kind: 'tty'; readonly master: number; readonly relayRead: number; readonly relayWrite: number };

/** The output of one run. */
export type Flow = {
  /** The process has ended: takes what is still there, then ends the run. */
  readonly exited: () => void;
  /** Resolves after the last byte is in the log. */
  readonly done: Promise<void>;
};

export type Pump = {
  readonly start: (log: Log, ends: Ends) => Flow;
  readonly close: () => void;
};

type Source = {
  readonly watched: number;
  readonly move: () => Moved;
  readonly closeAll: () => void;
  ended: boolean;
  parked: boolean;
  readonly flow: FlowState;
};
type FlowState = {
  readonly log: Log;
  readonly sources: Source[];
  exited: boolean;
  finished: boolean;
  readonly finish: () => void;
};

const RETRY_MS = 1000;
const SWEEP_MS = 30_000;
/** Moves before the others get their turn. */
const ROUNDS = 4;
const TTY_BYTES = 1 << 14;

/** Makes the pump; it costs nothing while no container prints. */
export function makePump(): Pump {
  const sources = new Map<number, Source>();
  const flows = new Set<FlowState>();
  const poller = makePoller(() => {
    for (const { fd } of poller.ready()) {
      const source = sources.get(fd);
      if (source !== undefined) advance(source);
    }
  });
  const advance = (source: Source): void => {
    let moved: Moved = 'some';
    for (let round = 0; round < ROUNDS && moved === 'some'; round++) moved = source.move();
    if (moved === 'end') end(source);
    else if (moved === 'stuck') park(source);
    if (source.flow.exited) settle(source.flow);
  };
  const end = (source: Source): void => {
    if (source.ended) return;
    source.ended = true;
    if (!source.parked) poller.drop(source.watched);
    sources.delete(source.watched);
    source.closeAll();
  };
  const park = (source: Source): void => {
    if (source.parked || source.ended) return;
    source.parked = true;
    poller.drop(source.watched);
    setTimeout(() => {
      source.parked = false;
      if (source.ended) return;
      poller.add(source.watched);
      advance(source);
    }, RETRY_MS).unref();
  };
  /** After the exit: what is empty now stays empty, unless a process of another container holds the pipe too. */
  const settle = (flow: FlowState): void => {
    if (flow.finished) return;
    for (const source of flow.sources) {
      let moved: Moved = source.ended ? 'end' : 'some';
      while (moved === 'some') moved = source.move();
      if (moved === 'stuck') park(source);
      else end(source);
    }
    if (flow.sources.some((source) => !source.ended)) return;
    flow.finished = true;
    flows.delete(flow);
    flow.finish();
  };
  const sweeper = setInterval(() => {
    for (const { log } of flows) sweepLog(log);
  }, SWEEP_MS).unref();
  return {
    start: (log, ends) => {
      const { flow, done } = newFlow(log, ends);
      flows.add(flow);
      for (const source of flow.sources) {
        sources.set(source.watched, source);
        poller.add(source.watched);
      }
      return {
        exited: () => {
          flow.exited = true;
          settle(flow);
        },
        done,
      };
    },
    close: () => {
      clearInterval(sweeper);
      for (const source of [...sources.values()]) end(source);
      poller.close();
    },
  };
}

function newFlow(log: Log, ends: Ends): { flow: FlowState; done: Promise<void> } {
  let finish = (): void => {};
  const done = new Promise<void>((resolve) => {
    finish = () => {
      endRun(log);
      resolve();
    };
  });
  const flow: FlowState = { log, sources: [], exited: false, finished: false, finish };
  flow.sources.push(...sourcesOf(flow, ends));
  return { flow, done };
}

function sourcesOf(flow: FlowState, ends: Ends): Source[] {
  const state = { ended: false, parked: false, flow };
  if (ends.kind === 'pipes') {
    const one = (stream: StreamNumber, fd: number): Source => ({
      ...state,
      watched: fd,
      move: () => moveIn(flow.log, stream, fd),
      closeAll: () => closeFd(fd),
    });
    return [one(1, ends.stdout), one(2, ends.stderr)];
  }
  setNonblocking(ends.master);
  const closeAll = (): void => {
    for (const fd of [ends.master, ends.relayRead, ends.relayWrite]) closeFd(fd);
  };
  return [{ ...state, watched: ends.master, move: () => moveTty(flow, ends), closeAll }];
}

/**
 * Terminal to relay, relay to file. What the relay holds from an earlier engine goes first. EIO: no process has the terminal open, which is
 * the end only once the container's first process is gone (an init may close its console and open it again).
 */
function moveTty({ log, exited }: FlowState, ends: Ends & { readonly kind: 'tty' }): Moved {
  const before = moveIn(log, 1, ends.relayRead);
  if (before === 'stuck') return 'stuck';
  let count = splicePipes(ends.master, ends.relayWrite, TTY_BYTES);
  if (count === -E.EINVAL) count = copyTty(ends);
  if (count === -E.EAGAIN) return before;
  if (count === -E.EIO || count === 0) return before === 'some' ? 'some' : exited ? 'end' : 'stuck';
  if (count < 0) throw new Error(`terminal: splice: errno ${-count}`);
  const after = moveIn(log, 1, ends.relayRead);
  return after === 'nothing' ? 'some' : after;
}

/** For kernels that cannot splice from a terminal. The relay is empty here, so it has room for all of it. */
function copyTty(ends: Ends & { readonly kind: 'tty' }): number {
  const bytes = Buffer.allocUnsafe(TTY_BYTES);
  try {
    const count = readSync(ends.master, bytes);
    return count === 0 ? 0 : writeSync(ends.relayWrite, bytes, 0, count);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EAGAIN') return -E.EAGAIN;
    if (code === 'EIO') return -E.EIO;
    throw error;
  }
}
