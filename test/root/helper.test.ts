// The helper from outside: requests of made-up users through its socket, and what is there afterwards.
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Client,
  importTar,
  launchedOf,
  launchOf,
  type PrivateHelper,
  readAll,
  startHelper,
} from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';
import { root, suite, tool } from '../kit/need.ts';

suite('helper', [root, tool('busybox', 'busybox-static')], () => {
  let helper: PrivateHelper;
  let client: Client;
  let layer: string;

  beforeAll(async () => {
    helper = await startHelper();
    client = await helper.client();
    layer = await importTar(client, busyboxTar(), helper.directory);
    await client.done({ $case: 'mergeImage', value: { layers: [layer] } });
  });
  afterAll(async () => {
    if (process.env['BERTH_SHOW_LOG']) console.log(helper.log());
    await helper[Symbol.asyncDispose]();
  });

  test('runs a container of an image: output, exit code, nothing left after its removal', async () => {
    const launch = launchOf([layer], ['/bin/sh', '-c', 'echo out; echo err >&2; exit 7']);
    const answer = await client.done({ $case: 'launch', value: launch }, { wantFds: true });
    expect(launchedOf(answer).block).toBeGreaterThan(0x74000000 - 1);
    const [out = -1, err = -1] = answer.fds;
    expect(await client.exited(launch.id)).toMatchObject({ status: 7 << 8, outOfMemory: false });
    await client.done({ $case: 'remove', value: { container: launch.id } });
    expect(await readAll(out)).toBe('out\n');
    expect(await readAll(err)).toBe('err\n');
  });
});
