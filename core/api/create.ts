// Making a container. What the body may hold is the planner's to judge; a field that no Docker we know has is refused here, by name.
import { BerthError } from '../base/errors.ts';
import { type ContainerCreateBody, readContainerCreate } from '../spec/docker-api.ts';
import { readJson } from './body.ts';
import type { Answer, Call } from './call.ts';

/** `POST /containers/create?name=NAME`. */
export async function createContainer(call: Call): Promise<Answer> {
  const body = await readCreate(call);
  const { id, warnings } = await call.engine.containers.create(
    body,
    call.query.get('name') || undefined,
    call.query.get('platform') || undefined,
  );
  return { kind: 'json', status: 201, value: { Id: id, Warnings: warnings } };
}

/** The create body of a request. Throws bad_parameter naming the field. */
export async function readCreate(call: Call): Promise<ContainerCreateBody> {
  const value = await readJson(call);
  if (value === undefined) throw new BerthError('bad_parameter', 'invalid JSON: got EOF while reading request body');
  const { body, unknown } = readContainerCreate(value);
  if (unknown.length > 0) {
    throw new BerthError('bad_parameter', `unknown field ${unknown.join(', ')} in the container config`, {
      hint: 'remove it, or leave it at its default',
    });
  }
  return body;
}
