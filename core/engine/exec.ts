// Further processes in a running container. What is known of them lives in memory: Docker forgets execs at a restart, too.
import { randomBytes } from 'node:crypto';
import type { Exec } from '../../proto/gen/berth/helper/v1/request.ts';
import { BerthError } from '../base/errors.ts';
import { isStateRefusal } from '../link/refusal.ts';
import type { Answer } from '../link/session.ts';
import { planExec } from '../plan/exec.ts';
import type { ExecCreateBody, ExecInspect } from '../spec/docker-api.ts';
import { setWindowSize } from '../sys/fd.ts';
import type { Container, Exit } from './container.ts';
import { type Context, emit, findContainer } from './context.ts';
import type { Attachment, Execs } from './engine.ts';
import { type ExecStreams, execStreams } from './exec-streams.ts';
import { readFacts } from './facts.ts';
import { endsOf, type Given, spoken, undoing } from './run.ts';
import { notRunning } from './stop.ts';

type ExecState =
  | { readonly kind: 'created' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'running'; readonly pid: number; readonly streams: ExecStreams }
  | { readonly kind: 'exited'; readonly code: number };
export type ExecEntry = {
  readonly id: string;
  readonly container: Container;
  readonly body: ExecCreateBody;
  state: ExecState;
  earlyExit: Exit | undefined;
};

/** An exec that ended is remembered so long, for whoever asks for its code. Source: moby daemon/exec.go, five minutes. */
const REMEMBERED_MS = 5 * 60_000;

export type ExecTable = {
  readonly verbs: Execs;
  /** The helper says that one has ended; it is told to forget it as soon as its output is in our hands. */
  readonly ended: (name: { readonly container: string; readonly exec: string }, exit: Exit) => void;
  readonly has: (id: string) => boolean;
  /** Reads the output of one that has no client. */
  readonly drain: (given: Given) => void;
};

export function makeExecs(context: Context): ExecTable {
  const execs = new Map<string, ExecEntry>();
  const find = (id: string): ExecEntry => {
    const entry = execs.get(id);
    const gone = entry !== undefined && context.containers.get(entry.container.record.id) !== entry.container;
    if (gone) execs.delete(id);
    if (entry === undefined || gone) throw new BerthError('exec_not_found', `No such exec instance: ${id}`);
    return entry;
  };
  const ended = (entry: ExecEntry, exit: Exit): void => {
    if (entry.state.kind !== 'running') return;
    entry.state.streams.exited();
    entry.state = { kind: 'exited', code: exit.code };
    emit(context, entry.container, { action: 'exec_die', more: { execID: entry.id, exitCode: String(exit.code) } });
    forgetLater(entry);
  };
  const forgetLater = (entry: ExecEntry): void => {
    setTimeout(() => {
      execs.delete(entry.id);
      entry.container.execs.delete(entry.id);
    }, REMEMBERED_MS).unref();
  };
  const start: Execs['start'] = async (id, more) => {
    const entry = find(id);
    if (entry.state.kind !== 'created') throw new BerthError('conflict', `Error: Exec command ${id} has already run`);
    checkContainer(entry.container);
    entry.state = { kind: 'starting' };
    try {
      const running = await launchExec(context, entry, more);
      entry.state = running;
      emit(context, entry.container, { action: `exec_start: ${words(entry.body)}`, more: { execID: id } });
      const { earlyExit } = entry;
      if (earlyExit !== undefined) ended(entry, earlyExit);
      return attachment(entry, running.streams, more.detach);
    } catch (error) {
      entry.state = { kind: 'exited', code: codeOf(error) };
      forgetLater(entry);
      throw error instanceof BerthError ? spoken(error, entry.body.Cmd?.[0] ?? '') : error;
    } finally {
      if (entry.earlyExit !== undefined) tellForgotten(context, { container: entry.container.record.id, exec: id });
    }
  };
  return {
    verbs: {
      create: async (ref, body) => {
        const container = findContainer(context, ref);
        checkContainer(container);
        if ((body.Cmd ?? []).length === 0) throw new BerthError('bad_parameter', 'No exec command specified');
        const id = randomBytes(32).toString('hex');
        execs.set(id, { id, container, body, state: { kind: 'created' }, earlyExit: undefined });
        container.execs.add(id);
        emit(context, container, { action: `exec_create: ${words(body)}`, more: { execID: id } });
        return { id };
      },
      start,
      inspect: async (id) => inspectExec(find(id)),
      resize: async (id, { columns, rows }) => {
        const { state } = find(id);
        if (state.kind !== 'running') throw new BerthError('conflict', `exec ${id} is not running`);
        const terminal = state.streams.terminal();
        if (terminal !== undefined) setWindowSize(terminal, columns, rows);
      },
    },
    ended: (name, exit) => {
      const entry = execs.get(name.exec);
      if (entry?.state.kind === 'starting') {
        entry.earlyExit = exit;
        return;
      }
      if (entry !== undefined) ended(entry, exit);
      tellForgotten(context, name);
    },
    has: (id) => execs.has(id),
    drain: (given) => execStreams(given).discard(),
  };
}

