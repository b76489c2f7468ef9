// What can be read of containers: lists, details, logs, exit codes.
import { BerthError } from '../base/errors.ts';
import type { Chunk, LogsQuery, Waiting, WaitCondition } from '../engine/engine.ts';
import { type Answer, type Call, filtersOf, isSet, timeOf, wholeOf } from './call.ts';
import { onWire, streamType } from './frames.ts';

/** `GET /containers/json?all=1&limit=N&size=1&filters={…}`. */
export async function listContainers(call: Call): Promise<Answer> {
  const limit = wholeOf(call, 'limit');
  const value = await call.engine.containers.list({
    all: isSet(call, 'all'),
    limit: limit !== undefined && limit > 0 ? limit : undefined,
    size: isSet(call, 'size'),
    filters: filtersOf(call),
  });
  return { kind: 'json', status: 200, value };
}

/** `GET /containers/NAME/json?size=1`. */
export async function inspectContainer(call: Call): Promise<Answer> {
  return {
    kind: 'json',
    status: 200,
    value: await call.engine.containers.inspect(call.name, { size: isSet(call, 'size') }),
  };
}

/** `GET /containers/NAME/logs?stdout=1&stderr=1&follow=1&timestamps=1&details=1&since=T&until=T&tail=N`. */
export async function readLogs(call: Call): Promise<Answer> {
  const [stdout, stderr] = [isSet(call, 'stdout'), isSet(call, 'stderr')];
  if (!stdout && !stderr) throw new BerthError('bad_parameter', 'Bad parameters: you must choose at least one stream');
  const query: LogsQuery = {
    stdout,
    stderr,
    follow: isSet(call, 'follow'),
    timestamps: isSet(call, 'timestamps'),
    details: isSet(call, 'details'),
    sinceNs: timeOf(call, 'since'),
    untilNs: timeOf(call, 'until'),
    tail: tailOf(call.query.get('tail')),
  };
  const logs = await call.engine.containers.logs(call.name, query);
  return {
    kind: 'stream',
    type: streamType(logs.tty, call.minor),
    chunks: mapChunks(logs.chunks, (chunk) => onWire(chunk, logs.tty)),
  };
}

/** Docker takes what is no number for `all`. */
function tailOf(text: string | null): number | undefined {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Maps a stream without a generator between, whose return() would wait for the next piece. */
function mapChunks(chunks: AsyncIterable<Chunk>, map: (chunk: Chunk) => Uint8Array): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]: () => {
      const from = chunks[Symbol.asyncIterator]();
      return {
        next: async () => {
          const next = await from.next();
          return next.done === true ? { done: true, value: undefined } : { done: false, value: map(next.value) };
        },
        return: async () => {
          await from.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

const CONDITIONS: readonly WaitCondition[] = ['not-running', 'next-exit', 'removed'];

/** `POST /containers/NAME/wait?condition=C`: the head goes out when the wait has begun, the exit code when it is over. */
export async function waitContainer(call: Call): Promise<Answer> {
  const asked = call.query.get('condition') || 'not-running';
  const condition = CONDITIONS.find((one) => one === asked);
  if (condition === undefined) throw new BerthError('bad_parameter', `invalid condition: ${JSON.stringify(asked)}`);
  const waiting = await call.engine.containers.wait(call.name, condition);
  return { kind: 'stream', type: 'application/json', chunks: exitLine(waiting) };
}

/** Docker's `Error` is about the wait itself: of a start that failed it tells the code only. */
async function* exitLine(waiting: Waiting): AsyncGenerator<Uint8Array> {
  const { code } = await waiting.exit;
  yield Buffer.from(`${JSON.stringify({ Error: null, StatusCode: code })}\n`);
}
