// What the helper tells: at first all it knows, which is held against our records (an engine or helper may have been away, or the machine),
// then what happens.
import type { Event, Exited, HelloReply, Snapshot } from '../../proto/gen/berth/helper/v1/request.ts';
import { State } from '../../proto/gen/berth/helper/v1/request.ts';
import { asContainerId } from '../base/brand.ts';
import { isStateRefusal } from '../link/refusal.ts';
import type { Watcher } from '../link/connection.ts';
import { containerConfig } from '../spec/docker-config.ts';
import { emptyCreateBody } from '../spec/docker-api.ts';
import { wallNs } from './clock.ts';
import { type Container, type Exit, exitCode, inTurn, makeContainer } from './container.ts';
import { type Context, emit, save, saveSoon } from './context.ts';
import type { ExecTable } from './exec.ts';
import { adopt, afterwards, endsOf, processEnded } from './run.ts';

export type World = { readonly context: Context; readonly execs: ExecTable };

/** `world` may be asked once the engine is made; no event comes before. `settled` is called after each reconciliation. */
export function makeWatcher(world: () => World, settled: () => void): Watcher {
  let snapshots: Snapshot[] = [];
  let clock = { bootNs: 0n, hrNs: 0n };
  let running = new Set<string>();
  const exitOf = (exited: Exited): Exit => {
    const bootNow = clock.bootNs + process.hrtime.bigint() - clock.hrNs;
    const agoNs = bootNow > exited.bootNs ? bootNow - exited.bootNs : 0n;
    return { code: exitCode(exited.status), bootNs: exited.bootNs, agoNs, outOfMemory: exited.outOfMemory };
  };
  return {
    up: (hello: HelloReply) => {
      snapshots = [];
      clock = { bootNs: hello.bootNs, hrNs: process.hrtime.bigint() };
      running = runningNow(world().context);
    },
    down: (problem) => world().context.log(`helper: ${problem}`),
    event: ({ event }: Event) => {
      switch (event?.$case) {
        case 'snapshot':
          snapshots.push(event.value);
          break;
        case 'ready':
          void reconcile(world(), { snapshots, running }, exitOf).then(settled);
          snapshots = [];
          break;
        case 'exited':
          told(world(), event.value, exitOf(event.value));
          break;
        case 'outOfMemory':
          noteOutOfMemory(world().context, event.value.container);
          break;
        case undefined:
          break;
      }
    },
  };
}

function told(world: World, { container: id, exec }: Exited, exit: Exit): void {
  const { context, execs } = world;
  if (exec !== '') {
    execs.ended({ container: id, exec }, exit);
    return;
  }
  const container = context.containers.get(asContainerId(id) ?? ('' as never));
  if (container !== undefined) processEnded(context, container, exit);
}

function noteOutOfMemory(context: Context, id: string): void {
  const container = context.containers.get(asContainerId(id) ?? ('' as never));
  if (container === undefined) return;
  const { state } = container.record;
  if (state.kind === 'running') saveSoon(context, container, { state: { ...state, outOfMemory: true } });
  emit(context, container, { action: 'oom' });
}

type ReadExit = (exited: Exited) => Exit;

/** What the helper knew when we connected, and which runs we knew of then. */
type Picture = { readonly snapshots: readonly Snapshot[]; readonly running: ReadonlySet<string> };

/** Names a run: the container and when it was started. */
function runOf({ record }: Container): string {
  return record.state.kind === 'running' ? `${record.id} ${record.state.bootNs}` : '';
}

function runningNow(context: Context): Set<string> {
  return new Set([...context.containers.values()].map(runOf));
}

/** Makes records and the helper's truth one. Each container in its turn; a failure with one is logged and does not keep the others. */
async function reconcile(world: World, { snapshots, running }: Picture, exitOf: ReadExit): Promise<void> {
  const { context } = world;
  const byId = new Map(snapshots.filter((one) => one.exec === '').map((one) => [one.container, one]));
  for (const one of snapshots)
    if (one.exec === '' && !context.containers.has(one.container as never)) adoptOrphan(context, one);
  const work = [...context.containers.values()].map((container) => {
    const snapshot = byId.get(container.record.id);
    const exit = snapshot?.exited === undefined ? undefined : exitOf(snapshot.exited);
    return inTurn(container, () =>
      reconcileOne(context, container, { snapshot, exit, ranBefore: running.has(runOf(container)) }),
    ).catch((error: unknown) => {
      context.log(
        `container ${container.record.id}: reconcile: ${error instanceof Error ? error.message : String(error)}`,
      );
    });
  });
  for (const one of snapshots) if (one.exec !== '') reconcileExec(world, one, exitOf);
  await Promise.all(work);
}

