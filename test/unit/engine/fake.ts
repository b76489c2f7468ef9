// An engine without a helper: real store, logs and pump in a temporary directory, and a link whose answers the test gives. A launch gives real
// pipes, so that output, input and exits pass the same ways as always.
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asContainerId, asDigest, type ContainerId, type Digest } from '../../../core/base/brand.ts';
import { type ContainerRecord, makeContainer } from '../../../core/engine/container.ts';
import { makeContainers } from '../../../core/engine/containers.ts';
import { type Context, flush } from '../../../core/engine/context.ts';
import type { Containers, EngineEvent, Execs } from '../../../core/engine/engine.ts';
import { makeEvents } from '../../../core/engine/events.ts';
import { makeExecs } from '../../../core/engine/exec.ts';
import { mergedConfig } from '../../../core/engine/config.ts';
import { makePump } from '../../../core/engine/pump.ts';
import { makeWatcher } from '../../../core/engine/reconcile.ts';
import type { Link } from '../../../core/link/link.ts';
import type { Verb } from '../../../core/link/session.ts';
import { type ContainerCreateBody, emptyCreateBody } from '../../../core/spec/docker-api.ts';
import { saveContainer } from '../../../core/store/containers.ts';
import { openStore } from '../../../core/store/open.ts';
import { makePipe } from '../../../core/sys/pipe.ts';
import { type Event, HelloReply, Result, type Snapshot, State } from '../../../proto/gen/berth/helper/v1/request.ts';

/** A process as the fake helper knows it: the far ends of its streams. */
export type FakeProcess = {
  readonly id: string;
  readonly bootNs: bigint;
  readonly print: (text: string) => void;
  /** Closes its streams and tells. */
  readonly exit: (status: number, more?: { readonly outOfMemory?: boolean }) => void;
  /** Closes its streams and does not tell: nobody was there to hear. */
  readonly vanish: () => void;
};

