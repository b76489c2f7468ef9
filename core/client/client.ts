// The engine's REST API as functions, typed by the same tables of fields as the server. Throws ApiError for what the server refuses and NoServer
// when there is none. Paths carry no version: CLI and engine come as one.
import type { Readable } from 'node:stream';
import { BerthError, type Code } from '../base/errors.ts';
import type {
  ContainerCreateBody,
  ContainerCreated,
  ContainerInspect,
  ContainerSummary,
  ExecInspect,
  ImageDeleted,
  ImageInspect,
  ImageSummary,
  ProgressLine,
  SystemInfo,
  SystemVersion,
  UpdateBody,
  WaitAnswer,
} from '../spec/docker-api.ts';
import { ApiError, NoServer } from './error.ts';
import { type Ask, exchange, type Reply } from './wire.ts';

type Query = Readonly<Record<string, string | number | boolean | undefined>>;
/** What a create body need not have: the server reads a missing field as its zero value. */
export type Partly<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [K in keyof T]?: Partly<T[K]> | undefined }
    : T;
export type CreateAsk = Partly<ContainerCreateBody>;
export type ExecAsk = {
  Cmd: readonly string[];
  Tty: boolean;
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
} & Partly<{
  Env: readonly string[];
  User: string;
  WorkingDir: string;
  Privileged: boolean;
  DetachKeys: string;
}>;

export type Client = ReturnType<typeof makeClient>;

/** Called when nobody listens: makes somebody, after which the request is sent once more. Throws why it cannot. */
export type Revive = () => Promise<void>;

/** A client of the engine that listens at the socket. */
export function makeClient(socketPath: string, revive?: Revive) {
  const { send, json } = makeSender(socketPath, revive);
  return {
    ...systemCalls(send, json),
    ...containerCalls(send, json),
    ...execCalls(send, json),
    ...imageCalls(send, json),
  };
}

type Send = (ask: Ask) => Promise<Reply>;
type Json = <T>(ask: Ask) => Promise<T>;

function makeSender(socketPath: string, revive: Revive | undefined): { send: Send; json: Json } {
  const send: Send = async (ask) => {
    const reply = await exchange(socketPath, ask).catch(async (error: unknown) => {
      if (!(error instanceof NoServer) || revive === undefined) throw error;
      await revive();
      return exchange(socketPath, ask);
    });
    if (reply.status >= 400) throw await readFailure(reply);
    return reply;
  };
  const json = async <T>(ask: Ask): Promise<T> => {
    const text = await readText(await send(ask));
    return (text === '' ? undefined : JSON.parse(text)) as T;
  };
  return { send, json };
}

function to(path: string, query: Query = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => {
    if (value === undefined || value === false || value === '') return [];
    return [`${name}=${encodeURIComponent(value === true ? '1' : String(value))}`];
  });
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
}

/** Throws bad_parameter for an empty name: its path would mean something else. Source of the text: moby v28.2, client/utils.go. */
function at(noun: 'containers' | 'exec' | 'images', name: string, verb: string): string {
  if (name.trim() === '')
    throw new BerthError('bad_parameter', `invalid ${noun.replace(/s$/, '')} name or ID: value is empty`);
  return `/${noun}/${encodeURIComponent(name)}${verb}`;
}

/** The whole body as text. */
export async function readText(reply: Reply): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of reply.body) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

/** A body of JSON values, one per line. */
export async function* readLines<T>(reply: Reply): AsyncGenerator<T> {
  let held = '';
  const decoder = new TextDecoder();
  for await (const piece of reply.body) {
    held += decoder.decode(piece, { stream: true });
    const lines = held.split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as T;
  }
  if (held.trim() !== '') yield JSON.parse(held) as T;
}

async function readFailure(reply: Reply): Promise<ApiError> {
  const text = await readText(reply);
  try {
    const { message, code } = JSON.parse(text) as { message?: string; code?: Code };
    return new ApiError(reply.status, message ?? text, code);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return new ApiError(reply.status, text.trim() || `status ${reply.status}`, undefined);
  }
}

/** One thing `berth doctor` looked at; as the engine's Finding. */
export type Finding = {
  readonly topic: string;
  readonly level: 'ok' | 'note' | 'bad';
  readonly found: string;
  readonly fix?: string;
};
export type Reason = {
  readonly rule: string;
  readonly field: string;
  readonly asked: string;
  readonly allowed: string;
};
export type Explained = {
  readonly text: string;
  readonly plan: unknown;
  readonly warnings: readonly string[];
  readonly decision?: { readonly allowed: boolean; readonly reasons: readonly Reason[] };
};
export type Whoami = {
  readonly uid: number;
  readonly principal: string;
  readonly profile: string;
  readonly profiles: readonly string[];
  readonly keyId: string;
  readonly rootless: boolean;
  readonly helper?: {
    readonly version: string;
    readonly pid: number;
    readonly keeperPid: number;
    readonly slot: number;
  };
  readonly problem?: string;
};

/** The engine's process, and what it knows of the helper. */
export type EngineStatus = {
  readonly pid: number;
  readonly uid: number;
  readonly version: string;
  readonly helper?: Whoami['helper'];
  readonly problem?: string;
};

