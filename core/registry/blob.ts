// Downloads one blob to a file: verified while it streams, continued after a break, never larger than it was said to be.
import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import { faultText, readFault } from './answer.ts';
import type { RegistryClient } from './client.ts';
import { NetworkError } from './transport.ts';

export type BlobWish = {
  readonly repository: string;
  readonly digest: Digest;
  readonly size: number;
  /** Made anew, for the owner alone. */
  readonly path: string;
};

export type BlobOptions = {
  readonly scope: string;
  readonly onBytes?: (done: number) => void;
  /** Given every part as it comes, with its place; after a break perhaps parts that it had. Waited for. */
  readonly also?: ((bytes: Uint8Array, at: number) => Promise<void>) | undefined;
  /** The last byte is there. */
  readonly onVerify?: () => void;
  readonly signal?: AbortSignal | undefined;
  /** How long to wait before each further try; their number is the number of tries after the first. */
  readonly retryMs?: readonly number[];
};

const RETRY_MS = [100, 300, 1000, 3000, 6000];
const BATCH_BYTES = 1 << 20;

/** A failure that another try may mend. */
class Broken extends Error {}

type Partial = { readonly file: FileHandle; hash: Hash; done: number; resumed: boolean };

/** Downloads a blob. Throws registry when the tries are used up or the bytes are not what was asked for, no_space. */
export async function downloadBlob(client: RegistryClient, wish: BlobWish, options: BlobOptions): Promise<void> {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW;
  const file = await open(wish.path, flags, 0o600).catch((error: unknown) => Promise.reject(diskError(wish, error)));
  await using _closing = { [Symbol.asyncDispose]: () => file.close() };
  const part: Partial = { file, hash: createHash('sha256'), done: 0, resumed: false };
  const waits = options.retryMs ?? RETRY_MS;
  for (let tries = 0; ; tries++) {
    try {
      await receive(client, { wish, options, part });
      options.onVerify?.();
      const digest = `sha256:${part.hash.digest('hex')}`;
      if (digest === wish.digest) return;
      const mismatch = `filesystem layer verification failed for digest ${wish.digest}`;
      if (!part.resumed) throw new BerthError('registry', mismatch); // the whole blob in one piece: it will not get better
      restart(part);
      throw new Broken(mismatch);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof Broken)) throw error;
      const wait = waits[tries];
      if (wait === undefined)
        throw new BerthError('registry', `blob ${wish.digest}: ${error.message}`, { cause: error });
      await sleep(wait, undefined, options.signal === undefined ? {} : { signal: options.signal });
    }
  }
}

function restart(part: Partial): void {
  part.hash = createHash('sha256');
  part.done = 0;
  part.resumed = false;
}

type Job = { readonly wish: BlobWish; readonly options: BlobOptions; readonly part: Partial };

/** One try: asks for what is missing and writes it. */
async function receive(client: RegistryClient, { wish, options, part }: Job): Promise<void> {
  if (part.done === wish.size && wish.size > 0) return; // only the last answer's end was missing
  const headers: Record<string, string> = part.done > 0 ? { range: `bytes=${part.done}-` } : {};
  const path = `${wish.repository}/blobs/${wish.digest}`;
  const answer = await client
    .ask({ method: 'GET', path, headers, scope: options.scope, signal: options.signal })
    .catch((cause: unknown) => {
      if (options.signal?.aborted || !(cause instanceof NetworkError)) throw cause;
      throw new Broken(cause.message, { cause });
    });
  await checkAnswer(answer, wish, part);
  try {
    await write(answer, { wish, options, part });
  } finally {
    answer.destroy();
  }
  if (part.done < wish.size) throw new Broken(`unexpected EOF after ${part.done} of ${wish.size} bytes`);
}

async function checkAnswer(answer: IncomingMessage, wish: BlobWish, part: Partial): Promise<void> {
  const status = answer.statusCode ?? 0;
  if (status === 206 && part.done > 0) {
    const from = /^bytes (\d+)-/.exec(answer.headers['content-range'] ?? '')?.[1];
    if (Number(from) === part.done) {
      part.resumed = true;
      return;
    }
  }
  if (status === 200) {
    restart(part); // it does not know ranges: from the beginning
    return;
  }
  const fault = await readFault(answer);
  if (status === 416 || status === 206) restart(part);
  const mayMend = status >= 500 || status === 429 || status === 408 || status === 416 || status === 206;
  if (mayMend) throw new Broken(faultText(fault));
  throw new BerthError('registry', `blob ${wish.digest}: ${faultText(fault)}`);
}

async function write(answer: IncomingMessage, { wish, options, part }: Job): Promise<void> {
  let batch: Uint8Array[] = [];
  let batched = 0;
  const flush = async (): Promise<void> => {
    const bytes = batch.length === 1 ? batch[0] : Buffer.concat(batch);
    if (bytes !== undefined && batched > 0) await writeAll({ wish, options, part }, bytes);
    batch = [];
    batched = 0;
    options.onBytes?.(part.done);
  };
  try {
    for await (const chunk of answer as AsyncIterable<Uint8Array>) {
      if (part.done + batched + chunk.length > wish.size) {
        throw new BerthError(
          'registry',
          `blob ${wish.digest}: it is larger than the ${wish.size} bytes its manifest says`,
        );
      }
      batch.push(chunk);
      batched += chunk.length;
      if (batched >= BATCH_BYTES) await flush();
    }
  } catch (cause) {
    if (cause instanceof BerthError) throw cause;
    await flush(); // what came before the break counts
    throw new Broken('unexpected EOF', { cause });
  }
  await flush();
}

async function writeAll({ wish, options, part }: Job, bytes: Uint8Array): Promise<void> {
  part.hash.update(bytes);
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await part.file
      .write(bytes, at, bytes.length - at, part.done + at)
      .catch((error: unknown) => Promise.reject(diskError(wish, error)));
    at += bytesWritten;
  }
  await options.also?.(bytes, part.done);
  part.done += bytes.length;
}

function diskError(wish: BlobWish, error: unknown): BerthError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new BerthError('no_space', `write ${wish.path}: no space left on device`, { cause: error });
  }
  return new BerthError('internal', `write ${wish.path}: ${(error as Error).message}`, { cause: error });
}