export type FakeEngine = {
  readonly context: Context;
  readonly containers: Containers;
  readonly execs: Execs;
  readonly sent: Verb[];
  readonly processes: Map<string, FakeProcess>;
  readonly events: string[];
  /** Makes a created container without asking anybody. */
  readonly make: (body?: Partial<ContainerCreateBody>, change?: Partial<ContainerRecord>) => ContainerId;
  /** What the next request is answered with instead: throw to fail. */
  readonly next: { answer: ((verb: Verb) => void) | undefined };
  /** A new connection with these snapshots. */
  readonly connect: (snapshots: readonly Partial<Snapshot>[]) => Promise<void>;
  readonly tell: (event: Event['event']) => void;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export const IMAGE_ID = asDigest(`sha256:${'a'.repeat(64)}`) as Digest;

export function fakeEngine(): FakeEngine {
  const dir = mkdtempSync(join(tmpdir(), 'berth-engine-'));
  const processes = new Map<string, FakeProcess>();
  const sent: Verb[] = [];
  const next: FakeEngine['next'] = { answer: undefined };
  const hello = HelloReply.fromPartial({
    bootNs: process.hrtime.bigint(),
    capabilities: (1n << 41n) - 1n,
    uidCountMax: 65_536n,
  });
  let settled = (): void => {};
  const link = fakeLink({ hello, sent, next, processes, told: (event) => watcher.event({ event }) });
  const events = makeEvents();
  const context: Context = {
    link,
    store: openStore(dir),
    pump: makePump(),
    events,
    imageFiles: {
      text: async () => '',
      look: async () => ({}),
      known: () => ({}),
      owners: async () => ({ highestUid: 0, highestGid: 0 }),
      forget: () => {},
      close: () => {},
    },
    containers: new Map(),
    dir,
    log: (line) => logged.push(line),
    unsaved: new Set(),
  };
  const logged: string[] = [];
  const names: string[] = [];
  const execs = makeExecs(context);
  const watcher = makeWatcher(
    () => ({ context, execs }),
    () => settled(),
  );
  void follow(events.subscribe({ sinceNs: undefined, untilNs: undefined, filters: {} }), names);
  return {
    context,
    containers: makeContainers(context),
    execs: execs.verbs,
    sent,
    processes,
    events: names,
    make: (body, change) => makeRecord(context, { ...emptyCreateBody(), Image: 'bb:1', Cmd: ['sh'], ...body }, change),
    next,
    connect: async (snapshots) => {
      watcher.up(hello);
      for (const snapshot of snapshots)
        watcher.event({ event: { $case: 'snapshot', value: { ...EMPTY, ...snapshot } } });
      const done = new Promise<void>((resolve) => {
        settled = resolve;
      });
      watcher.event({ event: { $case: 'ready', value: {} } });
      await done;
    },
    tell: (event) => watcher.event({ event }),
    [Symbol.asyncDispose]: async () => {
      flush(context);
      for (const one of processes.values()) one.vanish();
      context.pump.close();
      context.store[Symbol.dispose]();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const EMPTY: Snapshot = {
  container: '',
  exec: '',
  state: State.STATE_RUNNING,
  pid: 0,
  exited: undefined,
  frozen: false,
  stdin: false,
  tty: false,
};

async function follow(events: AsyncIterable<EngineEvent>, names: string[]): Promise<void> {
  for await (const event of events) names.push(event.action);
}

function makeRecord(context: Context, body: ContainerCreateBody, change: Partial<ContainerRecord> = {}): ContainerId {
  const id = asContainerId(randomBytes(32).toString('hex'));
  if (id === undefined) throw new Error('no id');
  const config = {
    env: ['PATH=/bin'],
    entrypoint: undefined,
    cmd: undefined,
    workingDir: '',
    user: '',
    volumes: [],
    stopSignal: '',
  };
  const record: ContainerRecord = {
    version: 1,
    id,
    name: `c${context.containers.size}_${id.slice(0, 6)}`,
    createdNs: String(Date.now() * 1_000_000),
    body,
    config: mergedConfig(body, undefined, id.slice(0, 12)),
    image: { id: IMAGE_ID, reference: 'bb:1', facts: { layers: [IMAGE_ID], config, highestUid: 0, highestGid: 0 } },
    state: { kind: 'created', error: '', code: 0 },
    stopSignal: 15,
    joinable: undefined,
    restartCount: 0,
    stoppedByUser: false,
    ranBefore: false,
    ...change,
  };
  saveContainer(context.store, { id, name: record.name, document: record });
  context.containers.set(id, makeContainer(record));
  return id;
}

type LinkParts = {
  readonly hello: HelloReply;
  readonly sent: Verb[];
  readonly next: FakeEngine['next'];
  readonly processes: Map<string, FakeProcess>;
  readonly told: (event: Event['event']) => void;
};

function fakeLink({ hello, sent, next, processes, told }: LinkParts): Link {
  const ends = new Map<string, readonly number[]>();
  const answer = (outcome: Result['outcome']): Result => ({ ...Result.fromPartial({}), allowed: true, outcome });
  return {
    hello: async () => hello,
    known: () => ({ hello, problem: undefined }),
    dryRun: async () => answer(undefined),
    close: () => {},
    send: async (verb) => {
      sent.push(verb);
      const own = next.answer;
      next.answer = undefined;
      own?.(verb);
      if (verb.$case === 'launch') {
        const { fds, made } = newProcess(verb.value.id, told);
        processes.set(verb.value.id, made);
        ends.set(verb.value.id, fds);
        return {
          result: answer({ $case: 'launched', value: { pid: 4242, block: 0, bootNs: made.bootNs, phases: undefined } }),
          fds: [...fds],
        };
      }
      if (verb.$case === 'attach') {
        const { fds, made } = newProcess(verb.value.container, told);
        processes.set(verb.value.container, made);
        return { result: answer({ $case: 'done', value: {} }), fds: [...fds] };
      }
      const process = verb.$case === 'signal' ? processes.get(verb.value.container) : undefined;
      if (verb.$case === 'signal' && verb.value.signal === 9) setImmediate(() => process?.exit(9));
      return { result: answer({ $case: 'done', value: {} }), fds: [] };
    },
  };
}

function newProcess(id: string, told: LinkParts['told']): { fds: readonly number[]; made: FakeProcess } {
  const [out, err] = [makePipe(), makePipe()];
  const bootNs = process.hrtime.bigint();
  let open = true;
  const vanish = (): void => {
    if (!open) return;
    open = false;
    closeSync(out.write);
    closeSync(err.write);
  };
  const exit: FakeProcess['exit'] = (status, more = {}) => {
    vanish();
    told({
      $case: 'exited',
      value: {
        container: id,
        exec: '',
        status,
        bootNs: process.hrtime.bigint(),
        outOfMemory: more.outOfMemory ?? false,
      },
    });
  };
  return {
    fds: [out.read, err.read],
    made: { id, bootNs, print: (text) => void writeSync(out.write, text), exit, vanish },
  };
}
