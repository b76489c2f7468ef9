// The Docker REST server of one user, on a unix socket: who may connect, which route, which form of answer.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import { BerthError } from '../base/errors.ts';
import type { Engine } from '../engine/engine.ts';
import { API_VERSION, API_VERSION_MIN } from '../spec/docker-api.ts';
import { peerOf } from '../sys/socket.ts';
import { failureAnswer, HEADERS, type Log, sendAnswer } from './answer.ts';
import type { Answer, Call } from './call.ts';
import { onWire } from './frames.ts';
import { descriptorOf, failedAttachment, head, runHijack, takeBody } from './hijack.ts';
import { OLD_HIJACK, sniffConnection } from './old-hijack.ts';
import { findRoute } from './routes.ts';

export type ApiOptions = {
  readonly engine: Engine;
  /** Where to listen. A socket left there by a process that is gone is replaced. */
  readonly path: string;
  /** The only uid beside 0 that may connect. */
  readonly uid: number;
  readonly log: Log;
};

export type ApiServer = { readonly close: () => Promise<void> };

/** More than enough for X-Registry-Auth with a token in it. */
const HEADER_BYTES_MAX = 65_536;
const REFUSED_LINGER_MS = 1000;
const HIJACKED = /^(\/v1\.\d+)?\/(containers\/.+\/attach|exec\/.+\/start)(\?|$)/;

/** Listens; gives back when clients can connect. Throws what listen(2) says. */
export async function serveApi(options: ApiOptions): Promise<ApiServer> {
  const http = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    // An archive may take as long as it takes; only heads have a deadline.
    requestTimeout: 0,
    headersTimeout: 30_000,
    shouldUpgradeCallback: (request) => HIJACKED.test(request.url ?? ''),
  });
  http.on('request', (request, response) => void answerRequest(options, request, response));
  http.on('upgrade', (request, socket, first) => void answerUpgrade(options, { request, socket, first }));
  http.on('clientError', refuseMalformed);
  const open = guardConnections(http, options);
  rmSync(options.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen(options.path, resolve);
  });
  chmodSync(options.path, 0o600);
  return { close: () => closeServer(http, open) };
}

function closeServer(http: Server, open: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    http.close(() => resolve());
    for (const socket of open) socket.destroy();
  });
}

/** Puts the peer check and the sniffing of old hijacks before node's own reading of a connection. Gives the connections that are open. */
function guardConnections(http: Server, options: ApiOptions): ReadonlySet<Socket> {
  const open = new Set<Socket>();
  const accept = http.listeners('connection') as ((socket: Socket) => void)[];
  http.removeAllListeners('connection');
  http.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => open.delete(socket));
    const refusal = refusePeer(socket, options.uid);
    if (refusal !== undefined) {
      options.log(refusal);
      socket.destroy();
      return;
    }
    sniffConnection(socket, () => {
      for (const one of accept) one.call(http, socket);
    });
  });
  return open;
}

function refusePeer(socket: Socket, uid: number): string | undefined {
  const fd = descriptorOf(socket);
  if (fd < 0) return 'connection refused: it was gone before its peer was known';
  const peer = peerOf(fd);
  if (peer.uid === uid || peer.uid === 0) return undefined;
  return `connection refused: uid ${peer.uid} (pid ${peer.pid}) is not uid ${uid}`;
}

async function answerRequest(options: ApiOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const answer = await runRoute(options, request, request);
    await sendAnswer(response, answer.kind === 'hijack' ? oneWay(answer, response, options.log) : answer, options.log);
  } catch (error) {
    if (response.headersSent) response.destroy();
    else await refuseRequest(options, { request, response, error });
  }
  if (!request.complete) request.resume();
}

/** Tells why. A body that is still coming is nobody's any more: the connection ends, late enough for the answer to be read. */
async function refuseRequest(
  options: ApiOptions,
  failed: { request: IncomingMessage; response: ServerResponse; error: unknown },
): Promise<void> {
  const { request, response, error } = failed;
  const { socket } = request;
  if (!request.complete) {
    response.shouldKeepAlive = false;
    response.once('finish', () => {
      socket.end();
      setTimeout(() => socket.destroy(), REFUSED_LINGER_MS).unref();
    });
  }
  await sendAnswer(response, failureAnswer(error, options.log), options.log);
}

