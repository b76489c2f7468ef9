// Against Debian's docker-registry: what a fake cannot show.
import { readFileSync, rmSync, unlinkSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { layerId } from '../../../core/registry/progress.ts';
import { busyboxImage, makeImage, makeIndex, staticBusybox } from '../../kit/image.ts';
import { type Need, suite } from '../../kit/need.ts';
import { registry, startRegistry } from '../../kit/registry.ts';
import { tarOf } from '../../kit/tar.ts';
import { type Changes, statuses, type Tried, tryPull } from './pull-kit.ts';

const busybox: Need = {
  reason: 'needs busybox-static (Debian package busybox-static)',
  met: () => staticBusybox() !== undefined,
};
const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

function pull(name: string, changes: Changes = {}): Tried {
  const tried = tryPull(name, changes);
  dirs.push(tried.dir);
  return tried;
}

const many = (format: 'oci' | 'docker'): ReturnType<typeof makeImage> =>
  makeImage({
    layers: Array.from({ length: 40 }, (_, i) => tarOf([{ name: `f${i}`, content: `${i}`.repeat(5000) }])),
    format,
    architecture: 'amd64',
  });

suite('a real registry', [registry], () => {
  test.each(['oci', 'docker'] as const)('gives a 40-layer image in %s format, by tag and by digest', async (format) => {
    await using server = await startRegistry();
    const image = many(format);
    const name = await server.push(image, 'deep/er/app:1');
    const byTag = await pull(name).pulled;
    expect([byTag.digest, byTag.configDigest, byTag.layers.length]).toEqual([image.digest, image.id, 40]);
    for (const [i, layer] of byTag.layers.entries())
      expect(readFileSync(layer.path ?? '').equals(image.layers[i]?.blob ?? Buffer.alloc(0))).toBe(true);
    const byDigest = pull(`${server.host}/deep/er/app@${image.digest}`, { wish: { have: () => true } });
    expect((await byDigest.pulled).layers.every((layer) => layer.path === undefined)).toBe(true);
    expect(byDigest.lines[0]).toEqual({ status: 'Pulling from deep/er/app', id: image.digest });
    expect(statuses(byDigest.lines, layerId(image.layers[0]?.digest ?? image.id))).toEqual(['Already exists']);
  });

  test('gives the image for the platform out of a list', async () => {
    await using server = await startRegistry();
    const images = ['amd64', 'arm64'].map((architecture) =>
      makeImage({ layers: [tarOf([{ name: architecture, content: 'x' }])], architecture, format: 'docker' }),
    );
    const index = makeIndex(images);
    const name = await server.pushIndex('multi:1', index, images);
    const pulled = await pull(name, { wish: { platform: { os: 'linux', architecture: 'arm64', variant: '' } } }).pulled;
    expect([pulled.digest, pulled.manifestDigest, pulled.configDigest]).toEqual([
      index.digest,
      images[1]?.digest,
      images[1]?.id,
    ]);
  });

  test('wants a password when it is told to', async () => {
    await using server = await startRegistry({ auth: { user: 'user', password: 'päss wörd' } });
    const image = many('docker');
    const name = await server.push(image, 'app:1');
    const credentials = { kind: 'password', username: 'user', password: 'päss wörd' } as const;
    expect((await pull(name, { options: { credentials } }).pulled).configDigest).toBe(image.id);
    await expect(pull(name).pulled).rejects.toMatchObject({
      code: 'registry',
      message: `Get "http://${server.host}/v2/app/manifests/1": no basic auth credentials`,
    });
    await expect(
      pull(name, { options: { credentials: { ...credentials, password: 'x' } } }).pulled,
    ).rejects.toMatchObject({ message: 'unauthorized: authentication required' });
  });

  test('says what it does not have', async () => {
    await using server = await startRegistry();
    await server.push(many('oci'), 'app:1');
    const unknown = 'not found: manifest unknown: manifest unknown';
    await expect(pull(`${server.host}/app:2`).pulled).rejects.toMatchObject({
      code: 'image_not_found',
      message: `manifest for ${server.host}/app:2 ${unknown}`,
    });
    await expect(pull(`${server.host}/nothing`).pulled).rejects.toMatchObject({
      code: 'image_not_found',
      message: `manifest for ${server.host}/nothing:latest ${unknown}`,
    });
  });

  test('with a blob lost or damaged on its disk', async () => {
    await using server = await startRegistry();
    const image = many('oci');
    const name = await server.push(image, 'app:1');
    const data = (i: number): string => {
      const hex = image.layers[i]?.digest.slice(7) ?? '';
      return `${server.dir}/data/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
    };
    const { writeFileSync } = await import('node:fs');
    writeFileSync(data(3), image.layers[3]?.blob.with(20, 0) ?? '');
    await expect(pull(name).pulled).rejects.toMatchObject({
      message: `filesystem layer verification failed for digest ${image.layers[3]?.digest}`,
    });
    unlinkSync(data(3));
    await expect(pull(name).pulled).rejects.toMatchObject({
      code: 'registry',
      message: expect.stringContaining(`blob ${image.layers[3]?.digest}`),
    });
  });
});

suite('a real registry with busybox', [registry, busybox], () => {
  test('gives it back byte for byte', async () => {
    await using server = await startRegistry();
    const image = busyboxImage();
    const pulled = await pull(await server.push(image, 'busybox')).pulled;
    expect(readFileSync(pulled.layers[0]?.path ?? '').equals(image.layers[0]?.blob ?? Buffer.alloc(0))).toBe(true);
    expect(pulled.config.config.Cmd).toEqual(['sh']);
  });
});
