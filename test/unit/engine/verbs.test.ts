// The verbs of containers against a link that answers as the test says: states, waiters, races, policies, what is left after failures.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BerthError } from '../../../core/base/errors.ts';
import type { ContainerRecord } from '../../../core/engine/container.ts';
import type { LogsQuery } from '../../../core/engine/engine.ts';
import { Refusal } from '../../../core/link/refusal.ts';
import { emptyCreateBody } from '../../../core/spec/docker-api.ts';
import { State } from '../../../proto/gen/berth/helper/v1/request.ts';
import { type FakeEngine, fakeEngine } from './fake.ts';

let engine: FakeEngine;
beforeEach(() => {
  engine = fakeEngine();
});
afterEach(() => engine[Symbol.asyncDispose]());

const host = emptyCreateBody().HostConfig;
const stateOf = (id: string): ContainerRecord['state'] =>
  (engine.context.containers.get(id as never)?.record ?? { state: { kind: 'gone' } }).state as ContainerRecord['state'];
const verbs = (): string[] => engine.sent.map((verb) => verb.$case);
const ALL: LogsQuery = {
  stdout: true,
  stderr: true,
  follow: false,
  timestamps: false,
  sinceNs: undefined,
  untilNs: undefined,
  tail: undefined,
};

async function logs(id: string, query: Partial<LogsQuery> = {}): Promise<string> {
  let text = '';
  for await (const chunk of (await engine.containers.logs(id, { ...ALL, ...query })).chunks)
    text += Buffer.from(chunk.bytes);
  return text;
}

test('start, output, exit: state, record on disk, waiters, events', async () => {
  const id = engine.make();
  const { exit } = await engine.containers.wait(id, 'next-exit');
  expect(await engine.containers.start(id)).toBe(true);
  expect(await engine.containers.start(id)).toBe(false);
  expect(stateOf(id)).toMatchObject({ kind: 'running', pid: 4242 });
  engine.processes.get(id)?.print('hello\n');
  engine.processes.get(id)?.exit(3 << 8);
  expect(await exit).toEqual({ code: 3, outOfMemory: false, error: undefined });
  expect(await logs(id)).toBe('hello\n');
  await sleep(40);
  const document = engine.context.store.containers.get(id)?.document as ContainerRecord;
  expect(document.state).toMatchObject({ kind: 'exited', code: 3 });
  expect(engine.events).toEqual(['start', 'die']);
});

test('an exit that is told before the launch is answered is not lost', async () => {
  const id = engine.make();
  engine.next.answer = () => {
    // The answer is still on its way: the event overtakes it.
    setImmediate(() => {});
    engine.tell({
      $case: 'exited',
      value: {
        container: id,
        exec: '',
        status: 5 << 8,
        bootNs: process.hrtime.bigint() + 1_000_000_000n,
        outOfMemory: false,
      },
    });
  };
  await engine.containers.start(id);
  expect(stateOf(id)).toMatchObject({ kind: 'exited', code: 5 });
});

test('the exit of an earlier run does not end the present one', async () => {
  const id = engine.make();
  await engine.containers.start(id);
  const first = engine.processes.get(id);
  first?.exit(0);
  await engine.containers.start(id);
  engine.tell({
    $case: 'exited',
    value: { container: id, exec: '', status: 0, bootNs: first?.bootNs ?? 0n, outOfMemory: false },
  });
  expect(stateOf(id).kind).toBe('running');
});

test('a start that fails stays created with its code, and tells who waits', async () => {
  const id = engine.make();
  const { exit } = await engine.containers.wait(id, 'next-exit');
  engine.next.answer = () => {
    throw new BerthError('not_executable', 'execute /bin/sh: permission denied (execve: EACCES)');
  };
  await expect(engine.containers.start(id)).rejects.toMatchObject({
    code: 'not_executable',
    message: expect.stringMatching(/^cannot start container "c0_.*": exec: "sh": permission denied$/),
  });
  expect(stateOf(id)).toMatchObject({ kind: 'created', code: 126 });
  expect((await exit).code).toBe(126);
});

