// Starting a container's process, and what follows from its end: record, waiters, removal, the restart policy.
import { CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { SIGKILL } from '../../proto/abi/signal.gen.ts';
import type { Launched } from '../../proto/gen/berth/helper/v1/request.ts';
import { BerthError, type Code } from '../base/errors.ts';
import { planContainer, wantedBinds } from '../plan/container.ts';
import type { Plan } from '../plan/container.ts';
import { closeFd, duplicate, openPath } from '../sys/fd.ts';
import { closeAll, openBinds } from './binds.ts';
import { wallNs } from './clock.ts';
import { type Container, type Exit, exitOf, type Joinable } from './container.ts';
import { type Context, emit, saveSoon } from './context.ts';
import { readFacts } from './facts.ts';
import { commandOf } from './inspect.ts';
import { endRun } from './log.ts';
import { logOf } from './output.ts';
import type { Ends } from './pump.ts';
import { removeNow } from './remove.ts';

/** Starts a container that does not run; false when it runs already. Its turn has come (inTurn). */
export async function startNow(context: Context, container: Container): Promise<boolean> {
  if (container.removing)
    throw new BerthError('conflict', `container ${container.record.id} is marked for removal and cannot be started`);
  if (container.record.state.kind === 'running') {
    if (container.record.state.paused)
      throw new BerthError('conflict', 'cannot start a paused container, try unpause instead');
    return false;
  }
  cancelRestart(container);
  await container.flow?.done;
  try {
    await launch(context, container);
  } catch (error) {
    await startFailed(context, container, error);
    throw wrapped(container, error);
  }
  return true;
}

async function launch(context: Context, container: Container): Promise<void> {
  const { record } = container;
  const { body } = record;
  const rootFds = record.image === undefined ? [openPath(body.Rootfs ?? '')] : [];
  const binds = openBinds(wantedBinds({ body }), rootFds.length);
  try {
    const facts = await readFacts(context, {
      id: record.id,
      body,
      image: record.image?.facts,
      binds: binds.facts,
      fresh: !record.ranBefore,
    });
    const plan = planContainer({ body }, facts);
    container.starting = true;
    container.earlyExit = undefined;
    const { result, fds } = await undoing(context, { container: record.id, exec: '' }, () =>
      context.link.send({ $case: 'launch', value: plan.launch }, { fds: [...rootFds, ...binds.fds], wantFds: true }),
    );
    if (result.outcome?.$case !== 'launched')
      throw new BerthError('internal', 'the helper answered a launch with something else');
    adopt(context, container, endsOf(body.Tty, body.OpenStdin, fds));
    started(context, container, { launched: result.outcome.value, plan });
  } finally {
    container.starting = false;
    closeAll([...rootFds, ...binds.fds]);
  }
  const early = takeEarlyExit(container);
  if (early !== undefined) processEnded(context, container, early);
}

/** What was started and cannot be taken over (no descriptor is free) is killed: nobody would read its output. */
export async function undoing<T>(
  context: Context,
  what: { readonly container: string; readonly exec: string },
  start: () => Promise<T>,
): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (error instanceof BerthError && error.code === 'no_descriptors') {
      const verb = { $case: 'signal' as const, value: { ...what, signal: SIGKILL, all: what.exec === '' } };
      await context.link
        .send(verb)
        .catch((failed: unknown) => context.log(`container ${what.container}: kill: ${String(failed)}`));
    }
    throw error;
  }
}

function takeEarlyExit(container: Container): Exit | undefined {
  const exit = container.earlyExit;
  container.earlyExit = undefined;
  return exit;
}

export type Given = { readonly ends: Ends; readonly input: number | undefined };

