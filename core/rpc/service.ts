// berth.v1.EngineService: each call is one verb of the engine.
import type { sendUnaryData, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import {
  type Container,
  type EngineServiceServer,
  type EventsResponse,
  type ExplainRequest,
  type ExplainResponse,
  type LogsRequest,
  type LogsResponse,
  Stream,
} from '../../proto/gen/berth/v1/engine.ts';
import { BerthError } from '../base/errors.ts';
import type { Engine } from '../engine/engine.ts';
import { containerOf, createBody } from './spec.ts';
import { callError } from './status.ts';
import { mapped, sendAll } from './stream.ts';

type Log = (line: string) => void;

/** The handlers. What an engine's verb throws ends the call with its status. */
export function engineService(engine: Engine, log: Log): EngineServiceServer {
  const { containers, system } = engine;
  return {
    hello: unary(log, async () => {
      const [{ Version: version }, { uid, principal, profile }] = await Promise.all([
        system.version(),
        system.whoami(),
      ]);
      return { version, uid, principal, profile };
    }),
    create: unary(log, async ({ spec }) => {
      const body = createBody(spec ?? missing('spec'));
      const { id, warnings } = await containers.create(body, spec?.name || undefined);
      return { id, warnings };
    }),
    start: unary(log, async ({ container }) => {
      await containers.start(named(container));
      return {};
    }),
    wait: unary(log, async ({ container }) => {
      const { code, outOfMemory } = await (await containers.wait(named(container), 'not-running')).exit;
      return { exitCode: code, outOfMemory };
    }),
    logs: streaming(log, (request) => logs(engine, request)),
    stop: unary(log, async ({ container, timeoutSeconds }) => {
      await containers.stop(named(container), { timeoutS: timeoutSeconds });
      return {};
    }),
    remove: unary(log, async ({ container, force }) => {
      await containers.remove(named(container), { force, volumes: false });
      return {};
    }),
    list: unary(log, async ({ all }) => ({ containers: await list(engine, all) })),
    explain: unary(log, (request) => explain(engine, request)),
    events: streaming(log, ({ sinceNs }) => events(engine, sinceNs)),
  };
}

function missing(field: string): never {
  throw new BerthError('bad_parameter', `${field} must be given`);
}

function named(container: string): string {
  return container === '' ? missing('container') : container;
}

/** A handler of one answer from a function that gives it. */
function unary<Request, Answer>(log: Log, run: (request: Request) => Promise<Answer>) {
  return (call: ServerUnaryCall<Request, Answer>, answer: sendUnaryData<Answer>): void => {
    run(call.request).then(
      (value) => answer(null, value),
      (error: unknown) => answer(callError(error, log)),
    );
  };
}

/** A handler of many answers from a function that gives them. */
function streaming<Request, Answer>(log: Log, run: (request: Request) => Promise<AsyncIterator<Answer>>) {
  return (call: ServerWritableStream<Request, Answer>): void => {
    sendAll(call, run).then(
      () => call.end(),
      // Not destroy(): grpc-js takes the status from the event and ends the call itself.
      (error: unknown) => call.emit('error', callError(error, log)),
    );
  };
}

async function logs(engine: Engine, request: LogsRequest): Promise<AsyncIterator<LogsResponse>> {
  const { chunks } = await engine.containers.logs(named(request.container), {
    stdout: true,
    stderr: true,
    follow: request.follow,
    timestamps: false,
    sinceNs: undefined,
    untilNs: undefined,
    tail: request.tail === 0 ? undefined : request.tail,
  });
  return mapped(chunks, ({ stream, bytes, timeNs }) => ({
    stream: stream === 1 ? Stream.STREAM_STDOUT : Stream.STREAM_STDERR,
    data: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    timeNs,
  }));
}

async function events(engine: Engine, sinceNs: bigint): Promise<AsyncIterator<EventsResponse>> {
  const since = sinceNs === 0n ? undefined : sinceNs;
  const all = engine.events.subscribe({ sinceNs: since, untilNs: undefined, filters: {} });
  return mapped(all, ({ type, action, id, attributes, timeNs }) => ({ type, action, id, attributes, timeNs }));
}

async function list(engine: Engine, all: boolean): Promise<Container[]> {
  const rows = await engine.containers.list({ all, limit: undefined, size: false, filters: {} });
  const found = await Promise.all(rows.map((row) => inspected(engine, row.Id)));
  return found.filter((container) => container !== undefined);
}

/** Undefined where it was removed after it was listed. */
async function inspected(engine: Engine, id: string): Promise<Container | undefined> {
  try {
    return containerOf(await engine.containers.inspect(id, { size: false }));
  } catch (error) {
    if (error instanceof BerthError && error.code === 'container_not_found') return undefined;
    throw error;
  }
}

/** Without `dry_run` nobody was asked, so `allowed` is false. */
async function explain(engine: Engine, { spec, dryRun }: ExplainRequest): Promise<ExplainResponse> {
  const body = createBody(spec ?? missing('spec'));
  const { text, json, decision } = await engine.explain({ body, name: spec?.name || undefined, dryRun });
  if (decision === undefined) return { text, json, allowed: false };
  const lines = decision.reasons.map((r) => `  refused by ${r.rule}: ${r.field} is ${r.asked}, at most ${r.allowed}`);
  const heading = decision.allowed ? 'the helper would allow it' : 'the helper would refuse it';
  return { text: `${text}${[heading, ...lines].join('\n')}\n`, json, allowed: decision.allowed };
}