/** The helper need not remember an exec's exit any longer. That it cannot be told is no loss. */
function tellForgotten(context: Context, name: { readonly container: string; readonly exec: string }): void {
  context.link.send({ $case: 'forget', value: name }).catch((error: unknown) => {
    if (!isStateRefusal(error))
      context.log(`exec ${name.exec}: ${error instanceof Error ? error.message : String(error)}`);
  });
}

function words(body: ExecCreateBody): string {
  return (body.Cmd ?? []).join(' ');
}

function checkContainer(container: Container): void {
  const { id, state } = container.record;
  if (state.kind !== 'running') throw notRunning(`container ${id} is not running`);
  if (state.paused) throw new BerthError('conflict', `Container ${id} is paused, unpause the container before exec`);
}

/** What is wrong before anything is started counts as what cannot be executed. Source: moby v28.2, daemon/exec.go ContainerExecStart. */
function codeOf(error: unknown): number {
  if (!(error instanceof BerthError)) return 128;
  return { program_not_found: 127, not_executable: 126, bad_parameter: 126 }[error.code as string] ?? 128;
}

type Size = { readonly columns?: number | undefined; readonly rows?: number | undefined };

async function launchExec(
  context: Context,
  entry: ExecEntry,
  size: Size,
): Promise<ExecState & { readonly kind: 'running' }> {
  const { container, body, id } = entry;
  const { record } = container;
  const facts = await readFacts(context, {
    id: record.id,
    body: record.body,
    image: record.image?.facts,
    binds: [],
    fresh: false,
  });
  const sized =
    size.rows === undefined || size.columns === undefined ? body : { ...body, ConsoleSize: [size.rows, size.columns] };
  const plan = planExec(
    { exec: sized, body: record.body },
    { facts, execId: id, hostname: record.joinable?.hostname ?? '' },
  );
  const { result, fds } = await undoing(context, { container: record.id, exec: id }, () =>
    sendExec(context, plan.exec),
  );
  // After a repeat the pid is not told: the helper that started it is gone.
  const pid = result.outcome?.$case === 'launched' ? result.outcome.value.pid : 0;
  return { kind: 'running', pid, streams: execStreams(endsOf(body.Tty, body.AttachStdin, fds)) };
}

/** An exec is started once: when the helper was killed after it had started it, the repeat is refused, and its streams are asked for. */
async function sendExec(context: Context, exec: Exec): Promise<Answer> {
  try {
    return await context.link.send({ $case: 'exec', value: exec }, { wantFds: true });
  } catch (error) {
    if (!isStateRefusal(error) || !error.reasons.some((reason) => reason.field === 'exec.id')) throw error;
    return context.link.send(
      { $case: 'attach', value: { container: exec.container, exec: exec.id } },
      { wantFds: true },
    );
  }
}

function attachment(entry: ExecEntry, streams: ExecStreams, detach: boolean): Attachment | undefined {
  const { body } = entry;
  if (detach) {
    streams.discard();
    return undefined;
  }
  return {
    tty: body.Tty,
    output: streams.output,
    input: body.AttachStdin ? streams.input : undefined,
    close: streams.discard,
  };
}

function inspectExec(entry: ExecEntry): ExecInspect {
  const { body, state } = entry;
  const [program = '', ...rest] = body.Cmd ?? [];
  return {
    ID: entry.id,
    Running: state.kind === 'running' || state.kind === 'starting',
    ExitCode: state.kind === 'exited' ? state.code : null,
    ProcessConfig: {
      tty: body.Tty,
      entrypoint: program,
      arguments: rest,
      ...(body.Privileged ? { privileged: true } : { privileged: false }),
      ...(body.User === '' ? {} : { user: body.User }),
    },
    OpenStdin: body.AttachStdin,
    OpenStderr: body.AttachStderr,
    OpenStdout: body.AttachStdout,
    CanRemove: state.kind === 'exited',
    ContainerID: entry.container.record.id,
    DetachKeys: Buffer.from(body.DetachKeys).toString('base64'),
    Pid: state.kind === 'running' ? state.pid : 0,
  };
}
