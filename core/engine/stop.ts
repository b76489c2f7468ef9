// Signals to containers: kill, stop with its grace, pause.
import { setTimeout as sleep } from 'node:timers/promises';
import { SIGKILL, SIGTERM } from '../../proto/abi/signal.gen.ts';
import { BerthError } from '../base/errors.ts';
import { parseSignal } from '../plan/signal.ts';
import { type Container, inTurn } from './container.ts';
import { type Context, emit, saveSoon } from './context.ts';
import type { ExitResult } from './engine.ts';
import { cancelRestart, startNow } from './run.ts';

const STOP_TIMEOUT_S = 10;
/** A killed process is gone at once, unless the kernel keeps it in an uninterruptible wait. */
const KILL_TIMEOUT_MS = 10_000;

export type StopMore = { readonly timeoutS: number | undefined; readonly signal?: string | undefined };

/** Resolves at the next exit. */
export function nextExit(container: Container): Promise<ExitResult> {
  return new Promise((resolve) => container.exitWaiters.add(resolve));
}

async function send(context: Context, container: Container, signal: number): Promise<void> {
  // A container that shares its pid namespace does not die with its first process.
  const all = signal === SIGKILL;
  await context.link.send({ $case: 'signal', value: { container: container.record.id, exec: '', signal, all } });
  emit(context, container, { action: 'kill', more: { signal: String(signal) } });
}

/** Sends a signal; one that is no longer there to get it has what was wanted. False: it did not run any more. */
async function sendIfRunning(context: Context, container: Container, signal: number): Promise<boolean> {
  try {
    await send(context, container, signal);
    return true;
  } catch (error) {
    if (container.record.state.kind !== 'running') return false;
    throw error;
  }
}

/** `stop`; false when it did not run. */
export async function stop(context: Context, container: Container, more: StopMore): Promise<boolean> {
  if (container.record.state.kind !== 'running') {
    if (!cancelRestart(container)) return false;
    saveSoon(context, container, { stoppedByUser: true });
    return true;
  }
  const { body, stopSignal, state } = container.record;
  const signal = more.signal === undefined || more.signal === '' ? stopSignal : parseSignal(more.signal);
  const timeoutS = more.timeoutS ?? body.StopTimeout ?? STOP_TIMEOUT_S;
  saveSoon(context, container, { stoppedByUser: true });
  const exit = nextExit(container);
  if (await sendIfRunning(context, container, signal)) {
    // A frozen process gets its signals when it runs again.
    if (state.paused) await thaw(context, container);
    const ended = timeoutS < 0 ? await exit : await Promise.race([exit, grace(timeoutS)]);
    if (ended === undefined) await killAndWait(context, container);
  }
  emit(context, container, { action: 'stop' });
  return true;
}

async function grace(timeoutS: number): Promise<undefined> {
  await sleep(timeoutS * 1000, undefined, { ref: false });
}

/** SIGKILL, and back when it is gone. Throws conflict when the kernel does not let go of it. */
export async function killAndWait(context: Context, container: Container): Promise<void> {
  const { state } = container.record;
  if (state.kind !== 'running') return;
  saveSoon(context, container, { stoppedByUser: true });
  const exit = nextExit(container);
  if (!(await sendIfRunning(context, container, SIGKILL))) return;
  if (state.paused) await thaw(context, container);
  const ended = await Promise.race([exit, sleep(KILL_TIMEOUT_MS, undefined, { ref: false })]);
  if (ended === undefined) {
    throw new BerthError(
      'conflict',
      `tried to kill container ${container.record.id}, but did not receive an exit event`,
      {
        hint: `process ${state.pid} hangs in the kernel; its state is in /proc/${state.pid}/stack`,
      },
    );
  }
}

/** `kill`. Throws container_not_running, bad_parameter for an unknown signal. */
export async function kill(context: Context, container: Container, text: string): Promise<void> {
  const signal = text === '' ? SIGKILL : parseSignal(text);
  const { id, state, stopSignal } = container.record;
  if (state.kind !== 'running') throw notRunning(`container ${id} is not running`);
  // Whoever sends such a signal does not want the restart policy to undo it. Source: moby daemon/kill.go.
  if (signal === SIGKILL || signal === SIGTERM || signal === stopSignal)
    saveSoon(context, container, { stoppedByUser: true });
  if (!(await sendIfRunning(context, container, signal))) throw notRunning(`container ${id} is not running`);
  if (signal === SIGKILL && state.paused) await thaw(context, container);
}

export function notRunning(message: string): BerthError {
  return new BerthError('container_not_running', message);
}

/** `restart`: stop, if it runs, and start. */
export async function restart(context: Context, container: Container, more: StopMore): Promise<void> {
  await stop(context, container, more);
  await inTurn(container, () => startNow(context, container));
  emit(context, container, { action: 'restart' });
}

/** `pause` and `unpause`. */
export async function setFrozen(context: Context, container: Container, frozen: boolean): Promise<void> {
  const { id, state } = container.record;
  if (!frozen && !(state.kind === 'running' && state.paused))
    throw new BerthError('conflict', `container ${id} is not paused`);
  if (state.kind !== 'running') throw notRunning(`container ${id} is not running`);
  if (state.paused === frozen) throw new BerthError('conflict', `container ${id} is already paused`);
  await context.link.send({ $case: 'pause', value: { container: id, frozen } });
  notePaused(context, container, frozen);
  emit(context, container, { action: frozen ? 'pause' : 'unpause' });
}

async function thaw(context: Context, container: Container): Promise<void> {
  try {
    await context.link.send({ $case: 'pause', value: { container: container.record.id, frozen: false } });
    notePaused(context, container, false);
  } catch (error) {
    if (container.record.state.kind === 'running') throw error;
  }
}

function notePaused(context: Context, container: Container, paused: boolean): void {
  const { state } = container.record;
  if (state.kind === 'running') saveSoon(context, container, { state: { ...state, paused } });
}
