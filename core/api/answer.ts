// Writes an Answer as HTTP, and turns what was thrown into one.
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { BerthError, type Code } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { API_VERSION, errorText } from '../spec/docker-api.ts';
import { TooLarge } from './body.ts';
import type { Answer } from './call.ts';
import { STATUS } from './status.ts';

export type Log = (line: string) => void;

/** On every answer: clients read the version and the system from them. */
export const HEADERS: Readonly<Record<string, string>> = {
  'Api-Version': API_VERSION,
  'Docker-Experimental': 'false',
  Ostype: 'linux',
  Server: 'Berth (linux)',
};

/** The answer for what a route threw. A BerthError is the user's; anything else is a bug: it is logged whole and told in one line. */
export function failureAnswer(error: unknown, log: Log): Answer & { kind: 'json' } {
  if (error instanceof TooLarge) return message(413, 'request body too large');
  if (error instanceof BerthError) {
    if (STATUS[error.code] >= 500) log(`error ${error.code}: ${withCauses(error)}`);
    return message(STATUS[error.code], errorText(error), error.code);
  }
  log(`bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return message(500, `internal error, please report: ${error instanceof Error ? error.message : String(error)}`);
}

/** `code` is ours, beside Docker's one field: clients of ours need not read sentences. */
function message(status: number, text: string, code?: Code): Answer & { kind: 'json' } {
  const said = { message: printable(text) };
  return { kind: 'json', status, value: code === undefined ? said : { ...said, code } };
}

function withCauses(error: Error): string {
  const cause = error.cause instanceof Error ? `: ${withCauses(error.cause)}` : '';
  return `${error.message}${cause}`;
}

/** Sends an answer. A client that goes away ends the stream's reading. */
export async function sendAnswer(
  response: ServerResponse,
  answer: Exclude<Answer, { kind: 'hijack' }>,
  log: Log,
): Promise<void> {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  switch (answer.kind) {
    case 'empty':
      response.writeHead(answer.status).end();
      return;
    case 'text': {
      response.writeHead(answer.status, { 'Content-Type': 'text/plain; charset=utf-8', ...answer.headers });
      response.end(answer.text);
      return;
    }
    case 'json': {
      const text = `${JSON.stringify(answer.value)}\n`;
      response.writeHead(answer.status, {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(text),
      });
      response.end(text);
      return;
    }
    case 'stream':
      response.writeHead(200, { 'Content-Type': answer.type });
      response.flushHeaders();
      await sendChunks(response, answer.chunks, log);
  }
}

async function sendChunks(response: ServerResponse, chunks: AsyncIterable<Uint8Array>, log: Log): Promise<void> {
  const iterator = chunks[Symbol.asyncIterator]();
  const gone = once(response, 'close').then(() => ({ done: true as const, value: undefined }));
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), gone]);
      if (next.done === true) break;
      if (!response.write(next.value)) await Promise.race([once(response, 'drain'), gone]);
    }
    response.end();
  } catch (error) {
    // The head is out: the only honest end is a broken one, which a client reports as an unexpected end.
    failureAnswer(error, log);
    response.destroy();
  } finally {
    // Not awaited: a generator that waits for its next piece would never come back.
    iterator.return?.().catch((error: unknown) => failureAnswer(error, log));
  }
}
