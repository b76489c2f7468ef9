// What the engine knows of a container: the part that is kept on disk (Record), and beside it, while it runs, descriptors and who waits.
import type { ContainerId, Digest } from '../base/brand.ts';
import type { ImageFacts } from '../plan/facts.ts';
import type { UserNsOwner } from '../plan/namespaces.ts';
import type { ContainerCreateBody } from '../spec/docker-api.ts';
import type { ContainerConfig } from '../spec/docker-config.ts';
import type { ExitResult } from './engine.ts';
import type { Log } from './log.ts';
import type { Flow } from './pump.ts';

/** Times are nanoseconds since 1970 as decimal texts: JSON has no larger numbers. */
export type StateRecord =
  /** `error` and `code`: of a start that failed. */
  | { readonly kind: 'created'; readonly error: string; readonly code: number }
  | {
      readonly kind: 'running';
      readonly pid: number;
      readonly startedNs: string;
      readonly bootNs: string;
      readonly paused: boolean;
      readonly outOfMemory: boolean;
    }
  | {
      readonly kind: 'exited';
      /** Of the exit, to tell it from a later one. */
      readonly bootNs: string;
      readonly code: number;
      readonly outOfMemory: boolean;
      readonly error: string;
      readonly startedNs: string;
      readonly finishedNs: string;
    };

export type ImageOfContainer = {
  readonly id: Digest;
  /** As the user wrote it. */
  readonly reference: string;
  /** Kept here, so that the container starts although its image was removed by force. */
  readonly facts: ImageFacts;
};

/** How a container runs that others may want to join: their generated files and user namespace follow from it. */
export type Joinable = {
  readonly userNamespace: UserNsOwner;
  readonly hostname: string;
  readonly domainname: string;
  readonly hosts: string;
  readonly resolvConf: string;
};

/** What is kept on disk, as JSON: the store's document. */
export type ContainerRecord = {
  readonly version: 1;
  readonly id: ContainerId;
  /** Without Docker's slash. */
  readonly name: string;
  readonly createdNs: string;
  /** As the user gave it, with later updates in it. */
  readonly body: ContainerCreateBody;
  /** With the image's own in it, for people; plans are made of `body` and `image`. */
  readonly config: ContainerConfig;
  /** Undefined: `--rootfs`. */
  readonly image: ImageOfContainer | undefined;
  readonly state: StateRecord;
  /** Number of the signal that `stop` sends first. */
  readonly stopSignal: number;
  /** As it was last started. */
  readonly joinable: Joinable | undefined;
  readonly restartCount: number;
  /** By a person: `unless-stopped` then does not start it again. */
  readonly stoppedByUser: boolean;
  /** Has run before: its writable layer may hold anything, so the image no longer tells what is there. */
  readonly ranBefore: boolean;
};

export type Container = {
  record: ContainerRecord;
  /** Output, opened when first needed. */
  log: Log | undefined;
  /** While it runs and this engine moves its output. */
  flow: Flow | undefined;
  /** Write end of standard input, or a duplicate of the terminal's master. */
  input: number | undefined;
  terminal: number | undefined;
  /** Attachments from before the start wait for standard input. */
  readonly inputReady: Set<() => void>;
  /** Verbs that change it, one after the other. */
  queue: Promise<unknown>;
  /** Between the request to launch and its answer: an exit that is seen meanwhile is kept here. */
  starting: boolean;
  earlyExit: Exit | undefined;
  /** Being removed, or gone. */
  removing: boolean;
  readonly exitWaiters: Set<(exit: ExitResult) => void>;
  readonly removeWaiters: Set<(exit: ExitResult) => void>;
  /** The next start that the restart policy has planned. */
  restartTimer: NodeJS.Timeout | undefined;
  backoffMs: number;
  readonly execs: Set<string>;
};

/** An exit as the helper tells it. */
export type Exit = {
  readonly code: number;
  /** Nanoseconds of the boot clock, and how long ago that was. */
  readonly bootNs: bigint;
  readonly agoNs: bigint;
  readonly outOfMemory: boolean;
};

export function makeContainer(record: ContainerRecord): Container {
  return {
    record,
    log: undefined,
    flow: undefined,
    input: undefined,
    terminal: undefined,
    inputReady: new Set(),
    queue: Promise.resolve(),
    starting: false,
    earlyExit: undefined,
    removing: false,
    exitWaiters: new Set(),
    removeWaiters: new Set(),
    restartTimer: undefined,
    backoffMs: 0,
    execs: new Set(),
  };
}

/** Docker's word for the state. */
export function statusOf(
  container: Container,
): 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' {
  const { state } = container.record;
  if (container.removing) return 'removing';
  if (state.kind === 'running') return state.paused ? 'paused' : 'running';
  if (container.restartTimer !== undefined) return 'restarting';
  return state.kind;
}

/** Runs one change after the others of this container; a failed one does not stop the next. */
export function inTurn<T>(container: Container, work: () => Promise<T>): Promise<T> {
  const next = container.queue.then(work, work);
  container.queue = next.catch(() => {});
  return next;
}

/** The exit code a shell gives: 128 and the signal's number for a signal. `status` is wait(2)'s. */
export function exitCode(status: number): number {
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}

export function exitOf(record: ContainerRecord): ExitResult {
  const { state } = record;
  if (state.kind === 'running') return { code: 0, outOfMemory: false, error: undefined };
  return {
    code: state.code,
    outOfMemory: state.kind === 'exited' && state.outOfMemory,
    error: state.error === '' ? undefined : state.error,
  };
}