/** Sorts what came on the lane for a launch, exec or attach. The pidfd is not needed: the helper tells of exits. */
export function endsOf(tty: boolean, stdin: boolean, fds: readonly number[]): Given {
  const need = tty ? 3 : stdin ? 3 : 2;
  const [a = -1, b = -1, c = -1, ...rest] = tty || stdin ? fds : [-1, ...fds];
  if (fds.length < need || rest.length > 1) {
    closeAll(fds);
    throw new BerthError('internal', `the helper gave ${fds.length} descriptors`);
  }
  closeAll(rest);
  if (!tty) return { ends: { kind: 'pipes', stdout: b, stderr: c }, input: stdin ? a : undefined };
  return { ends: { kind: 'tty', master: a, relayRead: b, relayWrite: c }, input: duplicate(a) };
}

/** Moves the container's output from now on. */
export function adopt(context: Context, container: Container, given: Given): void {
  const log = logOf(context, container);
  container.input = given.input;
  container.terminal = given.ends.kind === 'tty' ? given.input : undefined;
  container.flow = context.pump.start(log, given.ends);
  const waiting = [...container.inputReady];
  container.inputReady.clear();
  for (const ready of waiting) ready();
}

function started(
  context: Context,
  container: Container,
  how: { readonly launched: Launched; readonly plan: Plan },
): void {
  const { launched, plan } = how;
  saveSoon(context, container, {
    state: {
      kind: 'running',
      pid: launched.pid,
      startedNs: String(wallNs()),
      bootNs: String(launched.bootNs),
      paused: false,
      outOfMemory: false,
    },
    stopSignal: plan.stopSignal,
    joinable: joinableOf(container, plan),
    ranBefore: true,
    stoppedByUser: false,
  });
  emit(context, container, { action: 'start' });
}

function joinableOf(container: Container, plan: Plan): Joinable {
  const { launch } = plan;
  const texts = launch.mounts.map((mount) =>
    mount.source?.$case === 'file' ? mount.source.value.content.toString('utf8') : '',
  );
  const join = launch.namespaces?.join.find((one) => one.namespace === BigInt(CLONE_NEWUSER));
  const own = ((launch.namespaces?.unshare ?? 0n) & BigInt(CLONE_NEWUSER)) !== 0n;
  const at = (target: string): string => texts[launch.mounts.findIndex((mount) => mount.target === target)] ?? '';
  return {
    userNamespace: own
      ? container.record.id
      : join === undefined
        ? 'host'
        : (join.container as Joinable['userNamespace']),
    hostname: launch.hostname,
    domainname: launch.domainname,
    hosts: at('/etc/hosts'),
    resolvConf: at('/etc/resolv.conf'),
  };
}

// As Docker: what could not be started stays "created", with the code its client exits with.
const START_CODES: Readonly<Partial<Record<Code, number>>> = { program_not_found: 127, not_executable: 126 };

async function startFailed(context: Context, container: Container, error: unknown): Promise<void> {
  const text = error instanceof Error ? error.message : String(error);
  const code = (error instanceof BerthError ? START_CODES[error.code] : undefined) ?? 128;
  saveSoon(context, container, { state: { kind: 'created', error: text, code } });
  for (const tell of container.exitWaiters) tell({ code, outOfMemory: false, error: text });
  container.exitWaiters.clear();
  if (container.log !== undefined) endRun(container.log);
  if (container.record.body.HostConfig.AutoRemove)
    await removeNow(context, container, { code, outOfMemory: false, error: text });
}

function wrapped(container: Container, error: unknown): unknown {
  if (!(error instanceof BerthError)) return error;
  const { code, message, hint } = spoken(error, commandOf(container.record)[0] ?? '');
  const more = hint === undefined ? { cause: error } : { cause: error, hint };
  return new BerthError(code, `cannot start container "${container.record.name}": ${message}`, more);
}

/** A program that could not be executed, in the words that Docker's client looks for; the planner says so itself where it looked. */
export function spoken(error: BerthError, program: string): BerthError {
  if (error.message.startsWith('exec') && !error.message.startsWith('execute')) return error;
  const hint = error.hint ?? (error.code === 'program_not_found' && program.includes('/') ? INTERPRETER : undefined);
  const more = hint === undefined ? { cause: error } : { cause: error, hint };
  const why = reasonOf(error, program);
  return why === undefined ? error : new BerthError(error.code, `exec: "${program}": ${why}`, more);
}

