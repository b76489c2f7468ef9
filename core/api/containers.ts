// What is done to a container: start, stop, kill and the like. Making one is in create.ts, reading in container-read.ts.
import { BerthError } from '../base/errors.ts';
import { readBody, updateBody } from '../spec/docker-api.ts';
import { readJson } from './body.ts';
import { type Answer, type Call, EMPTY, isSet, wholeOf } from './call.ts';

/** 304: it was so already. */
const UNCHANGED: Answer = { kind: 'empty', status: 304 };

/** `POST /containers/NAME/start`. */
export async function startContainer(call: Call): Promise<Answer> {
  return (await call.engine.containers.start(call.name)) ? EMPTY : UNCHANGED;
}

/** `POST /containers/NAME/stop?t=SECONDS&signal=SIG`. */
export async function stopContainer(call: Call): Promise<Answer> {
  return (await call.engine.containers.stop(call.name, stopping(call))) ? EMPTY : UNCHANGED;
}

/** `POST /containers/NAME/restart?t=SECONDS&signal=SIG`. */
export async function restartContainer(call: Call): Promise<Answer> {
  await call.engine.containers.restart(call.name, stopping(call));
  return EMPTY;
}

function stopping(call: Call): { timeoutS: number | undefined; signal: string | undefined } {
  return { timeoutS: wholeOf(call, 't'), signal: call.query.get('signal') || undefined };
}

/** `POST /containers/NAME/kill?signal=SIG`. */
export async function killContainer(call: Call): Promise<Answer> {
  try {
    await call.engine.containers.kill(call.name, call.query.get('signal') || 'SIGKILL');
    return EMPTY;
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    const more = error.hint === undefined ? {} : { hint: error.hint };
    throw new BerthError(error.code, `cannot kill container: ${call.name}: ${error.message}`, {
      cause: error,
      ...more,
    });
  }
}

/** `POST /containers/NAME/pause`. */
export async function pauseContainer(call: Call): Promise<Answer> {
  await call.engine.containers.pause(call.name);
  return EMPTY;
}

/** `POST /containers/NAME/unpause`. */
export async function unpauseContainer(call: Call): Promise<Answer> {
  await call.engine.containers.unpause(call.name);
  return EMPTY;
}

/** `DELETE /containers/NAME?force=1&v=1`. `link=1` removes a link, of which there are none. */
export async function removeContainer(call: Call): Promise<Answer> {
  if (isSet(call, 'link'))
    throw new BerthError('not_implemented', 'links between containers are not supported: nothing to remove');
  await call.engine.containers.remove(call.name, { force: isSet(call, 'force'), volumes: isSet(call, 'v') });
  return EMPTY;
}

/** `POST /containers/NAME/rename?name=NEW`. */
export async function renameContainer(call: Call): Promise<Answer> {
  await call.engine.containers.rename(call.name, call.query.get('name') ?? '');
  return EMPTY;
}

/** `POST /containers/NAME/resize?h=ROWS&w=COLUMNS`. */
export async function resizeContainer(call: Call): Promise<Answer> {
  await call.engine.containers.resize(call.name, sizeOf(call));
  return { kind: 'empty', status: 200 };
}

/** The window's size in a query. Throws bad_parameter. */
export function sizeOf(call: Call): { columns: number; rows: number } {
  const [rows, columns] = [wholeOf(call, 'h'), wholeOf(call, 'w')];
  if (rows === undefined || columns === undefined || rows < 0 || columns < 0 || rows > 65_535 || columns > 65_535) {
    throw new BerthError('bad_parameter', 'resize needs h (rows) and w (columns), each from 0 to 65535');
  }
  return { columns, rows };
}

/** `POST /containers/NAME/update`. */
export async function updateContainer(call: Call): Promise<Answer> {
  const { warnings } = await call.engine.containers.update(
    call.name,
    readBody(updateBody, await readJson(call), 'container config'),
  );
  return { kind: 'json', status: 200, value: { Warnings: warnings } };
}
