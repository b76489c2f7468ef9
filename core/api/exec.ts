// Programs started in a running container.
import { BerthError } from '../base/errors.ts';
import { execCreateBody, execStartBody, readBody } from '../spec/docker-api.ts';
import { readJson } from './body.ts';
import type { Answer, Call } from './call.ts';
import { sizeOf } from './containers.ts';
import { streamType } from './frames.ts';

/** `POST /containers/NAME/exec`. */
export async function createExec(call: Call): Promise<Answer> {
  const body = readBody(execCreateBody, await readJson(call), 'exec config');
  if (body.Cmd === null || body.Cmd.length === 0) throw new BerthError('bad_parameter', 'No exec command specified');
  const { id } = await call.engine.exec.create(call.name, body);
  return { kind: 'json', status: 201, value: { Id: id } };
}

/** `POST /exec/ID/start`: the connection becomes the exec's streams, or with Detach an empty answer. */
export async function startExec(call: Call): Promise<Answer> {
  const body = readBody(execStartBody, await readJson(call), 'exec start config');
  const [rows, columns] = body.ConsoleSize ?? [];
  const attachment = await call.engine.exec.start(call.name, { detach: body.Detach, columns, rows });
  if (attachment === undefined) return { kind: 'empty', status: 200 };
  return { kind: 'hijack', attachment, type: streamType(attachment.tty, call.minor) };
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
