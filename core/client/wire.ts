// HTTP/1.1 over a unix socket, one request per connection, in as few modules as can be: node:http alone would add 10 ms to every command.
// Reads Content-Length, chunked and until-close bodies. Source: RFC 9112.
import { connect, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { NoServer } from './error.ts';

export type Ask = {
  readonly method: 'GET' | 'POST' | 'DELETE' | 'HEAD';
  readonly path: string;
  readonly json?: unknown;
  /** An upload of unknown length. */
  readonly upload?: Readable;
  readonly headers?: Readonly<Record<string, string>>;
  /** Ask that the connection become a stream. */
  readonly hijack?: boolean;
};

export type Reply = {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  /** The pieces of the body. Leaving the loop early closes the connection. */
  readonly body: AsyncIterable<Buffer>;
  /** The connection itself; after a hijack (status 101, or 200 with a raw stream) all of it is the caller's, first bytes put back. */
  readonly socket: Socket;
};

/** Sends a request and gives the reply once its head is there. Throws NoServer, or what the connection says. */
export async function exchange(socketPath: string, ask: Ask): Promise<Reply> {
  const socket = await open(socketPath);
  const body = ask.json === undefined ? undefined : JSON.stringify(ask.json);
  socket.write(headOf(ask, body) + (body ?? ''));
  if (ask.upload !== undefined) void upload(socket, ask.upload);
  const bytes = makeBytes(socket);
  const { status, headers } = await readHead(bytes);
  if (ask.hijack === true && (status === 101 || (status === 200 && isStream(headers)))) {
    if (bytes.held.length > 0) socket.unshift(bytes.held);
    bytes.held = Buffer.alloc(0);
  }
  return {
    status,
    headers,
    socket,
    body: readBody({ bytes, headers, empty: ask.method === 'HEAD' || status === 204 || status === 304 }),
  };
}

/** Daemons before the upgrade handshake answer 200 and a raw stream. */
function isStream(headers: ReadonlyMap<string, string>): boolean {
  return (headers.get('content-type') ?? '').startsWith('application/vnd.docker.');
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.once('error', (error) => reject(new NoServer(path, error)));
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      // What breaks later is told by the read that fails; a write that fails alone must not end the process.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

/** Whether something listens at the socket. */
export async function canConnect(path: string): Promise<boolean> {
  try {
    (await open(path)).destroy();
    return true;
  } catch (error) {
    if (!(error instanceof NoServer)) throw error;
    return false;
  }
}

function headOf(ask: Ask, body: string | undefined): string {
  const lines = [`${ask.method} ${ask.path} HTTP/1.1`, 'Host: berth'];
  if (ask.hijack === true) lines.push('Connection: Upgrade', 'Upgrade: tcp');
  else lines.push('Connection: close');
  if (body !== undefined) lines.push('Content-Type: application/json');
  if (ask.upload !== undefined) lines.push('Content-Type: application/x-tar', 'Transfer-Encoding: chunked');
  else if (ask.method === 'POST') lines.push(`Content-Length: ${Buffer.byteLength(body ?? '')}`);
  for (const [name, value] of Object.entries(ask.headers ?? {})) lines.push(`${name}: ${value}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** The server may answer and close before it has read everything: then the rest is not sent. */
async function upload(socket: Socket, from: Readable): Promise<void> {
  try {
    for await (const piece of from as AsyncIterable<Buffer>) {
      if (!socket.writable) return;
      socket.write(`${piece.length.toString(16)}\r\n`);
      socket.write(piece);
      if (!socket.write('\r\n')) await drained(socket);
    }
    socket.write('0\r\n\r\n');
  } catch (error) {
    socket.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Resolves when more can be written, or never again. */
async function drained(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => {
    const wake = (): void => {
      socket.off('drain', wake).off('close', wake);
      resolve();
    };
    socket.on('drain', wake).on('close', wake);
  });
}

/** What has arrived and not been taken yet. `more` waits for another piece; false at the end. */
type Bytes = { held: Buffer; readonly more: () => Promise<boolean>; readonly socket: Socket };

function makeBytes(socket: Socket): Bytes {
  const bytes: Bytes = {
    held: Buffer.alloc(0),
    socket,
    more: async () => {
      for (;;) {
        const piece: Buffer | null = socket.read();
        if (piece !== null) {
          bytes.held = bytes.held.length === 0 ? piece : Buffer.concat([bytes.held, piece]);
          return true;
        }
        if (socket.readableEnded || socket.destroyed) return false;
        await new Promise<void>((resolve) => {
          const events = ['readable', 'end', 'close'] as const;
          const wake = (): void => {
            for (const event of events) socket.off(event, wake);
            resolve();
          };
          for (const event of events) socket.on(event, wake);
        });
      }
    },
  };
  return bytes;
}

const HEAD_BYTES_MAX = 65_536;

async function readHead(bytes: Bytes): Promise<{ status: number; headers: Map<string, string> }> {
  let end = bytes.held.indexOf('\r\n\r\n');
  while (end < 0) {
    if (bytes.held.length > HEAD_BYTES_MAX) throw new Error('the server sent a head of more than 64 KiB');
    if (!(await bytes.more())) throw new Error('the server closed the connection without an answer');
    end = bytes.held.indexOf('\r\n\r\n');
  }
  const [first = '', ...lines] = bytes.held.toString('latin1', 0, end).split('\r\n');
  bytes.held = bytes.held.subarray(end + 4);
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1];
  if (status === undefined) throw new Error(`the server does not speak HTTP: ${JSON.stringify(first.slice(0, 80))}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}

async function* readBody(of: {
  bytes: Bytes;
  headers: ReadonlyMap<string, string>;
  empty: boolean;
}): AsyncGenerator<Buffer> {
  const { bytes, headers, empty } = of;
  try {
    if (empty) return;
    if (headers.get('transfer-encoding')?.toLowerCase() === 'chunked') yield* readChunked(bytes);
    else yield* readPlain(bytes, headers.get('content-length'));
  } finally {
    bytes.socket.destroy();
  }
}

async function* readPlain(bytes: Bytes, length: string | undefined): AsyncGenerator<Buffer> {
  let left = length === undefined ? Number.POSITIVE_INFINITY : Number(length);
  while (left > 0) {
    if (bytes.held.length === 0 && !(await bytes.more())) {
      if (length === undefined) return;
      throw new Error('unexpected EOF: the server closed the connection within an answer');
    }
    const piece = bytes.held.subarray(0, left);
    bytes.held = bytes.held.subarray(piece.length);
    left -= piece.length;
    yield piece;
  }
}

async function* readChunked(bytes: Bytes): AsyncGenerator<Buffer> {
  for (;;) {
    const size = Number.parseInt(await readLine(bytes), 16);
    if (!Number.isInteger(size) || size < 0) throw new Error('the server sent a malformed chunk');
    if (size === 0) return;
    yield* readPlain(bytes, String(size));
    await readLine(bytes);
  }
}

async function readLine(bytes: Bytes): Promise<string> {
  let end = bytes.held.indexOf('\r\n');
  while (end < 0) {
    if (!(await bytes.more())) throw new Error('unexpected EOF: the server closed the connection within an answer');
    end = bytes.held.indexOf('\r\n');
  }
  const line = bytes.held.toString('latin1', 0, end);
  bytes.held = bytes.held.subarray(end + 2);
  return line;
}
