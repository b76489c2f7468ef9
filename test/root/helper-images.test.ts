// Layers and images in the helper's store: both forms, who may drop what, what broken and hostile deliveries leave.
import { closeSync, existsSync, openSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ImageForm } from '../../proto/gen/berth/helper/v1/request.ts';
import {
  type Client,
  descriptorsOf,
  importTar,
  launchOf,
  type PrivateHelper,
  readAll,
  startHelper,
} from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';
import { busybox, root, suite } from '../kit/need.ts';
import { tarOf } from '../kit/tar.ts';

suite('helper images', [root, busybox], () => {
  const store = (helper: PrivateHelper, part: string): string[] =>
    readdirSync(join(helper.directory, 'lib/helper', part));
  const top = tarOf([
    { name: 'etc/', type: '5', mode: 0o755 },
    { name: 'etc/top', content: 'from the top layer\n', uid: 33, gid: 33 },
  ]);
  const run = async (client: Client, layers: string[], script: string): Promise<string> => {
    const launch = launchOf(layers, ['/bin/sh', '-c', script]);
    const { fds } = await client.done({ $case: 'launch', value: launch }, { wantFds: true });
    await client.exited(launch.id);
    await client.done({ $case: 'remove', value: { container: launch.id } });
    return await readAll(fds[0] ?? -1);
  };
  const deliver = async (
    client: Client,
    helper: PrivateHelper,
    value: { bytes: Uint8Array; diffId: string; most?: bigint },
  ) => {
    const path = join(helper.directory, 'blob');
    writeFileSync(path, value.bytes);
    const fd = openSync(path, 'r');
    const answer = await client.ask(
      { $case: 'importLayer', value: { diffId: value.diffId, sizeBytesMax: value.most ?? 1n << 30n } },
      { fds: [fd] },
    );
    closeSync(fd);
    return answer.result;
  };

  test.each([
    ['without unpacking', ImageForm.IMAGE_FORM_EROFS, {}],
    ['unpacked', ImageForm.IMAGE_FORM_UNPACKED, { BERTH_IMAGE_FORM: 'unpacked' }],
  ] as const)(
    'two layers %s: their files with their owners, changes apart, and the descriptors of MergeImage',
    async (_, form, env) => {
      await using helper = await startHelper(env);
      const client = await helper.client();
      const layers = [
        await importTar(client, top, helper.directory),
        await importTar(client, busyboxTar(), helper.directory),
      ];
      expect(client.session.hello.imageForm).toBe(form);
      const merged = await client.done({ $case: 'mergeImage', value: { layers } }, { wantFds: true });
      expect(merged.result.outcome).toMatchObject({ $case: 'imageMerged', value: { form } });
      expect(merged.fds.length).toBe(3);
      for (const fd of merged.fds) closeSync(fd);
      expect(
        await run(
          client,
          layers,
          'cat /etc/top; stat -c %u:%g /etc/top; echo x >> /etc/top; rm /bin/busybox; echo gone',
        ),
      ).toBe('from the top layer\n33:33\ngone\n');
      expect(await run(client, layers, 'cat /etc/top')).toBe('from the top layer\n');
      await client.done({ $case: 'dropImage', value: { layers } });
      expect(store(helper, 'images')).toEqual([]);
      for (const diffId of layers) await client.done({ $case: 'dropLayer', value: { diffId } });
      expect(store(helper, 'layers')).toEqual([]);
    },
  );

  test('an image is there again after the helper was killed', async () => {
    await using helper = await startHelper();
    let client = await helper.client();
    const layers = [await importTar(client, busyboxTar(), helper.directory)];
    expect(await run(client, layers, 'echo one')).toBe('one\n');
    const { helper: pid } = helper.pids();
    process.kill(pid, 'SIGKILL');
    await helper.another(pid);
    client = await helper.client();
    expect(await run(client, layers, 'echo two')).toBe('two\n');
  });

  test('a layer that a container needs is not dropped, nor its image', async () => {
    await using helper = await startHelper();
    const client = await helper.client();
    const layers = [await importTar(client, busyboxTar(), helper.directory)];
    const launch = launchOf(layers, ['/bin/true']);
    await client.done({ $case: 'launch', value: launch });
    await client.exited(launch.id);
    for (const verb of [
      { $case: 'dropLayer', value: { diffId: layers[0] ?? '' } },
      { $case: 'dropImage', value: { layers } },
    ] as const) {
      expect((await client.ask(verb)).result.outcome).toMatchObject({
        $case: 'failure',
        value: { detail: expect.stringContaining(launch.id) },
      });
    }
    await client.done({ $case: 'remove', value: { container: launch.id } });
    await client.done({ $case: 'dropLayer', value: { diffId: layers[0] ?? '' } });
    expect([store(helper, 'layers'), store(helper, 'images')]).toEqual([[], []]);
  });

  test('deliveries that are not what they say leave nothing', async () => {
    await using helper = await startHelper();
    const client = await helper.client();
    const right = await importTar(client, top, helper.directory);
    await client.done({ $case: 'dropLayer', value: { diffId: right } });
    const wrong = `sha256:${'1'.repeat(64)}`;
    const cases = [
      { bytes: top, diffId: wrong },
      { bytes: Buffer.from('no tar at all'.repeat(100)), diffId: wrong },
      { bytes: gzipSync(top).subarray(0, 60), diffId: right },
      { bytes: gzipSync(Buffer.alloc(10 << 20)), diffId: right, most: 1n << 20n },
      { bytes: tarOf([{ name: 'x'.repeat(5000), content: '' }]), diffId: wrong },
    ];
    const { helper: pid } = helper.pids();
    const before = descriptorsOf(pid).length;
    for (const one of cases)
      expect((await deliver(client, helper, one)).outcome, one.bytes.subarray(0, 8).toString()).toMatchObject({
        $case: 'failure',
      });
    expect([store(helper, 'layers'), store(helper, 'tmp')]).toEqual([[], []]);
    expect(descriptorsOf(pid).length).toBe(before);
    expect((await deliver(client, helper, { bytes: gzipSync(top), diffId: right })).outcome).toMatchObject({
      $case: 'layerImported',
      value: { existed: false },
    });
    const tar = join(helper.directory, 'lib/helper/layers', right, 'tar');
    expect(statSync(tar).mode & 0o777).toBe(0o600);
    expect(() => writeFileSync(tar, 'changed')).toThrow(/EPERM/);
    expect(existsSync(tar)).toBe(true);
  });

  test('an import that is interrupted by the death of the helper is cleaned up', async () => {
    await using helper = await startHelper();
    let client = await helper.client();
    const asked = deliver(client, helper, { bytes: busyboxTar(), diffId: `sha256:${'2'.repeat(64)}` }).catch(
      () => undefined,
    );
    for (let waited = 0; store(helper, 'tmp').length === 0 && waited < 500; waited++)
      await new Promise((resolve) => setTimeout(resolve, 2));
    const { helper: pid } = helper.pids();
    process.kill(pid, 'SIGKILL');
    await helper.another(pid);
    await asked;
    client = await helper.client();
    expect([store(helper, 'layers'), store(helper, 'tmp')]).toEqual([[], []]);
    await importTar(client, top, helper.directory);
  });
});
