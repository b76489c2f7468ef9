// Programs started in a running container.
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthError } from '../base/errors.ts';
import type { Attachment, Chunk } from '../engine/engine.ts';
import { execCreateBody, execStartBody, readBody } from '../spec/docker-api.ts';
import { readJson } from './body.ts';
import type { Answer, Call } from './call.ts';
import { sizeOf } from './containers.ts';
import { streamType } from './frames.ts';

/** For a program that goes on after it has closed its streams, and for one that is gone, but nobody has told its code: a helper that was killed is to come back first. */
const EXIT_WAIT_MS = { goesOn: 1000, gone: 15_000 };

/** `POST /containers/NAME/exec`. */
export async function createExec(call: Call): Promise<Answer> {
  const body = readBody(execCreateBody, await readJson(call), 'exec config');
  if (body.Cmd === null || body.Cmd.length === 0) throw new BerthError('bad_parameter', 'No exec command specified');
  const { id } = await call.engine.exec.create(call.name, body);
  return { kind: 'json', status: 201, value: { Id: id } };
}

/** `POST /exec/ID/start`: the connection becomes the exec's streams, or with Detach an empty answer. */
export async function startExec(call: Call): Promise<Answer> {
  const body = readBody(execStartBody, (await readJson(call)) ?? {}, 'exec start config');
  const [rows, columns] = body.ConsoleSize ?? [];
  const start = (): Promise<Attachment | undefined> =>
    call.engine.exec.start(call.name, { detach: body.Detach, columns, rows });
  if (body.Detach) {
    await start();
    return { kind: 'empty', status: 200 };
  }
  // What cannot start at all is an answer with a status; the rest, a program that is not there, comes on the streams, as in Docker.
  const begun = (await mayStart(call)) ? undefined : await start();
  const { tty } = (await call.engine.exec.inspect(call.name)).ProcessConfig;
  const open = async (): Promise<Attachment> => {
    const attachment = begun ?? (await start());
    if (attachment === undefined) throw new Error(`exec ${call.name} was started in the background`);
    return { ...attachment, output: untilEnded(call, attachment.output) };
  };
  return { kind: 'hijack', tty, type: streamType(tty, call.minor), open };
}

/** Whether the exec is there and has not run, and its container runs. */
async function mayStart(call: Call): Promise<boolean> {
  const { Running, ExitCode, ContainerID } = await call.engine.exec.inspect(call.name);
  const { State } = await call.engine.containers.inspect(ContainerID, { size: false });
  return !Running && ExitCode === null && State.Running && !State.Paused;
}

/** Clients ask for the exit code as soon as the streams end: they end when it is known. A program that only closed its streams is not waited for long. */
function untilEnded(call: Call, output: AsyncIterable<Chunk>): AsyncIterable<Chunk> {
  return {
    [Symbol.asyncIterator]: () => {
      const from = output[Symbol.asyncIterator]();
      return {
        next: async () => {
          const next = await from.next();
          if (next.done === true) await exitKnown(call);
          return next;
        },
        return: async () => {
          await from.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

async function exitKnown(call: Call): Promise<void> {
  for (const from = Date.now(); ; await sleep(1)) {
    const { Running, Pid } = await call.engine.exec.inspect(call.name);
    if (!Running || Date.now() - from > (isGone(Pid) ? EXIT_WAIT_MS.gone : EXIT_WAIT_MS.goesOn)) return;
  }
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return pid === 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'; // else it is somebody else's, and there
  }
}

/** `GET /exec/ID/json`. */
export async function inspectExec(call: Call): Promise<Answer> {
  return { kind: 'json', status: 200, value: await call.engine.exec.inspect(call.name) };
}

/** `POST /exec/ID/resize?h=ROWS&w=COLUMNS`. */
export async function resizeExec(call: Call): Promise<Answer> {
  await call.engine.exec.resize(call.name, sizeOf(call));
  return { kind: 'empty', status: 200 };
}