/** `ranBefore`: it ran by our records when the connection was made. */
type Told = { readonly snapshot: Snapshot | undefined; readonly exit: Exit | undefined; readonly ranBefore: boolean };

async function reconcileOne(context: Context, container: Container, told: Told): Promise<void> {
  const { state } = container.record;
  const { snapshot, exit } = told;
  if (snapshot === undefined) {
    // One that was started since is not in the picture.
    if (state.kind === 'running' && told.ranBefore) lost(context, container);
    return;
  }
  if (snapshot.state === State.STATE_RUNNING) {
    if (state.kind === 'running' && container.flow !== undefined) return;
    noteRunning(context, container, snapshot);
    return attachAgain(context, container);
  }
  if (exit === undefined || (state.kind === 'exited' && BigInt(state.bootNs) >= exit.bootNs)) return;
  if (state.kind !== 'running') noteRunning(context, container, snapshot);
  if (container.flow === undefined) await attachAgain(context, container);
  processEnded(context, container, exit);
}

/** It runs, whatever our record says: we were killed before it could be written. */
function noteRunning(context: Context, container: Container, snapshot: Snapshot): void {
  const { state } = container.record;
  const now = String(wallNs());
  const startedNs = state.kind === 'running' ? state.startedNs : now;
  const bootNs = state.kind === 'running' ? state.bootNs : '0';
  const outOfMemory = state.kind === 'running' && state.outOfMemory;
  saveSoon(context, container, {
    state: { kind: 'running', pid: snapshot.pid, startedNs, bootNs, paused: snapshot.frozen, outOfMemory },
    ranBefore: true,
  });
}

/** Gets the ends of its streams back and moves its output on. What it wrote meanwhile is in the pipes. */
async function attachAgain(context: Context, container: Container): Promise<void> {
  const { id, body } = container.record;
  try {
    const { fds } = await context.link.send({ $case: 'attach', value: { container: id, exec: '' } }, { wantFds: true });
    if (container.flow === undefined && fds.length > 0)
      adopt(context, container, endsOf(body.Tty, body.OpenStdin, fds));
  } catch (error) {
    if (!isStateRefusal(error)) throw error;
  }
}

const LOST_CODE = 255;

/** The helper does not know it any more: the machine was started anew. As Docker, 255. */
function lost(context: Context, container: Container): void {
  const { state } = container.record;
  if (state.kind !== 'running') return;
  const finishedNs = String(wallNs());
  container.flow?.exited();
  save(context, container, {
    state: {
      kind: 'exited',
      bootNs: '0',
      code: LOST_CODE,
      outOfMemory: false,
      error: '',
      startedNs: state.startedNs,
      finishedNs,
    },
  });
  const result = { code: LOST_CODE, outOfMemory: false, error: undefined };
  for (const tell of container.exitWaiters) tell(result);
  container.exitWaiters.clear();
  void afterwards(context, container, 0).catch((error: unknown) =>
    context.log(`container ${container.record.id}: ${String(error)}`),
  );
}

/** The helper has one that we have no record of (ours was lost): with what can be known it can at least be stopped and removed. */
function adoptOrphan(context: Context, snapshot: Snapshot): void {
  const id = asContainerId(snapshot.container);
  if (id === undefined) return;
  const body = { ...emptyCreateBody(), Tty: snapshot.tty, OpenStdin: snapshot.stdin };
  const container = makeContainer({
    version: 1,
    id,
    name: `found_${id.slice(0, 12)}`,
    createdNs: String(wallNs()),
    body,
    config: containerConfig.zero(),
    image: undefined,
    state: {
      kind: 'running',
      pid: snapshot.pid,
      startedNs: String(wallNs()),
      bootNs: '0',
      paused: snapshot.frozen,
      outOfMemory: false,
    },
    stopSignal: 15,
    joinable: undefined,
    restartCount: 0,
    stoppedByUser: true,
    ranBefore: true,
  });
  save(context, container, {});
  context.containers.set(id, container);
  context.log(`container ${id}: the helper has it, there was no record of it: it is ${container.record.name} now`);
}

/** An exec from before a restart of the engine has no client any more: what it prints is for nobody, but it must not wait for a reader. */
function reconcileExec({ context, execs }: World, snapshot: Snapshot, exitOf: ReadExit): void {
  const { container, exec } = snapshot;
  if (snapshot.state === State.STATE_EXITED) {
    if (snapshot.exited !== undefined) execs.ended({ container, exec }, exitOf(snapshot.exited));
  } else if (!execs.has(exec)) {
    context.link
      .send({ $case: 'attach', value: { container, exec } }, { wantFds: true })
      .then(({ fds }) => execs.drain(endsOf(snapshot.tty, snapshot.stdin, fds)))
      .catch((error: unknown) =>
        context.log(`exec ${exec}: ${error instanceof Error ? error.message : String(error)}`),
      );
  }
}