/** An attach on a connection that cannot be taken over (it served other requests before): its output only. */
function oneWay(answer: Answer & { kind: 'hijack' }, response: ServerResponse, log: Log): Answer & { kind: 'stream' } {
  response.shouldKeepAlive = false;
  response.useChunkedEncodingByDefault = false;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    const attachment = await answer.open().catch((error: unknown) => failedAttachment(error, answer.tty, log));
    response.on('close', () => attachment.close());
    for await (const chunk of attachment.output) yield onWire(chunk, attachment.tty);
  }
  return { kind: 'stream', type: answer.type, chunks: bytes() };
}

async function answerUpgrade(
  options: ApiOptions,
  up: { request: IncomingMessage; socket: Duplex; first: Buffer },
): Promise<void> {
  const { request, socket } = up;
  socket.on('error', () => socket.destroy());
  try {
    const { body, rest } = await takeBody(socket, up.first, request.headers['content-length']);
    if (rest.length > 0) socket.unshift(rest);
    const answer = await runRoute(options, request, Readable.from(body.length > 0 ? [body] : []));
    if (answer.kind !== 'hijack') sendPlain(socket, answer);
    else {
      const { [OLD_HIJACK]: old, 'user-agent': agent } = request.headers;
      await runHijack(socket, answer, { upgraded: old === undefined, agent, log: options.log });
    }
  } catch (error) {
    sendPlain(socket, failureAnswer(error, options.log));
  }
}

function sendPlain(socket: Duplex, answer: Answer): void {
  const status = 'status' in answer ? answer.status : 500;
  const text = answer.kind === 'json' ? `${JSON.stringify(answer.value)}\n` : '';
  const type: Record<string, string> = text === '' ? {} : { 'Content-Type': 'application/json' };
  const headers = { ...type, 'Content-Length': String(Buffer.byteLength(text)), Connection: 'close', ...HEADERS };
  socket.end(`${head(`${status} ${status < 400 ? 'OK' : 'Error'}`, headers)}${text}`);
}

async function runRoute(options: ApiOptions, request: IncomingMessage, body: Readable): Promise<Answer> {
  const url = request.url ?? '/';
  const cut = url.indexOf('?');
  const { path, minor } = splitVersion(cut < 0 ? url : url.slice(0, cut));
  const found = findRoute(request.method ?? '', path);
  if (found === undefined) return { kind: 'json', status: 404, value: { message: 'page not found' } };
  const query = new URLSearchParams(cut < 0 ? '' : url.slice(cut + 1));
  const call: Call = {
    engine: options.engine,
    method: request.method ?? '',
    path,
    name: found.name,
    minor,
    query,
    headers: request.headers,
    body,
  };
  return found.handler(call);
}

/** Takes `/v1.41` off a path. Throws bad_parameter for a version we do not speak and for bad escapes. */
function splitVersion(raw: string): { path: string; minor: number } {
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch (error) {
    throw new BerthError('bad_parameter', `malformed path ${JSON.stringify(raw)}`, { cause: error });
  }
  const newest = minorOf(API_VERSION);
  const versioned = /^\/v(\d+)\.(\d+)(\/.*)$/.exec(path);
  if (versioned === null) return { path, minor: newest };
  const [, major = '', minorText = '', rest = ''] = versioned;
  const minor = Number(minorText);
  if (major !== '1' || minor > newest) {
    throw new BerthError(
      'bad_parameter',
      `client version ${major}.${minorText} is too new. Maximum supported API version is ${API_VERSION}`,
    );
  }
  if (minor < minorOf(API_VERSION_MIN)) {
    throw new BerthError(
      'bad_parameter',
      `client version ${major}.${minorText} is too old. Minimum supported API version is ${API_VERSION_MIN}, please upgrade your client to a newer version`,
    );
  }
  return { path: rest, minor };
}

function minorOf(version: string): number {
  return Number(version.split('.')[1]);
}

function refuseMalformed(error: Error & { code?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, text] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'the head is too large']
      : ['400 Bad Request', 'malformed HTTP request'];
  const body = `${JSON.stringify({ message: text })}\n`;
  socket.end(
    `${head(status, { 'Content-Type': 'application/json', 'Content-Length': String(body.length), Connection: 'close' })}${body}`,
  );
}
