// Pulling through the engine from a real registry: lines, names, authorisation, a pull that is cut off, layers shared and freed.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PrivateEngine, somebody, startEngine } from '../kit/engine.ts';
import { busyboxImage, type KitImage, makeImage } from '../kit/image.ts';
import { busybox, suite } from '../kit/need.ts';
import { type Registry, registry, startRegistry } from '../kit/registry.ts';
import { tarOf } from '../kit/tar.ts';

suite('images from a registry', [somebody, busybox, registry], () => {
  let engine: PrivateEngine;
  let server: Registry;
  beforeAll(async () => {
    [engine, server] = await Promise.all([startEngine(), startRegistry()]);
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const pull = async (reference: string, auth?: string): Promise<string[]> => {
    const lines: string[] = [];
    for await (const line of await engine.client.pull({ fromImage: reference }, auth)) {
      if (line.error !== undefined) throw new Error(line.error);
      lines.push([line.id, line.status].filter(Boolean).join(': '));
    }
    return lines;
  };
  const layersAtHelper = (): string[] =>
    readdirSync(join(engine.helper.directory, 'lib/helper/layers')).filter((name) =>
      /^sha256:[0-9a-f]{64}$/.test(name),
    );
  /** An image over busybox with layers of its own. */
  const imageOf = (name: string, layers: number, bytes = 100): KitImage =>
    makeImage({
      layers: [
        busyboxImage().layers[0]?.tar ?? new Uint8Array(),
        ...Array.from({ length: layers }, (_, i) =>
          tarOf([{ name: `${name}-${i}`, content: Buffer.alloc(bytes, `${name}${i}`) }]),
        ),
      ],
      config: { Cmd: ['sh', '-c', `cat /${name}-0 | head -c 4`], Env: ['PATH=/bin'] },
    });

  test('pull, run, pull again', async () => {
    const image = imageOf('abc', 2);
    const reference = await server.push(image, 'app:1');
    const lines = await pull(reference);
    expect(lines[0]).toBe('1: Pulling from app');
    expect(lines.filter((line) => line.endsWith(': Already exists')).length).toBe(1);
    expect(lines.filter((line) => line.endsWith(': Pull complete')).length).toBe(2);
    expect(lines.slice(-2)).toEqual([`Digest: ${image.digest}`, `Status: Downloaded newer image for ${reference}`]);
    const inspected = await engine.client.inspectImage(reference);
    expect(inspected).toMatchObject({
      Id: image.id,
      RepoTags: [reference],
      RepoDigests: [`${reference.replace(/:1$/, '')}@${image.digest}`],
    });
    const id = await engine.run([], { Image: reference } as Parameters<PrivateEngine['run']>[1]);
    await engine.ended(id);
    expect((await engine.logs(id)).out).toBe('abc0');
    await engine.client.removeContainer(id, {});
    expect((await pull(reference)).at(-1)).toBe(`Status: Image is up to date for ${reference}`);
    const byDigest = await pull(`${reference.replace(/:1$/, '')}@${image.digest}`);
    expect(byDigest.at(-1)).toContain('Status: Image is up to date');
  });

  test('layers are shared, and freed with the last image that needs them', async () => {
    const before = layersAtHelper().length;
    const [one, two] = [imageOf('one', 1), imageOf('two', 1)];
    const references = [await server.push(one, 'one:1'), await server.push(two, 'two:1')];
    for (const reference of references) await pull(reference);
    expect(layersAtHelper().length).toBe(before + 2);
    const gone = await engine.client.removeImage(references[0] ?? '', {});
    expect(gone.filter((line) => line.Deleted !== undefined).length).toBe(2);
    await engine.client.removeImage(references[1] ?? '', {});
    expect(layersAtHelper().length).toBe(before);
  });

  test('what is not there is said before anything is written', async () => {
    await expect(pull(`${server.host}/no/such:1`)).rejects.toThrow(/not found|manifest unknown/);
    await expect(pull('UPPER')).rejects.toThrow('must be lowercase');
    expect(existsSync(join(engine.state, 'spool')) ? readdirSync(join(engine.state, 'spool')) : []).toEqual([]);
  });

  test('a registry that asks for a password', async () => {
    await using secret = await startRegistry({ auth: { user: 'me', password: 'word' } });
    const reference = await secret.push(imageOf('key', 1), 'locked:1');
    await expect(pull(reference)).rejects.toThrow(/authori|no basic auth credentials|denied/i);
    const auth = Buffer.from(JSON.stringify({ username: 'me', password: 'word' })).toString('base64url');
    expect((await pull(reference, auth)).at(-1)).toContain('Downloaded newer image');
  });

  test('the engine killed in the middle of a pull: nothing half-made is left, and the next pull works', async () => {
    const big = imageOf('big', 6, 4 << 20);
    const reference = await server.push(big, 'big:1');
    for (const delayMs of [40, 120, 250, 400]) {
      const pulling = pull(reference).then(
        () => 'done',
        () => 'cut off',
      );
      await sleep(delayMs);
      await engine.kill();
      await pulling;
      await engine.start();
      expect(existsSync(join(engine.state, 'spool')) ? readdirSync(join(engine.state, 'spool')) : []).toEqual([]);
    }
    expect((await pull(reference)).at(-1)).toMatch(/Status: (Downloaded newer image|Image is up to date)/);
    const id = await engine.run([], { Image: reference } as Parameters<PrivateEngine['run']>[1]);
    await engine.ended(id);
    expect((await engine.logs(id)).out).toBe('big0');
    await engine.client.removeContainer(id, {});
    await engine.client.removeImage(reference, {});
    await engine.kill();
    await engine.start();
    await expect
      .poll(() => layersAtHelper().length)
      .toBe(
        new Set(
          (
            await Promise.all((await engine.client.listImages({})).map((one) => engine.client.inspectImage(one.Id)))
          ).flatMap((one) => one.RootFS.Layers ?? []),
        ).size,
      );
  }, 60_000);

  test('the helper killed in the middle of a pull: the pull goes on', async () => {
    const reference = await server.push(imageOf('helped', 4, 4 << 20), 'helped:1');
    const pulling = pull(reference);
    await sleep(100);
    const { helper } = engine.helper.pids();
    process.kill(helper, 'SIGKILL');
    expect((await pulling).at(-1)).toContain('Downloaded newer image');
    await engine.helper.another(helper);
  }, 60_000);
});
