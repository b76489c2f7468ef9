// Execs against a link that answers as the test says: an exec whose helper is killed is neither lost nor forgotten too early.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Refusal } from '../../../core/link/refusal.ts';
import { execCreateBody } from '../../../core/spec/docker-api.ts';
import { State } from '../../../proto/gen/berth/helper/v1/request.ts';
import { type FakeEngine, fakeEngine } from './fake.ts';

let engine: FakeEngine;
beforeEach(() => {
  engine = fakeEngine();
});
afterEach(() => engine[Symbol.asyncDispose]());

const IN_USE = new Refusal([{ rule: 'state', field: 'exec.id', asked: 'an id in use', allowed: 'a new one' }]);
const execVerbs = (): string[] => engine.sent.map((verb) => verb.$case).filter((name) => name !== 'launch');

async function makeExec(): Promise<{ container: string; exec: string }> {
  const container = engine.make();
  await engine.containers.start(container);
  const { id: exec } = await engine.execs.create(container, { ...execCreateBody.zero(), Cmd: ['true'] });
  return { container, exec };
}

test('started by a helper that was killed, ended before the next one: its output is taken, and then it is forgotten', async () => {
  const { container, exec } = await makeExec();
  engine.next.answer = () => {
    const exited = { container, exec, status: 7 << 8, bootNs: 1n, outOfMemory: false };
    void engine.connect([
      { container, state: State.STATE_RUNNING },
      { container, exec, state: State.STATE_EXITED, exited },
    ]);
    throw IN_USE;
  };
  const attached = await engine.execs.start(exec, { detach: false });
  attached?.close();
  expect(execVerbs()).toEqual(['exec', 'attach', 'forget']);
  expect(await engine.execs.inspect(exec)).toMatchObject({ Running: false, ExitCode: 7 });
});

test('one that the helper tells of and nobody here knows is forgotten at once', async () => {
  const { container } = await makeExec();
  const exec = 'e'.repeat(64);
  engine.tell({ $case: 'exited', value: { container, exec, status: 0, bootNs: 1n, outOfMemory: false } });
  expect(execVerbs()).toEqual(['forget']);
});
