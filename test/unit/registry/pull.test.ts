import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { layerId, progressBar, pulledLines } from '../../../core/registry/progress.ts';
import { parseReference } from '../../../core/spec/reference.ts';
import { fault, sendBlob, startFake } from '../../kit/fake-registry.ts';
import { type KitImage, makeImage, makeIndex } from '../../kit/image.ts';
import { tarOf } from '../../kit/tar.ts';
import { type Changes, spool, statuses, type Tried, tryPull } from './pull-kit.ts';

const noise = (size: number, seed: number): Uint8Array => {
  let state = seed;
  return Uint8Array.from({ length: size }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 16;
  });
};
const layer = (seed: number, size = 300_000): Uint8Array => tarOf([{ name: `f${seed}`, content: noise(size, seed) }]);
const image = makeImage({ layers: [layer(1), layer(2), layer(3), layer(4), layer(5)], architecture: 'amd64' });
const first = image.layers[0] as KitImage['layers'][number];
const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

function pull(name: string, changes: Changes = {}): Tried {
  const tried = tryPull(name, changes);
  dirs.push(tried.dir);
  return tried;
}

describe('pullImage()', () => {
  test('gives the config and every layer, verified, lowest first', async () => {
    await using fake = await startFake({ 'a/app:1': image });
    const tried = pull(`${fake.host}/a/app:1`);
    const pulled = await tried.pulled;
    expect(pulled).toMatchObject({ digest: image.digest, manifestDigest: image.digest, configDigest: image.id });
    expect(Buffer.from(pulled.configBytes)).toEqual(Buffer.from(image.config));
    expect(pulled.layers.map(({ digest, diffId, mediaType }) => [digest, diffId, mediaType])).toEqual(
      image.layers.map(({ digest, diffId, mediaType }) => [digest, diffId, mediaType]),
    );
    for (const [i, { path }] of pulled.layers.entries())
      expect(readFileSync(path ?? '').equals(image.layers[i]?.blob ?? Buffer.alloc(0))).toBe(true);
  });

  test("tells Docker's lines in Docker's order", async () => {
    await using fake = await startFake({ 'app:1': image });
    const tried = pull(`${fake.host}/app:1`, { wish: { have: ({ digest }) => digest === image.layers[1]?.digest } });
    const pulled = await tried.pulled;
    expect(tried.lines[0]).toEqual({ status: 'Pulling from app', id: '1' });
    expect(tried.lines[1]).toEqual({ status: 'Pulling fs layer', progressDetail: {}, id: layerId(first.digest) });
    expect(statuses(tried.lines, layerId(first.digest))).toEqual([
      'Pulling fs layer',
      'Downloading',
      'Verifying Checksum',
      'Download complete',
    ]);
    expect(statuses(tried.lines, layerId(image.layers[4]?.digest ?? first.digest))).toContain('Waiting');
    expect(statuses(tried.lines, layerId(image.layers[1]?.digest ?? first.digest))).toEqual(['Already exists']);
    expect(pulled.layers[1]?.path).toBeUndefined();
    const last = tried.lines.findLast((line) => line.id === layerId(first.digest) && line.status === 'Downloading');
    expect(last?.progressDetail).toEqual({ current: first.blob.length, total: first.blob.length });
  });

  test('gives a sink every byte as it comes and says whether all came', async () => {
    await using fake = await startFake({ 'app:1': image });
    const got = new Map<string, Buffer>();
    const ends: boolean[] = [];
    const sinkFor = ({ digest, size }: { digest: string; size: number }) => ({
      write: async (bytes: Uint8Array, at: number) => {
        const whole = got.get(digest) ?? Buffer.alloc(size);
        whole.set(bytes, at);
        got.set(digest, whole);
      },
      end: (whole: boolean) => void ends.push(whole),
    });
    await pull(`${fake.host}/app:1`, { wish: { sinkFor } }).pulled;
    expect(ends).toEqual(image.layers.map(() => true));
    for (const { digest, blob } of image.layers) expect(got.get(digest)?.equals(blob)).toBe(true);
  });

  test('tells nothing about the layers of an image that is there', async () => {
    await using fake = await startFake({ 'app:1': image });
    const tried = pull(`${fake.host}/app:1`, { wish: { have: () => true, known: (id) => id === image.id } });
    await tried.pulled;
    expect(tried.lines).toEqual([{ status: 'Pulling from app', id: '1' }]);
  });

  test('downloads a layer that occurs twice once', async () => {
    const twice = makeImage({ layers: [layer(1), layer(1)], architecture: 'amd64' });
    await using fake = await startFake({ 'app:1': twice });
    const given: string[] = [];
    const pulled = await pull(`${fake.host}/app:1`, {
      wish: { onLayer: async ({ digest }) => void given.push(digest) },
    }).pulled;
    expect([
      pulled.layers.length,
      given.length,
      fake.seen.filter(({ url }) => url.endsWith(first.digest)).length,
    ]).toEqual([2, 1, 1]);
  });

  test('gives layers to onLayer in order, one at a time, never more than three downloads at once', async () => {
    await using fake = await startFake({ 'app:1': image });
    let [open, most] = [0, 0];
    fake.on(/blobs/, (request, response) => {
      const found = image.layers.find(({ digest }) => request.url?.endsWith(digest));
      if (found === undefined) return false;
      most = Math.max(most, ++open);
      response.once('close', () => open--);
      void sleep(found === first ? 60 : 5).then(() => sendBlob(request, response, found.blob));
      return true;
    });
    let busy = 0;
    const order: string[] = [];
    const onLayer = async ({ digest }: { digest: string }): Promise<void> => {
      expect(++busy).toBe(1);
      await sleep(5);
      order.push(digest);
      busy--;
    };
    await pull(`${fake.host}/app:1`, { wish: { onLayer } }).pulled;
    expect([order, most]).toEqual([image.layers.map(({ digest }) => digest), 3]);
  });

  test('chooses by platform, and follows an index within an index by digest only', async () => {
    const arm = makeImage({ layers: [layer(9)], architecture: 'arm64' });
    const index = makeIndex(
      [image, arm],
      [
        {
          mediaType: image.manifestType,
          digest: first.digest,
          size: 1,
          platform: { os: 'unknown', architecture: 'unknown' },
        },
      ],
    );
    await using fake = await startFake({ 'app:1': image, 'app:arm': arm });
    fake.on(
      /manifests\/multi$/,
      (_, response) => void response.writeHead(200, { 'content-type': index.mediaType }).end(index.bytes),
    );
    const plain = await pull(`${fake.host}/app:multi`).pulled;
    const other = await pull(`${fake.host}/app:multi`, {
      wish: { platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
    }).pulled;
    expect([plain.digest, plain.configDigest, other.configDigest]).toEqual([index.digest, image.id, arm.id]);
    const none = pull(`${fake.host}/app:multi`, {
      wish: { platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
    });
    await expect(none.pulled).rejects.toMatchObject({
      code: 'image_not_found',
      message: 'no matching manifest for linux/arm/v7 in the manifest list entries',
    });
  });

  test('refuses a single image of another platform only when that was asked for', async () => {
    const arm = makeImage({ layers: [layer(9)], architecture: 'arm64' });
    await using fake = await startFake({ 'app:1': arm });
    await expect(pull(`${fake.host}/app:1`, { wish: { platformAsked: true } }).pulled).rejects.toMatchObject({
      code: 'image_not_found',
      message: expect.stringContaining('(linux/arm64) does not match the specified platform (linux/amd64)'),
    });
    expect((await pull(`${fake.host}/app:1`).pulled).configDigest).toBe(arm.id);
  });

  test.each(['gzip', 'zstd', 'none'] as const)('takes %s layers of either format', async (compress) => {
    for (const format of ['oci', 'docker'] as const) {
      const one = makeImage({ layers: [layer(1)], compress, format, architecture: 'amd64' });
      await using fake = await startFake({ 'app:1': one });
      expect((await pull(`${fake.host}/app:1`).pulled).layers[0]?.mediaType).toBe(one.layers[0]?.mediaType);
    }
  });

  test('takes an image without layers', async () => {
    const empty = makeImage({ layers: [], architecture: 'amd64' });
    await using fake = await startFake({ 'app:1': empty });
    expect((await pull(`${fake.host}/app:1`).pulled).layers).toEqual([]);
  });
});

/** Answers the first layer's blob by `answer`, counted from 0. */
async function withBlob(
  answer: (n: number, request: Parameters<typeof sendBlob>[0], response: Parameters<typeof sendBlob>[1]) => void,
): Promise<Awaited<ReturnType<typeof startFake>>> {
  const fake = await startFake({ 'app:1': image });
  let n = 0;
  fake.on(new RegExp(first.digest), (request, response) => void answer(n++, request, response));
  return fake;
}

const ranges = (fake: Awaited<ReturnType<typeof startFake>>): (string | undefined)[] =>
  fake.seen.filter(({ url }) => url.endsWith(first.digest)).map(({ headers }) => headers.range);

describe('a broken download', () => {
  const cut = 100_000;
  const breakAt = (response: Parameters<typeof sendBlob>[1], at: number): void => {
    response.writeHead(200, { 'content-length': first.blob.length });
    response.write(first.blob.subarray(0, at), () => void sleep(20).then(() => response.destroy()));
  };

  test('is continued where it broke', async () => {
    await using fake = await withBlob((n, request, response) =>
      n === 0 ? breakAt(response, cut) : sendBlob(request, response, first.blob),
    );
    const pulled = await pull(`${fake.host}/app:1`).pulled;
    expect(readFileSync(pulled.layers[0]?.path ?? '').equals(first.blob)).toBe(true);
    expect(ranges(fake)).toEqual([undefined, `bytes=${cut}-`]);
  });

  test('begins again where the server knows no ranges', async () => {
    await using fake = await withBlob((n, _, response) =>
      n === 0 ? breakAt(response, cut) : void response.writeHead(200).end(first.blob),
    );
    const pulled = await pull(`${fake.host}/app:1`).pulled;
    expect(readFileSync(pulled.layers[0]?.path ?? '').equals(first.blob)).toBe(true);
  });

  test('begins again where the server sends another range, or none', async () => {
    await using fake = await withBlob((n, request, response) => {
      if (n === 0) breakAt(response, cut);
      else if (n === 1) response.writeHead(206, { 'content-range': `bytes 5-9/${first.blob.length}` }).end('wrong');
      else if (n === 2) sendBlob(request, response, first.blob);
    });
    await pull(`${fake.host}/app:1`).pulled;
    expect(ranges(fake)).toEqual([undefined, `bytes=${cut}-`, undefined]);
  });

  test('begins once more when the continued bytes are wrong', async () => {
    await using fake = await withBlob((n, request, response) => {
      if (n === 0) breakAt(response, cut);
      else
        sendBlob(request, response, n === 1 ? first.blob.with(cut + 5, 255 - (first.blob[cut + 5] ?? 0)) : first.blob);
    });
    const pulled = await pull(`${fake.host}/app:1`).pulled;
    expect(readFileSync(pulled.layers[0]?.path ?? '').equals(first.blob)).toBe(true);
    expect(ranges(fake)).toEqual([undefined, `bytes=${cut}-`, undefined]);
  });

  test('is tried again after 500, 503 and 429, but not for ever', async () => {
    await using fake = await withBlob((n, request, response) =>
      n < 3
        ? fault(response, [500, 503, 429][n] ?? 0, 'TOOMANYREQUESTS', 'slow down')
        : sendBlob(request, response, first.blob),
    );
    await pull(`${fake.host}/app:1`).pulled;
    await using never = await withBlob((_, __, response) => fault(response, 503, 'UNAVAILABLE', 'try later'));
    await expect(pull(`${never.host}/app:1`).pulled).rejects.toMatchObject({
      code: 'registry',
      message: `blob ${first.digest}: unavailable: try later`,
    });
    expect(ranges(never)).toHaveLength(4);
  });

  test('that always breaks ends with what was missing', async () => {
    await using fake = await withBlob((_, __, response) => breakAt(response, 0));
    const tried = pull(`${fake.host}/app:1`);
    await expect(tried.pulled).rejects.toMatchObject({
      code: 'registry',
      message: `blob ${first.digest}: unexpected EOF`,
    });
    expect(readdirSync(tried.dir)).toEqual([]);
  });

  test('that stalls is given up after the idle time', async () => {
    await using fake = await withBlob((n, request, response) =>
      n === 0
        ? void response.writeHead(200, { 'content-length': 5 }).write('x')
        : sendBlob(request, response, first.blob),
    );
    await pull(`${fake.host}/app:1`, { options: { idleMs: 200 } }).pulled;
    expect(ranges(fake)[1]).toBe('bytes=1-');
  });
});

describe('a hostile registry', () => {
  test('cannot pass off other bytes for a layer', async () => {
    await using fake = await withBlob((_, request, response) => sendBlob(request, response, first.blob.with(7, 1)));
    const tried = pull(`${fake.host}/app:1`);
    await expect(tried.pulled).rejects.toMatchObject({
      code: 'registry',
      message: `filesystem layer verification failed for digest ${first.digest}`,
    });
    expect([readdirSync(tried.dir), ranges(fake).length]).toEqual([[], 1]);
  });

  test('cannot fill the disk with an endless layer', async () => {
    await using fake = await withBlob((_, __, response) => {
      response.writeHead(200);
      const more = (): void => void (response.destroyed || response.write(Buffer.alloc(65536), more));
      more();
    });
    const tried = pull(`${fake.host}/app:1`);
    await expect(tried.pulled).rejects.toMatchObject({
      message: `blob ${first.digest}: it is larger than the ${first.blob.length} bytes its manifest says`,
    });
    expect(readdirSync(tried.dir)).toEqual([]);
  });

  test.each([
    ['manifests', /manifests/, 'larger than 4194304 bytes'],
    ['configs', new RegExp(image.id), `larger than ${image.config.length} bytes`],
  ])('cannot fill the memory with endless %s', async (_, url, message) => {
    await using fake = await startFake({ 'app:1': image });
    fake.on(url, (_, response) => {
      response.writeHead(200, { 'content-type': image.manifestType });
      const more = (): void => void (response.destroyed || response.write(Buffer.alloc(65536), more));
      more();
    });
    await expect(pull(`${fake.host}/app:1`).pulled).rejects.toMatchObject({
      code: 'registry',
      message: expect.stringContaining(message),
    });
  });

  test('cannot give another manifest for a digest, or another config', async () => {
    const other = makeImage({ layers: [layer(7)], architecture: 'amd64' });
    await using fake = await startFake({ 'app:1': image });
    fake.on(
      /manifests/,
      (_, response) => void response.writeHead(200, { 'content-type': other.manifestType }).end(other.manifest),
    );
    await expect(pull(`${fake.host}/app@${image.digest}`).pulled).rejects.toMatchObject({
      message: `manifest verification failed for digest ${image.digest}`,
    });
    await using second = await startFake({ 'app:1': image });
    second.on(
      new RegExp(image.id),
      (_, response) => void response.end(Buffer.from(image.config).toString().replace('kit', 'KIT')),
    );
    await expect(pull(`${second.host}/app:1`).pulled).rejects.toMatchObject({
      message: `image config verification failed for digest ${image.id}`,
    });
  });

  test.each([
    [
      'schema 1',
      { schemaVersion: 1, name: 'app', fsLayers: [], history: [] },
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
      'image manifest: Docker image manifest version 2, schema 1 is not supported',
    ],
    [
      'both an index and an image',
      { ...JSON.parse(Buffer.from(image.manifest).toString()), manifests: [] },
      image.manifestType,
      'image manifest: it has both manifests and layers',
    ],
    [
      'another type than it says',
      JSON.parse(Buffer.from(image.manifest).toString()),
      'application/vnd.oci.image.index.v1+json',
      /^image manifest: it says it is .*manifest\.v1\+json, the registry says .*index/,
    ],
    ['a page for people', '<html>', 'text/html', 'image manifest: it is not JSON in UTF-8'],
    [
      'no layers',
      { schemaVersion: 2, config: {} },
      image.manifestType,
      /^image manifest: config.digest must be sha256/,
    ],
    [
      'a chart',
      {
        schemaVersion: 2,
        config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: image.id, size: 2 },
        layers: [],
      },
      image.manifestType,
      /it is no container image but of type "application\/vnd.cncf.helm/,
    ],
    [
      'layers from elsewhere',
      {
        schemaVersion: 2,
        config: { mediaType: image.configType, digest: image.id, size: 2 },
        layers: [
          { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', digest: first.digest, size: 3 },
        ],
      },
      image.manifestType,
      /unsupported type "application\/vnd.docker.image.rootfs.foreign/,
    ],
    [
      'too many layers',
      {
        schemaVersion: 2,
        config: { mediaType: image.configType, digest: image.id, size: 2 },
        layers: Array.from({ length: 300 }, () => ({ mediaType: first.mediaType, digest: first.digest, size: 3 })),
      },
      image.manifestType,
      'image manifest: it has 300 layers',
    ],
    [
      'a negative size',
      { schemaVersion: 2, config: { mediaType: image.configType, digest: image.id, size: -1 }, layers: [] },
      image.manifestType,
      'image manifest: config.size -1 is out of range',
    ],
  ])('is told about a manifest that is %s', async (_, body, type, message) => {
    await using fake = await startFake({ 'app:1': image });
    fake.on(
      /manifests/,
      (_, response) =>
        void response
          .writeHead(200, { 'content-type': type })
          .end(typeof body === 'string' ? body : JSON.stringify(body)),
    );
    await expect(pull(`${fake.host}/app:1`).pulled).rejects.toMatchObject({
      code: 'image_invalid',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });

  test('cannot make one layer have two contents, or layers without contents', async () => {
    const one = makeImage({ layers: [layer(1)], architecture: 'amd64' });
    const two = makeImage({ layers: [layer(1), layer(2)], architecture: 'amd64' });
    const lie = async (layers: number[]): Promise<string> => {
      const config = { mediaType: two.configType, digest: two.id, size: two.config.length };
      const body = {
        schemaVersion: 2,
        config,
        layers: layers.map((i) => ({
          mediaType: first.mediaType,
          digest: two.layers[i]?.digest,
          size: two.layers[i]?.blob.length,
        })),
      };
      await using fake = await startFake({ 'app:1': two, 'app:2': one });
      fake.on(
        /manifests/,
        (_, response) => void response.writeHead(200, { 'content-type': two.manifestType }).end(JSON.stringify(body)),
      );
      return await pull(`${fake.host}/app:1`).pulled.then(
        () => 'pulled',
        (error: Error) => error.message,
      );
    };
    expect(await lie([0])).toBe('invalid manifest, layers length mismatch: expected 2, got 1');
    expect(await lie([0, 0])).toBe(`image config: layer ${two.layers[0]?.digest} has two diff ids`);
  });

  test('one failing layer stops the others and leaves nothing', async () => {
    await using fake = await startFake({ 'app:1': image });
    fake.on(new RegExp(image.layers[2]?.digest ?? ''), (_, response) =>
      fault(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry'),
    );
    fake.on(
      new RegExp(first.digest),
      (_, response) => void response.writeHead(200, { 'content-length': 50_000_000 }).write('x'),
    ); // would never end
    const tried = pull(`${fake.host}/app:1`);
    await expect(tried.pulled).rejects.toMatchObject({
      message: `blob ${image.layers[2]?.digest}: blob unknown: blob unknown to registry`,
    });
    expect(readdirSync(tried.dir)).toEqual([]);
  });

  test('a pull that is given up ends at once and leaves nothing', async () => {
    await using fake = await withBlob(
      (_, __, response) => void response.writeHead(200, { 'content-length': first.blob.length }).write('x'),
    );
    const stop = new AbortController();
    const tried = pull(`${fake.host}/app:1`, { options: { signal: stop.signal } });
    void sleep(50).then(() => stop.abort(new Error('client went away')));
    await expect(tried.pulled).rejects.toThrow('client went away');
    expect(readdirSync(tried.dir)).toEqual([]);
  });

  test('a file in the way is not written through', async () => {
    await using fake = await startFake({ 'app:1': image });
    const dir = spool();
    const { symlinkSync } = await import('node:fs');
    symlinkSync('/dev/null', `${dir}/${first.digest.slice(7)}`);
    await expect(pull(`${fake.host}/app:1`, { dir }).pulled).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('EEXIST'),
    });
  });
});

test("progressBar() is as wide as Docker's", () => {
  expect(progressBar(0, 1000)).toBe(`[>${' '.repeat(50)}]       0B/1kB`);
  expect(progressBar(500, 1000)).toBe(`[${'='.repeat(25)}>${' '.repeat(25)}]     500B/1kB`);
  expect(progressBar(1_234_567, 1_234_567)).toBe(`[${'='.repeat(50)}>]  1.235MB/1.235MB`);
});

test('pulledLines() end with digest and status', () => {
  const lines = pulledLines(parseReference('busybox:1'), image.digest, true);
  expect(lines).toEqual([
    { status: `Digest: ${image.digest}` },
    { status: 'Status: Downloaded newer image for busybox:1' },
  ]);
  expect(pulledLines(parseReference('h.x/a:1'), image.digest, false)[1]?.status).toBe(
    'Status: Image is up to date for h.x/a:1',
  );
});
