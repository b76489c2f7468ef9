// Two users of one machine, made up by their uids: neither sees, names or touches what is the other's, and each other's things look unknown.
import { chownSync, closeSync, mkdirSync, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPath } from '../../core/sys/fd.ts';
import {
  CLONE_NEWIPC,
  CLONE_NEWNS,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_NEWCGROUP,
  CLONE_NEWPID,
  CLONE_NEWNET,
} from '../../proto/abi/sched.gen.ts';
import { type Launch, Propagation } from '../../proto/gen/berth/helper/v1/plan.ts';
import {
  type Client,
  importTar,
  launchedOf,
  launchOf,
  newId,
  type PrivateHelper,
  processOf,
  readAll,
  startHelper,
} from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';
import { DEFAULT_MOUNTS } from '../kit/launcher.ts';
import { busybox, root, suite } from '../kit/need.ts';

const ADA = 61_001;
const BOB = 61_002;

suite('helper principals', [root, busybox], () => {
  let helper: PrivateHelper;
  let ada: Client;
  let bob: Client;
  let layer: string;

  beforeAll(async () => {
    helper = await startHelper();
    ada = await helper.client(ADA);
    bob = await helper.client(BOB);
    layer = await importTar(ada, busyboxTar(), helper.directory);
  });
  afterAll(async () => {
    if (process.env['BERTH_SHOW_LOG']) console.log(helper.log());
    await helper[Symbol.asyncDispose]();
  });

  const shell = (script: string, change: Partial<Launch> = {}): Launch =>
    launchOf([layer], ['/bin/sh', '-c', script], change);

  test('each has directories of his own', () => {
    for (const uid of [ADA, BOB]) {
      for (const path of ['run', 'lib/users']) {
        const { mode, uid: owner } = statSync(join(helper.directory, path, String(uid)));
        expect([mode & 0o777, owner]).toEqual([0o700, uid]);
      }
    }
  });

  test("somebody else's layer is unknown until its bytes are delivered; then it is one on disk", async () => {
    const launch = shell('true');
    const { result } = await bob.ask({ $case: 'launch', value: launch });
    const { result: unknown } = await bob.ask({
      $case: 'launch',
      value: launchOf([`sha256:${'0'.repeat(64)}`], ['true']),
    });
    expect(result.allowed).toBe(false);
    expect(result.reasons[0]?.rule).toBe(unknown.reasons[0]?.rule);
    expect(result.reasons[0]?.allowed).toBe(unknown.reasons[0]?.allowed);
    for (const $case of ['mergeImage', 'dropImage'] as const)
      expect((await bob.ask({ $case, value: { layers: [layer] } })).result.allowed).toBe(false);
    expect((await bob.ask({ $case: 'dropLayer', value: { diffId: layer } })).result.allowed).toBe(false);
    expect(await importTar(bob, busyboxTar(), helper.directory)).toBe(layer);
    expect(readdirSync(join(helper.directory, 'lib/helper/layers'))).toEqual([layer]);
    await bob.done({ $case: 'launch', value: launch });
    await bob.exited(launch.id);
    await bob.done({ $case: 'remove', value: { container: launch.id } });
  });

  test("every verb on somebody else's container is answered as for an unknown one, and changes nothing", async () => {
    const launch = shell('sleep 100');
    const { pid, block } = launchedOf(await ada.done({ $case: 'launch', value: launch }));
    const bobs = shell('sleep 100');
    const other = launchedOf(await bob.done({ $case: 'launch', value: bobs }));
    expect(other.block).not.toBe(block);
    const limits = { settings: [], throttles: [], cpus: '', mems: '', deviceRules: [] };
    const hardening = { seccomp: 1, maskedPaths: [], readOnlyPaths: [], sysctls: [] } as const;
    const stdio = { tty: false, stdin: false, columns: 0, rows: 0 };
    const join_ = (container: string) => ({
      unshare: BigInt(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_NEWPID),
      join: [CLONE_NEWUSER, CLONE_NEWNET].map((bit) => ({ namespace: BigInt(bit), container })),
      uidCount: 0n,
    });
    const verbs = (container: string) =>
      [
        { $case: 'exec', value: { container, id: newId(), process: processOf(['true']), hardening, stdio } },
        { $case: 'signal', value: { container, exec: '', signal: 9, all: true } },
        { $case: 'signal', value: { container, exec: '', signal: 15, all: false } },
        { $case: 'pause', value: { container, frozen: true } },
        { $case: 'update', value: { container, limits } },
        { $case: 'remove', value: { container } },
        { $case: 'attach', value: { container, exec: '' } },
        { $case: 'forget', value: { container, exec: newId() } },
      ] as const;
    const unknown = newId();
    for (const [i, verb] of verbs(launch.id).entries()) {
      const foreign = await bob.ask(verb, { wantFds: true });
      const nobody = await bob.ask(verbs(unknown)[i] ?? verb, { wantFds: true });
      expect(foreign.result, verb.$case).toEqual(nobody.result);
      expect(foreign.fds).toEqual([]);
    }
    for (const container of [launch.id, unknown]) {
      const { result } = await bob.ask({ $case: 'launch', value: shell('true', { namespaces: join_(container) }) });
      expect(result.allowed && result.outcome?.$case !== 'failure').toBe(false);
    }
    expect((await bob.ask({ $case: 'launch', value: { ...bobs, id: launch.id } })).result.allowed).toBe(false);
    expect(
      bob.events.some(({ event }) =>
        JSON.stringify(event, (_, value) => (typeof value === 'bigint' ? 0 : value)).includes(launch.id),
      ),
    ).toBe(false);
    process.kill(pid, 0);
    for (const [client, id] of [
      [ada, launch.id],
      [bob, bobs.id],
    ] as const) {
      await client.done({ $case: 'signal', value: { container: id, exec: '', signal: 9, all: true } });
      await client.exited(id);
      await client.done({ $case: 'remove', value: { container: id } });
    }
  });

  test("an exec of somebody else's is not reached through a container of one's own", async () => {
    const hardening = { seccomp: 1, maskedPaths: [], readOnlyPaths: [], sysctls: [] } as const;
    const stdio = { tty: false, stdin: false, columns: 0, rows: 0 };
    const [adas, bobs] = [shell('sleep 100'), shell('sleep 100')];
    await ada.done({ $case: 'launch', value: adas });
    await bob.done({ $case: 'launch', value: bobs });
    const exec = { container: adas.id, id: newId(), process: processOf(['sleep', '100']), hardening, stdio };
    const { pid } = launchedOf(await ada.done({ $case: 'exec', value: exec }));
    const attached = await bob.ask(
      { $case: 'attach', value: { container: bobs.id, exec: exec.id } },
      { wantFds: true },
    );
    expect([attached.result.outcome?.$case, attached.fds]).toEqual(['failure', []]);
    await bob.ask({ $case: 'signal', value: { container: bobs.id, exec: exec.id, signal: 9, all: false } });
    // The same id in one's own container takes nothing from the other.
    await bob.done({ $case: 'exec', value: { ...exec, container: bobs.id, process: processOf(['true']) } });
    await bob.exited(bobs.id, exec.id);
    await bob.done({ $case: 'forget', value: { container: bobs.id, exec: exec.id } });
    process.kill(pid, 0);
    expect(
      (await ada.done({ $case: 'attach', value: { container: adas.id, exec: exec.id } }, { wantFds: true })).fds.length,
    ).toBe(3);
    for (const [client, id] of [
      [ada, adas.id],
      [bob, bobs.id],
    ] as const) {
      await client.done({ $case: 'signal', value: { container: id, exec: '', signal: 9, all: true } });
      await client.exited(id);
      await client.done({ $case: 'remove', value: { container: id } });
    }
  });

  test("a bind shows the user's own files as root's, and what it makes is his on disk", async () => {
    const source = join(helper.directory, 'adas');
    mkdirSync(source);
    chownSync(source, ADA, ADA);
    const fd = openPath(source);
    const bind = { descriptor: 0, recursive: true, file: false, propagation: Propagation.PROPAGATION_PRIVATE };
    const mount = {
      source: { $case: 'bind' as const, value: bind },
      target: '/data',
      readOnly: false,
      noSuid: false,
      noDev: true,
      noExec: false,
    };
    const launch = shell('stat -c %u /data; touch /data/made; touch /data/other; chown 7:7 /data/other', {
      mounts: [...DEFAULT_MOUNTS, mount],
    });
    const { fds } = await ada.done({ $case: 'launch', value: launch }, { fds: [fd], wantFds: true });
    closeSync(fd);
    expect(await ada.exited(launch.id)).toMatchObject({ status: 0 });
    await ada.done({ $case: 'remove', value: { container: launch.id } });
    expect(await readAll(fds[0] ?? -1)).toBe('0\n');
    expect(statSync(join(source, 'made')).uid).toBe(ADA);
    const other = statSync(join(source, 'other')).uid;
    expect(other % 65_536).toBe(7);
    // Of the storage range: not a uid that any container has.
    ada.events.length = 0;
    expect(other - 7).not.toBe(launchedOf(await relaunch(launch)).block);
    await ada.exited(launch.id);
    await ada.done({ $case: 'remove', value: { container: launch.id } });
  });

  const relaunch = async (launch: Launch) =>
    ada.done({ $case: 'launch', value: { ...launch, mounts: DEFAULT_MOUNTS } });

  test("a ticket is looked for among the asker's own lanes only", async () => {
    const fd = openSync(join(helper.directory, 'helper.log'), 'r');
    const { result } = await ada.ask(
      { $case: 'importLayer', value: { diffId: layer, sizeBytesMax: 1n } },
      { fds: [fd] },
    );
    closeSync(fd);
    expect(result.allowed, JSON.stringify(result.reasons)).toBe(true); // known already
    const verb = { $case: 'attach', value: { container: newId(), exec: '' } } as const;
    expect((await bob.ask(verb, { wantFds: true })).result.reasons[0]?.field).toBe('attach.container');
  });
});
