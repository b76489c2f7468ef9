// A registry in this process whose every answer a test may replace: for broken, slow and hostile ones.
//   await using fake = await startFake({ 'app:1': image })
//   fake.on(/blobs/, (request, response) => …)   answers instead; returning false leaves it to the usual answer
//   fake.seen                                     what was asked: method, url, headers
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { KitImage } from './image.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;
export type Fake = AsyncDisposable & {
  readonly host: string;
  readonly url: string;
  readonly seen: { method: string; url: string; headers: IncomingMessage['headers'] }[];
  readonly on: (url: RegExp, answer: Answer) => void;
  readonly close: () => Promise<void>;
};

export type FakeOptions = { readonly tls?: { readonly key: string; readonly cert: string } };

/** Starts it on a free port of 127.0.0.1 with these images by name and tag. */
export async function startFake(images: Readonly<Record<string, KitImage>>, more: FakeOptions = {}): Promise<Fake> {
  const seen: Fake['seen'] = [];
  const answers: [RegExp, Answer][] = [];
  const listener: RequestListener = (request, response) => {
    const url = request.url ?? '';
    seen.push({ method: request.method ?? '', url, headers: request.headers });
    for (const [pattern, answer] of answers.toReversed()) {
      if (pattern.test(url) && answer(request, response) !== false) return;
    }
    usual(images, request, response);
  };
  const server: Server = more.tls === undefined ? createServer(listener) : createSecureServer(more.tls, listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = (): Promise<void> =>
    new Promise((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  const on = (url: RegExp, answer: Answer): void => void answers.push([url, answer]);
  return {
    host,
    url: `${more.tls === undefined ? 'http' : 'https'}://${host}`,
    seen,
    on,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The error body of a registry. */
export function fault(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message, detail: {} }] }));
}

/** Sends bytes, and the part that was asked for when there is a range. */
export function sendBlob(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const range =
    request.headers.range === undefined ? {} : { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
  response.writeHead(request.headers.range === undefined ? 200 : 206, {
    'content-length': bytes.length - from,
    ...range,
  });
  response.end(bytes.subarray(from));
}

function usual(images: Readonly<Record<string, KitImage>>, request: IncomingMessage, response: ServerResponse): void {
  const [, name = '', kind, ref = ''] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? [];
  const own = Object.entries(images).filter(([key]) => key.startsWith(`${name}:`));
  if (request.url === '/v2/') response.end('{}');
  else if (kind === 'manifests')
    sendManifest(images[`${name}:${ref}`] ?? own.find(([, one]) => one.digest === ref)?.[1], response);
  else {
    const blobs = own.flatMap(([, image]) => [
      ...image.layers.map((layer) => [layer.digest, layer.blob] as const),
      [image.id, image.config] as const,
    ]);
    const bytes = blobs.find(([digest]) => digest === ref)?.[1];
    if (bytes === undefined) fault(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    else sendBlob(request, response, bytes);
  }
}

function sendManifest(image: KitImage | undefined, response: ServerResponse): void {
  if (image === undefined) {
    fault(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    return;
  }
  response.writeHead(200, { 'content-type': image.manifestType, 'docker-content-digest': image.digest });
  response.end(image.manifest);
}
