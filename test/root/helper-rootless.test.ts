// The same helper without root: started as a made-up uid, it lives in a user namespace of that uid's own.
import { chownSync, closeSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPath } from '../../core/sys/fd.ts';
import { Knob, type Launch, Propagation } from '../../proto/gen/berth/helper/v1/plan.ts';
import { ImageForm } from '../../proto/gen/berth/helper/v1/request.ts';
import {
  type Client,
  importTar,
  launchOf,
  newId,
  type PrivateHelper,
  processOf,
  readAll,
  startHelper,
} from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';
import { DEFAULT_MOUNTS, NEW_NAMESPACES } from '../kit/launcher.ts';
import { busybox, root, suite } from '../kit/need.ts';

const UID = 61_003;

suite('helper rootless', [root, busybox], () => {
  let helper: PrivateHelper;
  let client: Client;
  let layer: string;

  beforeAll(async () => {
    helper = await startHelper({}, undefined, UID);
    client = await helper.client(UID);
    layer = await importTar(client, busyboxTar(), helper.directory);
  });
  afterAll(async () => {
    if (process.env['BERTH_SHOW_LOG']) console.log(helper.log());
    await helper[Symbol.asyncDispose]();
  });

  const shell = (script: string, change: Partial<Launch> = {}): Launch =>
    launchOf([layer], ['/bin/sh', '-c', script], {
      namespaces: { unshare: BigInt(NEW_NAMESPACES >>> 0), join: [], uidCount: 1n },
      ...change,
    });

  test('says what it is', () => {
    expect(client.session.hello).toMatchObject({
      rootless: true,
      uid: UID,
      imageForm: ImageForm.IMAGE_FORM_UNPACKED,
      uidCountMax: 1n,
      slot: 0,
    });
    expect(readFileSync(`/proc/${helper.pids().helper}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\\s+${UID}`, 'm'));
  });

  test('runs a container, and an exec in it', async () => {
    const launch = shell('id -u; hostname; cat /proc/self/uid_map; sleep 100');
    const { fds } = await client.done({ $case: 'launch', value: launch }, { wantFds: true });
    const hardening = { seccomp: 1, maskedPaths: [], readOnlyPaths: [], sysctls: [] } as const;
    const exec = {
      container: launch.id,
      id: newId(),
      process: processOf(['/bin/sh', '-c', 'echo from exec; exit 3']),
      hardening,
      stdio: { tty: false, stdin: false, columns: 0, rows: 0 },
    };
    const answer = await client.done({ $case: 'exec', value: exec }, { wantFds: true });
    expect(await client.exited(launch.id, exec.id)).toMatchObject({ status: 3 << 8 });
    await client.done({ $case: 'signal', value: { container: launch.id, exec: '', signal: 9, all: true } });
    expect(await client.exited(launch.id)).toMatchObject({ status: 9 });
    await client.done({ $case: 'remove', value: { container: launch.id } });
    expect(await readAll(fds[0] ?? -1)).toMatch(/^0\nbox\n\s+0\s+0\s+1\n$/);
    expect(await readAll(answer.fds[0] ?? -1)).toBe('from exec\n');
    for (const fd of answer.fds.slice(1)) closeSync(fd);
    expect(readdirSync(join(helper.directory, 'lib/helper/containers'))).toEqual([]);
  });

  test("binds a directory of the user's: what is made in it is his", async () => {
    const source = join(helper.directory, 'bound');
    mkdirSync(source);
    chownSync(source, UID, UID);
    const fd = openPath(source);
    const bind = { descriptor: 0, recursive: true, file: false, propagation: Propagation.PROPAGATION_PRIVATE };
    const mount = {
      source: { $case: 'bind' as const, value: bind },
      target: '/data',
      readOnly: false,
      noSuid: true,
      noDev: true,
      noExec: false,
    };
    const launch = shell('echo x > /data/made', { mounts: [...DEFAULT_MOUNTS, mount] });
    await client.done({ $case: 'launch', value: launch }, { fds: [fd] });
    closeSync(fd);
    expect(await client.exited(launch.id)).toMatchObject({ status: 0 });
    await client.done({ $case: 'remove', value: { container: launch.id } });
    expect(statSync(join(source, 'made')).uid).toBe(UID);
  });

  test('a limit is refused by name', async () => {
    const limits = {
      settings: [{ knob: Knob.KNOB_PIDS_MAX, value: 10n }],
      throttles: [],
      cpus: '',
      mems: '',
      deviceRules: [],
    };
    const { result } = await client.ask({ $case: 'launch', value: shell('true', { limits }) });
    expect(result.outcome).toMatchObject({
      $case: 'failure',
      value: { step: 'set pids.max', detail: expect.stringContaining('pids') },
    });
  });

  test('the helper is killed: the container goes on, its exit code is told', async () => {
    const launch = shell('sleep 1.5; exit 8');
    await client.done({ $case: 'launch', value: launch });
    const { helper: pid } = helper.pids();
    process.kill(pid, 'SIGKILL');
    await helper.another(pid);
    await sleep(50);
    client = await helper.client(UID);
    expect(await client.exited(launch.id)).toMatchObject({ status: 8 << 8 });
    await client.done({ $case: 'remove', value: { container: launch.id } });
  });

  test('another user is not let in', async () => {
    await expect(helper.client(UID + 1)).rejects.toThrow();
  });
});