test('--rm: gone after the exit, and after a start that failed', async () => {
  const body = { HostConfig: { ...host, AutoRemove: true } };
  const id = engine.make(body);
  const { exit } = await engine.containers.wait(id, 'removed');
  await engine.containers.start(id);
  engine.processes.get(id)?.exit(7 << 8);
  expect((await exit).code).toBe(7);
  expect(engine.context.containers.has(id)).toBe(false);
  expect(engine.context.store.containers.has(id)).toBe(false);
  expect(verbs()).toEqual(['launch', 'remove']);
  const fails = engine.make(body);
  engine.next.answer = () => {
    throw new Refusal([{ rule: 'x', field: 'y', asked: '1', allowed: '0' }]);
  };
  await expect(engine.containers.start(fails)).rejects.toMatchObject({ code: 'helper_refused' });
  expect(engine.context.containers.has(fails)).toBe(false);
});

test('stop: the signal, then KILL; a second stop does nothing', async () => {
  const id = engine.make();
  await engine.containers.start(id);
  const begun = performance.now();
  expect(await engine.containers.stop(id, { timeoutS: 0.05 as number })).toBe(true);
  expect(performance.now() - begun).toBeGreaterThan(45);
  expect(
    engine.sent
      .filter((verb) => verb.$case === 'signal')
      .map((verb) => verb.$case === 'signal' && [verb.value.signal, verb.value.all]),
  ).toEqual([
    [15, false],
    [9, true],
  ]);
  expect(stateOf(id)).toMatchObject({ kind: 'exited', code: 137 });
  expect(await engine.containers.stop(id, { timeoutS: undefined })).toBe(false);
  await expect(engine.containers.kill(id, 'TERM')).rejects.toMatchObject({ code: 'container_not_running' });
});

test('rm of a running one is refused, with force it is killed first', async () => {
  const id = engine.make();
  await engine.containers.start(id);
  await expect(engine.containers.remove(id, { force: false, volumes: false })).rejects.toMatchObject({
    code: 'conflict',
  });
  await engine.containers.remove(id, { force: true, volumes: false });
  expect(engine.context.containers.size).toBe(0);
  expect(engine.events).toEqual(['start', 'kill', 'die', 'destroy']);
});

test('rm is content when the helper does not know the container any more', async () => {
  const id = engine.make({}, { ranBefore: true });
  engine.next.answer = () => {
    throw new Refusal([{ rule: 'state', field: 'remove.container', asked: 'an unknown one', allowed: 'one of yours' }]);
  };
  await engine.containers.remove(id, { force: false, volumes: false });
  expect(engine.context.containers.size).toBe(0);
});

test('restart policy: again with a pause, counted, not after stop', async () => {
  const id = engine.make({ HostConfig: { ...host, RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } } });
  await engine.containers.start(id);
  for (let run = 0; run < 3; run++) {
    await expect.poll(() => stateOf(id).kind, { interval: 5 }).toBe('running');
    engine.processes.get(id)?.exit(1 << 8);
  }
  await sleep(500);
  expect(stateOf(id).kind).toBe('exited');
  expect(engine.context.containers.get(id)?.record.restartCount).toBe(2);
  const always = engine.make({ HostConfig: { ...host, RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } } });
  await engine.containers.start(always);
  engine.processes.get(always)?.exit(0);
  await sleep(5);
  expect(await engine.containers.stop(always, { timeoutS: 0 })).toBe(true);
  await sleep(200);
  expect(stateOf(always).kind).toBe('exited');
});

test('pause and unpause, once each', async () => {
  const id = engine.make();
  await expect(engine.containers.pause(id)).rejects.toMatchObject({ code: 'container_not_running' });
  await engine.containers.start(id);
  await engine.containers.pause(id);
  await expect(engine.containers.pause(id)).rejects.toMatchObject({ code: 'conflict' });
  await expect(
    engine.containers.attach(id, { stdin: false, stdout: true, stderr: true, logs: false, stream: true }),
  ).rejects.toMatchObject({ code: 'conflict' });
  await engine.containers.unpause(id);
  await expect(engine.containers.unpause(id)).rejects.toMatchObject({ code: 'conflict' });
});

test('an attachment made before the start gets all, and ends with the container', async () => {
  const id = engine.make();
  const { output } = await engine.containers.attach(id, {
    stdin: false,
    stdout: true,
    stderr: true,
    logs: false,
    stream: true,
  });
  let text = '';
  const reading = (async () => {
    for await (const chunk of output) text += Buffer.from(chunk.bytes);
  })();
  await engine.containers.start(id);
  engine.processes.get(id)?.print('first ');
  engine.processes.get(id)?.print('last');
  engine.processes.get(id)?.exit(0);
  await reading;
  expect(text).toBe('first last');
});

