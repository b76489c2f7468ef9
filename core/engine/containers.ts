// The verbs of containers as the servers call them: find, check, do in turn.
import { BerthError } from '../base/errors.ts';
import { planUpdate } from '../plan/update.ts';
import { setWindowSize } from '../sys/fd.ts';
import { attach } from './attach.ts';
import { type Container, exitOf, inTurn, statusOf } from './container.ts';
import { type Context, emit, findContainer, save } from './context.ts';
import { checkName, createContainer } from './create.ts';
import type { Containers, ExitResult, WaitCondition } from './engine.ts';
import { readDevice, readHostFacts } from './host-facts.ts';
import { inspectContainer } from './inspect.ts';
import { listContainers } from './list.ts';
import { readLogs } from './output.ts';
import { removeNow } from './remove.ts';
import { startNow } from './run.ts';
import { kill, killAndWait, nextExit, notRunning, restart, setFrozen, stop } from './stop.ts';

export function makeContainers(context: Context): Containers {
  const find = (ref: string): Container => findContainer(context, ref);
  return {
    create: (body, name, platform) => createContainer(context, body, { name, platform }),
    start: async (ref) => {
      const container = find(ref);
      return inTurn(container, () => startNow(context, container));
    },
    stop: async (ref, more) => stop(context, find(ref), more),
    restart: async (ref, more) => restart(context, find(ref), more),
    kill: async (ref, signal) => kill(context, find(ref), signal),
    pause: async (ref) => setFrozen(context, find(ref), true),
    unpause: async (ref) => setFrozen(context, find(ref), false),
    wait: async (ref, condition) => {
      const container = find(ref);
      return { id: container.record.id, exit: waitFor(container, condition) };
    },
    remove: async (ref, { force }) => remove(context, find(ref), force),
    rename: async (ref, name) => rename(context, find(ref), name),
    update: async (ref, body) => {
      const container = find(ref);
      return inTurn(container, () => update(context, container, body));
    },
    list: async (query) => listContainers(context, query),
    inspect: async (ref) => inspectContainer(context, find(ref)),
    logs: async (ref, query) => readLogs(context, find(ref), query),
    attach: async (ref, query) => attach(context, find(ref), query),
    resize: async (ref, { columns, rows }) => {
      const { record, terminal } = find(ref);
      if (record.state.kind !== 'running') throw new BerthError('conflict', `container ${record.id} is not running`);
      if (terminal !== undefined) setWindowSize(terminal, columns, rows);
    },
  };
}

function waitFor(container: Container, condition: WaitCondition): Promise<ExitResult> {
  const { record } = container;
  if (condition === 'removed') return new Promise((resolve) => container.removeWaiters.add(resolve));
  const runs = record.state.kind === 'running' || container.restartTimer !== undefined || container.starting;
  if (condition === 'not-running' && !runs) return Promise.resolve(exitOf(record));
  return nextExit(container);
}

/** Throws conflict for one that runs, with Docker's words. */
async function remove(context: Context, container: Container, force: boolean): Promise<void> {
  const status = statusOf(container);
  const { id, state } = container.record;
  if (status === 'removing') throw new BerthError('conflict', `removal of container ${id} is already in progress`);
  if (state.kind === 'running' && !force) {
    const how = status === 'paused' ? 'Unpause and then stop' : 'Stop';
    throw new BerthError(
      'conflict',
      `You cannot remove a ${status} container ${id}. ${how} the container before attempting removal or force remove`,
    );
  }
  container.removing = true;
  try {
    await killAndWait(context, container);
    await inTurn(container, async () => {
      await killAndWait(context, container);
      await removeNow(context, container, exitOf(container.record));
    });
  } catch (error) {
    container.removing = false;
    throw error;
  }
}

async function rename(context: Context, container: Container, given: string): Promise<void> {
  const name = given.replace(/^\//, '');
  if (name === '') throw new BerthError('bad_parameter', 'Neither old nor new names may be empty');
  const old = container.record.name;
  if (name === old)
    throw new BerthError('bad_parameter', 'Renaming a container with the same name as its current name');
  try {
    checkName(context, name, `/${name}`);
  } catch (error) {
    throw error instanceof BerthError
      ? new BerthError(error.code, `Error when allocating new name: ${error.message}`, { cause: error })
      : error;
  }
  save(context, container, { name });
  emit(context, container, { action: 'rename', more: { oldName: `/${old}` } });
}

type UpdateBody = Parameters<Containers['update']>[1];

async function update(
  context: Context,
  container: Container,
  body: UpdateBody,
): Promise<{ readonly warnings: readonly string[] }> {
  const { record } = container;
  if (container.removing) throw notRunning(`container ${record.id} is marked for removal and cannot be "update"`);
  const host = readHostFacts(await context.link.hello());
  const paths = [...(body.Devices ?? [])].map((device) => device.PathOnHost);
  const devices = Object.fromEntries(
    paths.flatMap((path) => [[path, readDevice(path)] as const]).filter(([, device]) => device !== undefined),
  );
  const plan = planUpdate(
    { update: body, body: record.body },
    { host, devices: devices as Parameters<typeof planUpdate>[1]['devices'] },
  );
  if (record.state.kind === 'running' && plan.limits !== undefined) {
    await context.link.send({ $case: 'update', value: { container: record.id, limits: plan.limits } });
  }
  save(context, container, { body: { ...record.body, HostConfig: plan.hostConfig } });
  emit(context, container, { action: 'update' });
  return { warnings: plan.warnings };
}
