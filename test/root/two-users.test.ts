// Two local users, made up by their uids, on one machine with one helper: each has an engine of his own, started by whatever command comes first,
// and neither sees, names or touches what is the other's. What is the other's looks as what does not exist.
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, makeClient } from '../../core/client/client.ts';
import { demultiplex } from '../kit/engine.ts';
import {
  built,
  IMAGE,
  type Instance,
  loadBusybox,
  type Ran,
  type RunMore,
  startInstance,
  uidsOf,
} from '../kit/instance.ts';
import { busybox, root, suite, tool } from '../kit/need.ts';

const ADA = 41_001;
const BOB = 41_002;
const FLIPS = process.env['BERTH_LONG'] ? 10_000 : 200;
const UNKNOWN = 'f'.repeat(64);

suite('two users', [root, built, busybox, tool('setpriv', 'util-linux')], () => {
  let berth: Instance;
  /** Her container that sleeps, its id and its first process. */
  let hers: { id: string; pid: number };
  /** Homes of 0700, with a file in each. */
  let homes: Readonly<Record<number, string>>;

  const as = (uid: number, words: readonly string[], more: RunMore = {}): Promise<Ran> =>
    berth.run(words, { ...more, uid });
  const okAs = (uid: number, words: readonly string[], more: RunMore = {}): Promise<string> =>
    berth.ok(words, { ...more, uid });
  /** A host's command as one of them: its exit code. */
  const hostAs = (uid: number, ...command: string[]): number | null =>
    spawnSync('setpriv', ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', ...command], { stdio: 'ignore' })
      .status;

  beforeAll(async () => {
    berth = await startInstance();
    homes = Object.fromEntries([ADA, BOB].map((uid) => [uid, makeHome(join(berth.directory, `home-${uid}`), uid)]));
    await loadBusybox(berth, { uid: ADA });
    const id = await okAs(ADA, ['run', '-d', '--name', 'hers', IMAGE, 'sleep', '1000']);
    hers = { id, pid: Number(await okAs(ADA, ['inspect', '-f', '{{.State.Pid}}', id])) };
  });
  afterAll(async () => {
    await berth.kill(['engine'], ADA);
    await berth.kill(['engine'], BOB);
    await berth[Symbol.asyncDispose]();
  });

  test('the first command starts an engine that is the user, with directories that are his alone', async () => {
    for (const uid of [ADA, BOB]) {
      await okAs(uid, ['ps']);
      const { engine } = berth.pids(uid);
      expect(readFileSync(`/proc/${engine}/status`, 'utf8')).toMatch(
        new RegExp(`^Uid:(\\t${uid}){4}\\nGid:(\\t${uid}){4}$`, 'm'),
      );
      for (const name of [`run/${uid}`, `lib/users/${uid}`]) {
        const { mode, uid: owner } = statSync(join(berth.directory, name));
        expect([mode & 0o7777, owner], name).toEqual([0o700, uid]);
      }
    }
    expect(berth.pids(ADA).engine).not.toBe(berth.pids(BOB).engine);
    expect(await okAs(BOB, ['whoami'])).toMatch(new RegExp(`^uid +${BOB}$`, 'm'));
  });

  test("the other's sockets, state and files cannot be reached", async () => {
    const socket = join(berth.directory, 'run', `${ADA}`, 'docker.sock');
    const { code, err } = await as(BOB, ['-H', `unix://${socket}`, 'ps']);
    expect([code, err]).toEqual([1, expect.stringMatching(/^Cannot connect to the Berth engine at unix:.*\n$/)]);
    for (const name of [`run/${ADA}`, `lib/users/${ADA}`, 'lib/helper', 'log/audit'])
      expect(hostAs(BOB, 'ls', join(berth.directory, name)), name).not.toBe(0);
    expect(hostAs(BOB, 'test', '-w', join(berth.directory, 'etc/principals'))).not.toBe(0);
    // Not even through the process: its root, memory, namespaces, and no signal reaches it.
    for (const name of ['root', 'ns/net', 'ns/user', 'fd', 'mem', 'environ'])
      expect(
        hostAs(BOB, 'sh', '-c', `exec 3< /proc/${hers.pid}/${name} && ls /proc/${hers.pid}/${name}/`),
        name,
      ).not.toBe(0);
    expect(hostAs(BOB, 'kill', '-0', `${hers.pid}`)).not.toBe(0);
    expect(hostAs(BOB, 'kill', '-0', `${berth.pids(ADA).engine}`)).not.toBe(0);
  });

  test('her image is unknown to him, until he delivers the same bytes; then they are on disk once', async () => {
    const imageId = await okAs(ADA, ['inspect', '-f', '{{.Id}}', IMAGE]);
    expect(await okAs(BOB, ['images', '-aq'])).toBe('');
    for (const [theirs, nobodys] of [
      [IMAGE, 'xx:1'],
      [imageId, `sha256:${UNKNOWN}`],
    ])
      for (const words of [
        ['run', '--pull', 'never', '--rm', '%', 'true'],
        ['image', 'inspect', '%'],
        ['rmi', '%'],
        ['tag', '%', 'mine:1'],
      ])
        await expectSame(words, theirs ?? '', nobodys ?? '');
    const layers = readdirSync(join(berth.directory, 'lib/helper/layers'));
    await loadBusybox(berth, { uid: BOB });
    expect(readdirSync(join(berth.directory, 'lib/helper/layers'))).toEqual(layers);
    expect(await okAs(BOB, ['run', '--rm', IMAGE, 'echo', 'mine'])).toBe('mine');
    // What he gives up stays hers.
    await okAs(BOB, ['rmi', IMAGE]);
    expect(await okAs(ADA, ['run', '--rm', IMAGE, 'echo', 'hers'])).toBe('hers');
    await loadBusybox(berth, { uid: BOB });
  });

  /** The command gives him for what is hers the answer that it gives for what nobody has; `%` stands for the name. */
  const expectSame = async (words: readonly string[], theirs: string, nobodys: string): Promise<void> => {
    const [foreign, unknown] = await Promise.all(
      [theirs, nobodys].map(async (name) => {
        const ran = await as(
          BOB,
          words.map((word) => word.replace('%', name)),
        );
        const blank = (text: string): string =>
          [name, name.replace('sha256:', ''), name.replace('sha256:', '').slice(0, 12)]
            .reduce((rest, one) => rest.replaceAll(one, 'NAME'), text)
            .replaceAll(/container "[a-z]+_[a-z0-9]+"/g, 'container "X"');
        return { code: ran.code, out: blank(ran.out), err: blank(ran.err) };
      }),
    );
    expect(foreign, words.join(' ')).toEqual(unknown);
    // As Docker: nothing to remove by force is no failure.
    if (words[0] !== 'rm') expect(foreign?.code, words.join(' ')).not.toBe(0);
  };

  test('her container has no name or id for him, whatever the command', async () => {
    const verbs = [
      ['container', 'inspect', '%'],
      ['logs', '%'],
      ['exec', '%', 'true'],
      ['attach', '--no-stdin', '%'],
      ['kill', '%'],
      ['stop', '-t', '0', '%'],
      ['restart', '-t', '0', '%'],
      ['pause', '%'],
      ['unpause', '%'],
      ['update', '--memory', '64m', '%'],
      ['start', '%'],
      ['wait', '%'],
      ['rm', '-f', '%'],
      ...['pid', 'net', 'ipc'].map((kind) => ['run', '--rm', `--${kind}`, 'container:%', IMAGE, 'true']),
    ];
    for (const words of verbs) {
      await expectSame(words, hers.id, UNKNOWN);
      await expectSame(words, hers.id.slice(0, 12), UNKNOWN.slice(0, 12));
      await expectSame(words, 'hers', 'nobodys');
    }
    expect(await okAs(BOB, ['ps', '-aq'])).toBe('');
    expect(await okAs(BOB, ['events', '--since', '0', '--until', '1s'])).not.toContain(hers.id);
    // The name is free for him.
    await okAs(BOB, ['create', '--name', 'hers', IMAGE, 'true']);
    await okAs(BOB, ['rm', 'hers']);
    expect(await okAs(ADA, ['inspect', '-f', '{{.State.Running}} {{.State.Pid}}', 'hers'])).toBe(`true ${hers.pid}`);
  }, 120_000);

  test('no uid on the host was ever of both', async () => {
    const blocksOf = async (uid: number): Promise<number[]> => {
      const ids = await Promise.all([1, 2, 3].map(() => okAs(uid, ['run', '-d', IMAGE, 'sleep', '1000'])));
      const pids = await Promise.all(ids.map((id) => okAs(uid, ['inspect', '-f', '{{.State.Pid}}', id])));
      const maps = pids.map((pid) => readFileSync(`/proc/${pid}/uid_map`, 'utf8').trim().split(/\s+/).map(Number));
      await okAs(uid, ['rm', '-f', ...ids]);
      return maps.map(([inside, outside = 0, count]) => {
        expect([inside, count, outside % 65_536]).toEqual([0, 65_536, 0]);
        return outside;
      });
    };
    const seen: Readonly<Record<number, Set<number>>> = { [ADA]: new Set<number>(), [BOB]: new Set<number>() };
    for (const uid of [ADA, BOB, ADA, BOB]) for (const block of await blocksOf(uid)) seen[uid]?.add(block);
    const [first, end] = uidsOf(berth.slot());
    for (const block of seen[ADA] ?? []) {
      expect(seen[BOB]?.has(block)).toBe(false);
      expect(block >= first && block < end).toBe(true);
    }
    expect(seen[BOB]?.size).toBeGreaterThanOrEqual(3);
  }, 60_000);

  test('what is in her home cannot be bound, read or written by him', async () => {
    const home = homes[ADA] ?? '';
    const before = readdirSync(home);
    const attempt = 'touch /x/new; touch /x; rm -rf /x/secret /x; cat /x /x/secret; ls /x';
    for (const words of [
      ['-v', `${home}/secret:/x`],
      ['-v', `${home}/new:/x`],
      ['--mount', `type=bind,source=${home}/secret,target=/x,readonly`],
      ['-v', `/proc/${berth.pids(ADA).engine}/root:/x`],
      ['-v', `/proc/${hers.pid}/root:/x`],
      ['-v', `${join(berth.directory, 'run', `${ADA}`)}:/x`],
      ['-v', `${join(berth.directory, 'lib/helper')}:/x`],
    ]) {
      const { code, out, err } = await as(BOB, ['run', '--rm', ...words, IMAGE, 'sh', '-c', attempt]);
      expect([code, out], `${words.join(' ')}: ${err}`).toEqual([125, '']);
      const sentence = err.replace(/\n\nRun 'berth .*/s, '').trim();
      expect(sentence.split('\n').length, err).toBe(1);
    }
    // A directory that he may name, though not enter, can be mounted, and stays closed.
    const closed = await as(BOB, ['run', '--rm', '-v', `${home}:/x`, IMAGE, 'sh', '-c', attempt]);
    expect([closed.code, closed.out]).toEqual([1, '']);
    expect(closed.err).toMatch(/^ls: can't open '\/x': Permission denied$/m);
    const rootfs = await as(BOB, ['run', '--rm', '--rootfs', home, 'cat', '/secret']);
    // The words are the kernel's, and their code docker's.
    expect(rootfs.err).toMatch(/permission denied/);
    expect([rootfs.code, rootfs.out]).toEqual([126, '']);
    expect(readdirSync(home)).toEqual(before);
    expect(await okAs(ADA, ['run', '--rm', '-v', `${home}:/x`, IMAGE, 'cat', '/x/secret'])).toBe(`of ${ADA}`);
  }, 60_000);

  test("what a container's root makes in a user's directory is the user's, what its other users make is nobody's", async () => {
    const home = homes[ADA] ?? '';
    const script =
      'touch /x/made && mkdir /x/dir && touch /x/other && chown 7:7 /x/other && stat -c %u:%g /x/secret /x/other';
    expect(await okAs(ADA, ['run', '--rm', '-v', `${home}:/x`, IMAGE, 'sh', '-c', script])).toBe('0:0\n7:7');
    for (const name of ['made', 'dir']) {
      const { uid, gid } = statSync(join(home, name));
      expect([uid, gid]).toEqual([ADA, ADA]);
    }
    const { uid } = statSync(join(home, 'other'));
    expect(uid % 65_536).toBe(7);
    expect(hostAs(ADA, 'rm', join(home, 'other'))).toBe(0); // it lies in her directory
  });

  test(
    `a source that is flipped to a forbidden one while it is bound, ${FLIPS} times: never seen`,
    async () => {
      const home = homes[BOB] ?? '';
      const link = join(home, 'link');
      symlinkSync(join(home, 'own'), link);
      const flip = `const {symlinkSync: s, renameSync: r} = require('node:fs');
      for (let i = 0; ; i++) { s(i % 2 ? '/etc' : ${JSON.stringify(join(home, 'own'))}, ${JSON.stringify(`${link}.new`)}); r(${JSON.stringify(`${link}.new`)}, ${JSON.stringify(link)}); }`;
      const flipper = spawn(process.execPath, ['-e', flip], { uid: BOB, gid: BOB, stdio: 'ignore' });
      try {
        const client = makeClient(join(berth.directory, 'run', `${BOB}`, 'docker.sock'));
        const tally = { own: 0, refused: 0 };
        const tries = Array.from({ length: FLIPS }, (_, i) => i);
        await Promise.all(
          [1, 2, 3, 4].map(async () => {
            while (tries.pop() !== undefined) tally[await listed(client, link)]++;
          }),
        );
        expect(tally.own + tally.refused).toBe(FLIPS);
        expect(tally.own).toBeGreaterThan(0);
        expect(tally.refused).toBeGreaterThan(0);
      } finally {
        flipper.kill('SIGKILL');
      }
    },
    process.env['BERTH_LONG'] ? 1_800_000 : 60_000,
  );

  /** Binds the source and lists it: his own files, or a refusal. */
  const listed = async (client: Client, source: string): Promise<'own' | 'refused'> => {
    let id: string | undefined;
    try {
      id = (
        await client.createContainer({ Image: IMAGE, Cmd: ['ls', '/x'], HostConfig: { Binds: [`${source}:/x`] } }, {})
      ).Id;
      const { exit } = await client.waitContainer(id, 'next-exit');
      exit.catch(() => undefined);
      await client.startContainer(id);
      await exit;
      expect((await demultiplex(await client.logs(id, { stdout: 1 }))).out).toBe('mine\n');
      return 'own';
    } catch (error) {
      expect(String(error)).toMatch(/\/etc|refused|rule bind|no such file|changed/i);
      return 'refused';
    } finally {
      if (id !== undefined) await client.removeContainer(id, { force: 1 });
    }
  };

  test('he can neither stop her engine nor the helper', async () => {
    await as(BOB, ['system', 'down']);
    const { helper, keeper, engine } = berth.pids(ADA);
    for (const pid of [helper, keeper, engine, hers.pid]) process.kill(pid, 0);
    expect(await okAs(ADA, ['exec', 'hers', 'echo', 'here'])).toBe('here');
    expect(await okAs(BOB, ['run', '--rm', IMAGE, 'echo', 'again'])).toBe('again');
  });

  test('both engines and the helper are killed: each finds his own again, and nothing else', async () => {
    await okAs(BOB, ['run', '-d', '--name', 'his', IMAGE, 'sh', '-c', 'sleep 0.5; echo late; exit 9']);
    await berth.kill(['engine', 'helper'], ADA);
    await berth.kill(['engine'], BOB);
    expect(await okAs(ADA, ['ps', '-a', '--format', '{{.Names}}'])).toBe('hers');
    expect(await okAs(BOB, ['wait', 'his'])).toBe('9');
    expect(await okAs(BOB, ['logs', 'his'])).toBe('late');
    expect(await okAs(BOB, ['ps', '-a', '--format', '{{.Names}}'])).toBe('his');
    expect(await okAs(ADA, ['inspect', '-f', '{{.State.Pid}}', 'hers'])).toBe(`${hers.pid}`);
  });
});

/** A home directory of the user's, closed to others: `secret`, and `own` with a file. */
function makeHome(path: string, uid: number): string {
  mkdirSync(join(path, 'own'), { recursive: true });
  writeFileSync(join(path, 'secret'), `of ${uid}\n`);
  writeFileSync(join(path, 'own/mine'), '');
  for (const name of ['', 'secret', 'own', 'own/mine']) chownSync(join(path, name), uid, uid);
  chmodSync(path, 0o700);
  return path;
}
