// A connection that stops being HTTP and becomes a container's streams. Two heads: 101 for clients that ask for `Upgrade: tcp`, 200 for the
// older ones. Source: moby api/swagger.yaml, ContainerAttach, "Hijacking".
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthError } from '../base/errors.ts';
import type { Attachment, Chunk } from '../engine/engine.ts';
import { isHungUp } from '../sys/socket.ts';
import { failureAnswer, HEADERS, type Log } from './answer.ts';
import type { Answer } from './call.ts';
import { onWire } from './frames.ts';

/** docker-py (and docker-compose 1, made of it) reads the head through a buffer and the stream beneath it: what arrives in one piece with the head it loses. */
const LOSES_FIRST_BYTES = /^docker-(sdk-python|py|compose)\//;
/** Docker itself takes about so long to start an exec after the head. */
const HOLD_MS = 50;

export type HijackMore = { readonly upgraded: boolean; readonly agent: string | undefined; readonly log: Log };

/** Writes the head of the answer and joins socket and attachment until the output ends or the client is gone. */
export async function runHijack(socket: Duplex, answer: Answer & { kind: 'hijack' }, more: HijackMore): Promise<void> {
  const status = more.upgraded ? '101 UPGRADED' : '200 OK';
  const upgrade: Record<string, string> = more.upgraded
    ? { Connection: 'Upgrade', Upgrade: 'tcp' }
    : { Connection: 'close' };
  socket.write(head(status, { 'Content-Type': answer.type, ...upgrade, ...HEADERS }));
  const gone = once(socket, 'close').then(() => 'gone' as const);
  if (LOSES_FIRST_BYTES.test(more.agent ?? '')) await sleep(HOLD_MS);
  const attachment = await answer.open().catch((error: unknown) => failedAttachment(error, answer.tty, more.log));
  joinInput(socket, attachment);
  endWithClient(socket);
  const end = await Promise.race([sendOutput(socket, attachment, gone), gone]).catch((error: unknown) => {
    more.log(`attach: ${error instanceof Error ? error.message : String(error)}`);
  });
  attachment.close();
  if (end === 'gone') return;
  socket.end();
  // Whoever still writes to a container that has ended would keep the connection for ever.
  setTimeout(() => socket.destroy(), 5000).unref();
}

/** Clients read why a program did not start from its streams, and the code from inspect. Docker writes it as standard output; standard error is where people look. */
export function failedAttachment(error: unknown, tty: boolean, log: Log): Attachment {
  const { value } = failureAnswer(error, log);
  async function* told(): AsyncGenerator<Chunk> {
    yield { stream: 2, timeNs: 0n, bytes: Buffer.from(`${(value as { message: string }).message}\r\n`) };
  }
  return { tty, output: told(), input: undefined, close: () => undefined };
}

/** The text of an answer's head, for connections that are no longer node's. */
export function head(status: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status}\r\n${lines.join('')}\r\n`;
}

/** Standard input. The client's half close is the end of it, but never of a tty's: there it only means that nobody types any more. */
function joinInput(socket: Duplex, attachment: Attachment): void {
  const { input } = attachment;
  if (input === undefined) {
    socket.resume();
    return;
  }
  // The process may close its standard input or end at any time; what was still to be written is then nobody's.
  input.on('error', () => socket.resume());
  socket.pipe(input, { end: !attachment.tty });
}

const LOOK_MS = 2000;

/**
 * A client that sends nothing more may still read, so the end of its stream says nothing; and one that is gone is noticed by a write only, which a
 * silent container never causes. So from the half close on it is looked at now and then.
 */
function endWithClient(socket: Duplex): void {
  socket.once('end', () => {
    const timer = setInterval(() => {
      const fd = descriptorOf(socket);
      if (fd >= 0 && isHungUp(fd)) socket.destroy();
    }, LOOK_MS);
    socket.once('close', () => clearInterval(timer));
  });
}

/** The socket's descriptor; -1 when it is closed. Node has no public way to it. */
export function descriptorOf(socket: Duplex): number {
  return (socket as unknown as { _handle: { fd: number } | null })._handle?.fd ?? -1;
}

async function sendOutput(socket: Duplex, attachment: Attachment, gone: Promise<'gone'>): Promise<'done' | 'gone'> {
  const iterator = attachment.output[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await iterator.next();
      if (next.done === true) return 'done';
      if (socket.destroyed) return 'gone';
      if (!socket.write(onWire(next.value, attachment.tty))) await Promise.race([once(socket, 'drain'), gone]);
    }
  } finally {
    iterator.return?.().catch(() => undefined);
  }
}

/** Takes a request's body from an upgraded connection, where node has stopped parsing: only by Content-Length. Throws bad_parameter. */
export async function takeBody(
  socket: Duplex,
  first: Buffer,
  length: string | undefined,
): Promise<{ body: Buffer; rest: Buffer }> {
  const size = Number(length ?? 0);
  if (!Number.isInteger(size) || size < 0 || size > 65_536) {
    throw new BerthError(
      'bad_parameter',
      `a request that upgrades has a body of at most 64 KiB, not Content-Length ${length}`,
    );
  }
  let bytes = first;
  while (bytes.length < size) {
    const next: Buffer | null = socket.read();
    if (next !== null) bytes = Buffer.concat([bytes, next]);
    else if (socket.readableEnded || socket.destroyed) throw new BerthError('bad_parameter', 'the body ended early');
    else await Promise.race([once(socket, 'readable'), once(socket, 'end'), once(socket, 'close')]);
  }
  return { body: bytes.subarray(0, size), rest: bytes.subarray(size) };
}