/** The kernel has one error for both. */
const INTERPRETER = 'if it is there, the interpreter of its #! line or its loader is not';

function reasonOf(error: BerthError, program: string): string | undefined {
  if (error.code === 'not_executable')
    return error.message.includes('ENOEXEC') ? 'exec format error' : 'permission denied';
  if (error.code !== 'program_not_found') return undefined;
  return program.includes('/') ? `stat ${program}: no such file or directory` : 'executable file not found in $PATH';
}

/** The helper says that the container's process has ended. Of an earlier run, or twice: nothing happens. */
export function processEnded(context: Context, container: Container, exit: Exit): void {
  if (container.starting) {
    container.earlyExit = exit;
    return;
  }
  const { state } = container.record;
  if (state.kind !== 'running' || exit.bootNs < BigInt(state.bootNs)) return;
  if (container.input !== undefined) closeFd(container.input);
  container.input = undefined;
  container.terminal = undefined;
  const { flow } = container;
  flow?.exited();
  const finishedNs = wallNs() - exit.agoNs;
  const outOfMemory = exit.outOfMemory || state.outOfMemory;
  saveSoon(context, container, {
    state: {
      kind: 'exited',
      bootNs: String(exit.bootNs),
      code: exit.code,
      outOfMemory,
      error: '',
      startedNs: state.startedNs,
      finishedNs: String(finishedNs),
    },
  });
  emit(context, container, { action: 'die', more: { exitCode: String(exit.code) } });
  const result = exitOf(container.record);
  for (const tell of container.exitWaiters) tell(result);
  container.exitWaiters.clear();
  const ranMs = Number((finishedNs - BigInt(state.startedNs)) / 1_000_000n);
  void afterwards(context, container, ranMs).catch((error: unknown) =>
    context.log(`container ${container.record.id}: ${String(error)}`),
  );
}

/** After an exit: removal or another start, once all output is in the log. */
export async function afterwards(context: Context, container: Container, ranMs: number): Promise<void> {
  const { flow } = container;
  await flow?.done;
  if (container.flow === flow) container.flow = undefined;
  if (container.record.body.HostConfig.AutoRemove) return removeNow(context, container, exitOf(container.record));
  if (wantsRestart(container)) scheduleRestart(context, container, ranMs);
}

function wantsRestart(container: Container): boolean {
  const { body, state, stoppedByUser, restartCount } = container.record;
  const { Name: name, MaximumRetryCount: most } = body.HostConfig.RestartPolicy;
  if (stoppedByUser || container.removing || state.kind !== 'exited') return false;
  if (name === 'always' || name === 'unless-stopped') return true;
  return name === 'on-failure' && state.code !== 0 && (most === 0 || restartCount < most);
}

// Source: moby, restartmanager: 100 ms, doubled each time up to a minute, from the start again after ten good seconds.
const BACKOFF_MS = { first: 100, most: 60_000, forgiven: 10_000 };

function scheduleRestart(context: Context, container: Container, ranMs: number): void {
  container.backoffMs =
    ranMs >= BACKOFF_MS.forgiven || container.backoffMs === 0
      ? BACKOFF_MS.first
      : Math.min(container.backoffMs * 2, BACKOFF_MS.most);
  container.restartTimer = setTimeout(() => {
    container.restartTimer = undefined;
    saveSoon(context, container, { restartCount: container.record.restartCount + 1 });
    container.queue = container.queue
      .then(() => startNow(context, container))
      .catch((error: unknown) =>
        context.log(
          `container ${container.record.id}: restart: ${error instanceof Error ? error.message : String(error)}`,
        ),
      );
  }, container.backoffMs);
}

/** A start that the policy has planned does not happen. */
export function cancelRestart(container: Container): boolean {
  if (container.restartTimer === undefined) return false;
  clearTimeout(container.restartTimer);
  container.restartTimer = undefined;
  return true;
}
