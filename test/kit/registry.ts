// A real registry for tests: Debian's docker-registry on a free loopback port, its data in a temporary directory of its own.
//   registry: Need                          for suite(): the package is installed
//   startRegistry({ auth })                 starts it; `using`-closable by `await using r = await startRegistry()`
//   r.host                                  `127.0.0.1:PORT`, to put before a name: `${r.host}/app:1`
//   r.push(image, 'app:1')                  pushes an image of kit/image.ts, gives the full reference
//   r.pushIndex('app:1', index, images)     pushes images and the index over them
//   r.dir                                   where it keeps its data
// With `auth` every request needs that user and password (htpasswd, HTTP basic).
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KitImage, KitIndex } from './image.ts';
import { type Need, tool } from './need.ts';

export type Credentials = { readonly user: string; readonly password: string };
export type Registry = AsyncDisposable & {
  readonly host: string;
  readonly url: string;
  readonly dir: string;
  readonly push: (image: KitImage, name: string) => Promise<string>;
  readonly pushIndex: (name: string, index: KitIndex, images: readonly KitImage[]) => Promise<string>;
  readonly stop: () => Promise<void>;
};

export const registry: Need = tool('docker-registry');

/** Starts the registry and waits until it listens. Throws with what it printed when it does not. */
export async function startRegistry(more: { readonly auth?: Credentials } = {}): Promise<Registry> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-registry-'));
  writeFileSync(join(dir, 'config.yml'), configText(dir, more.auth));
  const child = spawn('docker-registry', ['serve', join(dir, 'config.yml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    const late = new AbortController();
    await Promise.race([
      exited,
      sleep(5000, undefined, { signal: late.signal }).then(
        () => child.kill('SIGKILL'),
        () => {},
      ),
    ]);
    late.abort();
    rmSync(dir, { recursive: true, force: true });
  };
  const printed: string[] = [];
  const port = await new Promise<string | undefined>((found) => {
    child.once('error', () => found(undefined));
    child.once('exit', () => found(undefined));
    createInterface({ input: child.stderr }).on('line', (line) => {
      printed.push(line);
      const match = /listening on 127\.0\.0\.1:(\d+)/.exec(line);
      if (match !== null) found(match[1]);
    });
  });
  if (port === undefined) {
    await stop();
    throw new Error(`docker-registry did not start: ${printed.join('\n')}`);
  }
  const host = `127.0.0.1:${port}`;
  const at: Target = { url: `http://${host}`, headers: authHeaders(more.auth) };
  return {
    host,
    url: at.url,
    dir,
    push: async (image, name) => {
      const { repository, tag } = splitName(name);
      await pushImage(at, repository, image);
      await putManifest(at, `${repository}/manifests/${tag}`, { bytes: image.manifest, mediaType: image.manifestType });
      return `${host}/${name}`;
    },
    pushIndex: async (name, index, images) => {
      const { repository, tag } = splitName(name);
      for (const image of images) {
        await pushImage(at, repository, image);
        await putManifest(at, `${repository}/manifests/${image.digest}`, {
          bytes: image.manifest,
          mediaType: image.manifestType,
        });
      }
      await putManifest(at, `${repository}/manifests/${tag}`, index);
      return `${host}/${name}`;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function configText(dir: string, auth: Credentials | undefined): string {
  mkdirSync(join(dir, 'data'));
  const lines = [
    'version: 0.1',
    'log: {level: info, formatter: text}',
    `storage: {filesystem: {rootdirectory: ${join(dir, 'data')}}, delete: {enabled: true}}`,
    'http: {addr: "127.0.0.1:0", secret: "of this test only"}',
  ];
  if (auth !== undefined) {
    // The registry takes bcrypt only; the system's crypt(3) makes it.
    const hash = execFileSync(
      'perl',
      ['-e', 'print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))', auth.password],
      { encoding: 'utf8' },
    );
    writeFileSync(join(dir, 'htpasswd'), `${auth.user}:${hash}\n`);
    lines.push(`auth: {htpasswd: {realm: test, path: ${join(dir, 'htpasswd')}}}`);
  }
  return `${lines.join('\n')}\n`;
}

type Target = { readonly url: string; readonly headers: Readonly<Record<string, string>> };

function authHeaders(auth: Credentials | undefined): Record<string, string> {
  return auth === undefined
    ? {}
    : { authorization: `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString('base64')}` };
}

function splitName(name: string): { repository: string; tag: string } {
  const colon = name.lastIndexOf(':');
  return colon < 0
    ? { repository: name, tag: 'latest' }
    : { repository: name.slice(0, colon), tag: name.slice(colon + 1) };
}

async function pushImage(at: Target, repository: string, image: KitImage): Promise<void> {
  await putBlob(at, repository, { digest: image.id, bytes: image.config });
  for (const layer of image.layers) await putBlob(at, repository, { digest: layer.digest, bytes: layer.blob });
}

async function putBlob(at: Target, repository: string, blob: { digest: string; bytes: Uint8Array }): Promise<void> {
  const known = await fetch(`${at.url}/v2/${repository}/blobs/${blob.digest}`, { method: 'HEAD', headers: at.headers });
  if (known.ok) return;
  const begun = await expectStatus(
    fetch(`${at.url}/v2/${repository}/blobs/uploads/`, { method: 'POST', headers: at.headers }),
    202,
  );
  const place = new URL(begun.headers.get('location') ?? '', at.url);
  place.searchParams.set('digest', blob.digest);
  await expectStatus(
    fetch(place, {
      method: 'PUT',
      headers: { ...at.headers, 'content-type': 'application/octet-stream' },
      body: new Uint8Array(blob.bytes),
    }),
    201,
  );
}

async function putManifest(
  at: Target,
  path: string,
  manifest: { bytes: Uint8Array; mediaType: string },
): Promise<void> {
  await expectStatus(
    fetch(`${at.url}/v2/${path}`, {
      method: 'PUT',
      headers: { ...at.headers, 'content-type': manifest.mediaType },
      body: new Uint8Array(manifest.bytes),
    }),
    201,
  );
}

async function expectStatus(answer: Promise<Response>, status: number): Promise<Response> {
  const got = await answer;
  if (got.status !== status) throw new Error(`${got.url}: ${got.status} instead of ${status}: ${await got.text()}`);
  return got;
}
