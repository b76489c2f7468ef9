// Images: pull, load, list, inspect, tag, remove.
import { BerthError } from '../base/errors.ts';
import type { Progress, RegistryAuth } from '../engine/engine.ts';
import { authConfig, errorText, readBody } from '../spec/docker-api.ts';
import { type Answer, type Call, filtersOf, isSet } from './call.ts';

/** `GET /images/json?all=1&filters={…}`. */
export async function listImages(call: Call): Promise<Answer> {
  const filter = call.query.get('filter');
  const filters = filtersOf(call);
  // Before API 1.24 the name to look for was a parameter of its own.
  const value = await call.engine.images.list({
    all: isSet(call, 'all'),
    filters: filter ? { ...filters, reference: [filter] } : filters,
  });
  return { kind: 'json', status: 200, value };
}

/** `GET /images/NAME/json`. */
export async function inspectImage(call: Call): Promise<Answer> {
  return { kind: 'json', status: 200, value: await call.engine.images.inspect(call.name) };
}

/** `POST /images/NAME/tag?repo=REPOSITORY&tag=TAG`. */
export async function tagImage(call: Call): Promise<Answer> {
  const repo = call.query.get('repo') ?? '';
  const tag = call.query.get('tag');
  await call.engine.images.tag(call.name, tag ? `${repo}:${tag}` : repo);
  return { kind: 'empty', status: 201 };
}

/** `DELETE /images/NAME?force=1`. */
export async function removeImage(call: Call): Promise<Answer> {
  return {
    kind: 'json',
    status: 200,
    value: await call.engine.images.remove(call.name, { force: isSet(call, 'force') }),
  };
}

/** `POST /images/create?fromImage=NAME&tag=TAG`: a pull, told line by line. */
export async function pullImage(call: Call): Promise<Answer> {
  const name = call.query.get('fromImage');
  if (!name) throw new BerthError('not_implemented', 'only pulling is supported: fromImage is missing');
  const tag = call.query.get('tag');
  const reference = tag ? `${name}${tag.includes(':') ? '@' : ':'}${tag}` : name;
  const auth = readAuth(call.headers['x-registry-auth']);
  return progressAnswer(
    call.engine.images.pull(reference, { auth, platform: call.query.get('platform') || undefined }),
  );
}

/** `POST /images/load`: the body is the archive. */
export async function loadImages(call: Call): Promise<Answer> {
  return progressAnswer(call.engine.images.load(call.body));
}

function readAuth(header: string | string[] | undefined): RegistryAuth | undefined {
  if (typeof header !== 'string' || header === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(header, 'base64url').toString());
  } catch (error) {
    throw new BerthError('bad_parameter', 'invalid X-Registry-Auth header: it is not base64 of JSON', { cause: error });
  }
  const { username, password, auth } = readBody(authConfig, value, 'X-Registry-Auth header');
  if (username !== '') return { username, password };
  const [user = '', ...rest] = Buffer.from(auth, 'base64').toString().split(':');
  return user === '' ? undefined : { username: user, password: rest.join(':') };
}

/** What fails before the first line is an error of its own; later the status is out and the last line tells it. */
async function progressAnswer(lines: AsyncIterable<Progress>): Promise<Answer> {
  const iterator = lines[Symbol.asyncIterator]();
  const first = await iterator.next();
  return { kind: 'stream', type: 'application/json', chunks: progressLines(first, iterator) };
}

async function* progressLines(
  first: IteratorResult<Progress>,
  rest: AsyncIterator<Progress>,
): AsyncGenerator<Uint8Array> {
  try {
    for (let next = first; next.done !== true; next = await rest.next()) yield jsonLine(next.value);
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    yield jsonLine({ errorDetail: { message: errorText(error) }, error: errorText(error) });
  } finally {
    await rest.return?.();
  }
}

function jsonLine(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\r\n`);
}