test('an attachment ends when the start fails', async () => {
  const id = engine.make();
  const { output } = await engine.containers.attach(id, {
    stdin: false,
    stdout: true,
    stderr: true,
    logs: false,
    stream: true,
  });
  engine.next.answer = () => {
    throw new BerthError('launch_failed', 'mount /proc: no');
  };
  await expect(engine.containers.start(id)).rejects.toThrow('mount /proc: no');
  for await (const chunk of output) expect(chunk).toBe('nothing');
});

test('reconcile: what runs is taken over, with what it printed meanwhile', async () => {
  const state = { kind: 'running', pid: 77, startedNs: '1', bootNs: '1', paused: false, outOfMemory: false } as const;
  const id = engine.make({}, { state, ranBefore: true });
  await engine.connect([{ container: id, state: State.STATE_RUNNING, pid: 77 }]);
  expect(verbs()).toEqual(['attach']);
  engine.processes.get(id)?.print('still here\n');
  engine.processes.get(id)?.exit(4 << 8);
  await expect.poll(() => stateOf(id)).toMatchObject({ kind: 'exited', code: 4 });
  expect(await logs(id)).toBe('still here\n');
});

test('reconcile: what ended meanwhile has its code, whether we knew of its start or not', async () => {
  const bootNs = process.hrtime.bigint();
  const exited = { container: '', exec: '', status: 9, bootNs, outOfMemory: true };
  const running = { kind: 'running', pid: 77, startedNs: '1', bootNs: '1', paused: false, outOfMemory: false } as const;
  const known = engine.make({}, { state: running, ranBefore: true });
  const unknown = engine.make();
  const old = engine.make(
    {},
    {
      state: {
        kind: 'exited',
        bootNs: String(bootNs),
        code: 1,
        outOfMemory: false,
        error: '',
        startedNs: '1',
        finishedNs: '2',
      },
      ranBefore: true,
    },
  );
  await engine.connect(
    [known, unknown, old].map((container) => ({
      container,
      state: State.STATE_EXITED,
      exited: { ...exited, container },
    })),
  );
  expect(stateOf(known)).toMatchObject({ kind: 'exited', code: 137, outOfMemory: true });
  expect(stateOf(unknown)).toMatchObject({ kind: 'exited', code: 137 });
  expect(stateOf(old)).toMatchObject({ kind: 'exited', code: 1 });
});

test('reconcile: what the helper does not know is over, but not what was started since', async () => {
  const running = { kind: 'running', pid: 77, startedNs: '1', bootNs: '1', paused: false, outOfMemory: false } as const;
  const lost = engine.make({}, { state: running, ranBefore: true });
  await engine.connect([]);
  expect(stateOf(lost)).toMatchObject({ kind: 'exited', code: 255 });
  const fresh = engine.make();
  const starting = engine.containers.start(fresh);
  await engine.connect([]);
  await starting;
  expect(stateOf(fresh).kind).toBe('running');
});

test('reconcile: one without a record can be stopped and removed', async () => {
  const id = 'f'.repeat(64);
  await engine.connect([{ container: id, state: State.STATE_RUNNING, pid: 5 }]);
  expect((await engine.containers.inspect(id, { size: false })).Name).toBe(`/found_${'f'.repeat(12)}`);
  await engine.containers.remove(id, { force: true, volumes: false });
  expect(engine.context.containers.size).toBe(0);
});

test('a container is found by id, name and unique prefix', async () => {
  const id = engine.make({}, { name: 'someone' });
  for (const ref of [id, id.slice(0, 8), 'someone', '/someone'])
    expect((await engine.containers.inspect(ref, { size: false })).Id).toBe(id);
  await expect(engine.containers.inspect('nobody', { size: false })).rejects.toMatchObject({
    code: 'container_not_found',
    message: 'No such container: nobody',
  });
  await expect(engine.containers.rename(id, 'someone')).rejects.toThrow('same name');
  await expect(engine.containers.rename(id, '-x')).rejects.toThrow('Invalid container name (/-x)');
});