function systemCalls(send: Send, json: Json) {
  return {
    ping: () => send({ method: 'GET', path: '/_ping' }).then(readText),
    version: () => json<SystemVersion>({ method: 'GET', path: '/version' }),
    info: () => json<SystemInfo>({ method: 'GET', path: '/info' }),
    events: (query: Query) => send({ method: 'GET', path: to('/events', query) }),
    whoami: () => json<Whoami>({ method: 'GET', path: '/berth/v1/whoami' }),
    status: () => json<EngineStatus>({ method: 'GET', path: '/berth/v1/status' }),
    doctor: () => json<readonly Finding[]>({ method: 'GET', path: '/berth/v1/doctor' }),
    explain: (body: CreateAsk, query: { name: string | undefined; dryRun: boolean }) =>
      json<Explained>({
        method: 'POST',
        path: to(`/berth/v1/${query.dryRun ? 'dry-run' : 'explain'}`, { name: query.name }),
        json: body,
      }),
  };
}

function containerCalls(send: Send, json: Json) {
  const act = (name: string, verb: string, query: Query = {}): Promise<void> =>
    json<void>({ method: 'POST', path: to(at('containers', name, verb), query) });
  return {
    listContainers: (query: Query) =>
      json<readonly ContainerSummary[]>({ method: 'GET', path: to('/containers/json', query) }),
    createContainer: (body: CreateAsk, query: Query) =>
      json<ContainerCreated>({ method: 'POST', path: to('/containers/create', query), json: body }),
    inspectContainer: (name: string, query: Query = {}) =>
      json<ContainerInspect>({ method: 'GET', path: to(at('containers', name, '/json'), query) }),
    startContainer: (name: string) => act(name, '/start'),
    stopContainer: (name: string, query: Query) => act(name, '/stop', query),
    restartContainer: (name: string, query: Query) => act(name, '/restart', query),
    killContainer: (name: string, signal?: string) => act(name, '/kill', { signal }),
    pauseContainer: (name: string) => act(name, '/pause'),
    unpauseContainer: (name: string) => act(name, '/unpause'),
    renameContainer: (name: string, to: string) => act(name, '/rename', { name: to }),
    resizeContainer: (name: string, query: { h: number; w: number }) => act(name, '/resize', query),
    updateContainer: (name: string, body: Partly<UpdateBody>) =>
      json<{ Warnings: readonly string[] | null }>({
        method: 'POST',
        path: at('containers', name, '/update'),
        json: body,
      }),
    removeContainer: (name: string, query: Query) =>
      json<void>({ method: 'DELETE', path: to(at('containers', name, ''), query) }),
    /** Answers when the wait has begun; `exit` when it is over. */
    waitContainer: async (name: string, condition: string): Promise<{ exit: Promise<WaitAnswer> }> => {
      const reply = await send({ method: 'POST', path: to(at('containers', name, '/wait'), { condition }) });
      const exit = readText(reply).then((text) => JSON.parse(text) as WaitAnswer);
      exit.catch(() => undefined);
      return { exit };
    },
    logs: (name: string, query: Query) => send({ method: 'GET', path: to(at('containers', name, '/logs'), query) }),
    attach: (name: string, query: Query) =>
      send({ method: 'POST', path: to(at('containers', name, '/attach'), query), hijack: true }),
  };
}

function execCalls(send: Send, json: Json) {
  return {
    createExec: (name: string, body: ExecAsk) =>
      json<{ Id: string }>({ method: 'POST', path: at('containers', name, '/exec'), json: body }),
    startExec: (id: string, body: { Tty: boolean; ConsoleSize?: readonly number[] }) =>
      send({ method: 'POST', path: at('exec', id, '/start'), json: { Detach: false, ...body }, hijack: true }),
    startExecDetached: (id: string, tty: boolean) =>
      json<void>({ method: 'POST', path: at('exec', id, '/start'), json: { Detach: true, Tty: tty } }),
    inspectExec: (id: string) => json<ExecInspect>({ method: 'GET', path: at('exec', id, '/json') }),
    resizeExec: (id: string, query: { h: number; w: number }) =>
      json<void>({ method: 'POST', path: to(at('exec', id, '/resize'), query) }),
  };
}

function imageCalls(send: Send, json: Json) {
  return {
    listImages: (query: Query) => json<readonly ImageSummary[]>({ method: 'GET', path: to('/images/json', query) }),
    inspectImage: (name: string) => json<ImageInspect>({ method: 'GET', path: at('images', name, '/json') }),
    removeImage: (name: string, query: Query) =>
      json<readonly ImageDeleted[]>({ method: 'DELETE', path: to(at('images', name, ''), query) }),
    pull: async (query: Query, auth: string | undefined): Promise<AsyncIterable<ProgressLine>> => {
      const headers = auth === undefined ? {} : { 'X-Registry-Auth': auth };
      return readLines<ProgressLine>(await send({ method: 'POST', path: to('/images/create', query), headers }));
    },
    load: async (archive: Readable, query: Query): Promise<AsyncIterable<ProgressLine>> =>
      readLines<ProgressLine>(await send({ method: 'POST', path: to('/images/load', query), upload: archive })),
  };
}
