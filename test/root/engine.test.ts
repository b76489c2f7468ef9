// The engine's verbs through its REST socket, on real containers of a private helper.
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { asRoot, demultiplex, ENGINE_UID, IMAGE, type PrivateEngine, somebody, startEngine } from '../kit/engine.ts';
import { busyboxImage, dockerSave20, makeImage, ociArchive } from '../kit/image.ts';
import { busybox, suite } from '../kit/need.ts';
import { tarOf } from '../kit/tar.ts';

suite('the engine', [somebody, busybox], () => {
  let engine: PrivateEngine;
  beforeAll(async () => {
    engine = await startEngine();
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
  });
  /** Rootless, a cgroup must be delegated for these; where this suite runs so, none is. */
  const limited = (name: string, body: () => Promise<void>, timeout?: number): void => {
    if (asRoot) test(name, body, timeout);
    else test.skip(`${name} (skipped: needs root, or a delegated cgroup)`, body);
  };
  const state = async (id: string) => (await engine.client.inspectContainer(id)).State;
  const remove = (id: string): Promise<void> => engine.client.removeContainer(id, { force: 1 });
  const printed = async (words: readonly string[], more: Parameters<PrivateEngine['run']>[1] = {}): Promise<string> => {
    const id = await engine.run(words, more);
    await engine.ended(id);
    const { out, err } = await engine.logs(id);
    await remove(id);
    return out + err;
  };
  const failure = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'nothing failed',
      (error: Error & { status?: number }) => `${error.status} ${error.message}`,
    );
  /** Runs a process in a container; gives what it printed and its code. */
  const exec = async (
    id: string,
    words: readonly string[],
    input = '',
  ): Promise<{ out: string; err: string; code: number | null }> => {
    const made = await engine.client.createExec(id, {
      Cmd: words,
      Tty: false,
      AttachStdin: input !== '',
      AttachStdout: true,
      AttachStderr: true,
    });
    const reply = await engine.client.startExec(made.Id, { Tty: false });
    if (input !== '') reply.socket.end(input);
    const output = await demultiplex({ ...reply, body: reply.socket });
    reply.socket.destroy();
    await expect.poll(async () => (await engine.client.inspectExec(made.Id)).Running).toBe(false);
    return { ...output, code: (await engine.client.inspectExec(made.Id)).ExitCode };
  };

  test('runs as nobody in particular, from a state of its own', async () => {
    expect(readFileSync(`/proc/${engine.pid()}/status`, 'utf8')).toMatch(
      new RegExp(`^Uid:\\s+${ENGINE_UID}\\s+${ENGINE_UID}\\s+${ENGINE_UID}`, 'm'),
    );
    expect(readFileSync(`/proc/${engine.pid()}/status`, 'utf8')).toMatch(/^CapEff:\s+0+$/m);
    expect(statSync(join(engine.state, 'key.pem')).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(engine.socket.replace('docker.sock', 'engine.json'), 'utf8'))).toMatchObject({
      engine: engine.pid(),
    });
  });

  test('output, exit code and state of a container', async () => {
    const id = await engine.run(['sh', '-c', 'echo out; echo err >&2; exit 3']);
    expect(await engine.ended(id)).toBe(3);
    expect(await engine.logs(id)).toEqual({ out: 'out\n', err: 'err\n' });
    expect(await state(id)).toMatchObject({ Status: 'exited', ExitCode: 3, Running: false, Pid: 0, OOMKilled: false });
    await remove(id);
    expect(await failure(engine.client.inspectContainer(id))).toBe(`404 No such container: ${id}`);
    expect(existsSync(join(engine.state, 'logs', id))).toBe(false);
  });

  test('a container that is killed has the code 128 and the signal', async () => {
    const id = await engine.run(['sleep', '60']);
    await engine.client.killContainer(id, 'KILL');
    expect(await engine.ended(id)).toBe(137);
    await remove(id);
  });

  test('stop sends the stop signal, and KILL after the timeout', async () => {
    const obeys = await engine.run(['sh', '-c', 'trap "exit 5" TERM; while :; do sleep 0.05; done']);
    const stubborn = await engine.run(['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done']);
    await sleep(200);
    const begun = performance.now();
    await engine.client.stopContainer(obeys, {});
    expect(performance.now() - begun).toBeLessThan(1500);
    expect((await state(obeys)).ExitCode).toBe(5);
    const second = performance.now();
    await engine.client.stopContainer(stubborn, { t: 1 });
    expect(performance.now() - second).toBeGreaterThan(990);
    expect(performance.now() - second).toBeLessThan(3000);
    expect((await state(stubborn)).ExitCode).toBe(137);
    await remove(obeys);
    await remove(stubborn);
  });

  test('restart keeps id, writable layer and log; pid and start are new', async () => {
    const id = await engine.run(['sh', '-c', 'cat /mark 2>/dev/null; echo run >> /mark; sleep 60']);
    await expect.poll(async () => (await exec(id, ['cat', '/mark'])).out).toBe('run\n');
    const before = await state(id);
    await engine.client.restartContainer(id, { t: 0 });
    const after = await state(id);
    expect(after.Running).toBe(true);
    expect(after.Pid).not.toBe(before.Pid);
    await expect.poll(async () => (await engine.logs(id)).out).toBe('run\n');
    await remove(id);
  });

  limited('pause freezes, unpause goes on', async () => {
    const id = await engine.run(['sh', '-c', 'while :; do echo x; sleep 0.02; done']);
    await sleep(100);
    await engine.client.pauseContainer(id);
    expect((await state(id)).Status).toBe('paused');
    await sleep(50);
    const { out } = await engine.logs(id);
    await sleep(150);
    expect((await engine.logs(id)).out).toBe(out);
    expect(await failure(engine.client.pauseContainer(id))).toContain('409');
    await engine.client.unpauseContainer(id);
    await expect.poll(async () => (await engine.logs(id)).out.length).toBeGreaterThan(out.length);
    await engine.client.pauseContainer(id);
    await remove(id);
  });

  test('wait for the next exit, and for removal', async () => {
    const { Id } = await engine.client.createContainer(
      { Image: IMAGE, Cmd: ['sh', '-c', 'exit 9'], HostConfig: { AutoRemove: true } },
      {},
    );
    const next = await engine.client.waitContainer(Id, 'next-exit');
    const removed = await engine.client.waitContainer(Id, 'removed');
    await engine.client.startContainer(Id);
    expect((await next.exit).StatusCode).toBe(9);
    expect((await removed.exit).StatusCode).toBe(9);
    expect(await failure(engine.client.inspectContainer(Id))).toContain('No such container');
  });

  test('names: generated, unique, found by prefix, changed', async () => {
    const id = await engine.run(['sleep', '60'], { name: 'first' });
    expect(await failure(engine.run(['true'], { name: 'first' }))).toBe(
      `409 Conflict. The container name "/first" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
    const other = await engine.client.createContainer({ Image: IMAGE, Cmd: ['true'] }, {});
    expect((await engine.client.inspectContainer(other.Id)).Name).toMatch(/^\/[a-z]+_[a-z]+\d*$/);
    expect((await engine.client.inspectContainer(id.slice(0, 10))).Id).toBe(id);
    await engine.client.renameContainer('first', 'second');
    expect((await engine.client.inspectContainer('second')).Id).toBe(id);
    expect(await failure(engine.client.inspectContainer('first'))).toContain('404');
    expect(await failure(engine.client.removeContainer(id, {}))).toContain(
      `You cannot remove a running container ${id}. Stop the container before attempting removal or force remove`,
    );
    await remove(id);
    await remove(other.Id);
  });

  test('logs: tail, since, timestamps, follow', async () => {
    const id = await engine.run([
      'sh',
      '-c',
      'for i in 1 2 3 4 5; do echo line $i; done; sleep 1.2; echo late; echo oops >&2',
    ]);
    const following = engine.logs(id, { follow: 1 });
    await sleep(600);
    expect((await engine.logs(id, { tail: 2 })).out).toBe('line 4\nline 5\n');
    expect((await engine.logs(id, { tail: 0 })).out).toBe('');
    const middle = (Date.now() / 1000).toFixed(3);
    expect((await following).out).toBe('line 1\nline 2\nline 3\nline 4\nline 5\nlate\n');
    expect(await engine.logs(id, { since: middle })).toEqual({ out: 'late\n', err: 'oops\n' });
    expect((await engine.logs(id, { until: middle })).out).not.toContain('late');
    const times = (await engine.logs(id, { timestamps: 1, tail: 1, stderr: 0 })).out;
    expect(times).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z late\n$/);
    await remove(id);
  });

  test('output is rotated: the last segments are kept', async () => {
    const id = await engine.run(['sh', '-c', 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo $i; done'], {
      HostConfig: { LogConfig: { Type: 'json-file', Config: { 'max-size': '64k', 'max-file': '2' } } },
    });
    await engine.ended(id);
    const { out } = await engine.logs(id);
    expect(out.length).toBeLessThan(1_200_000);
    expect(out.trimEnd().split('\n').at(-1)).toBe('60000');
    const segments = new Set(readdirSync(join(engine.state, 'logs', id)).map((name) => name.split('.')[0]));
    expect(segments.size).toBeLessThanOrEqual(2);
    await remove(id);
  });

  test('attach before start sees everything; standard input is closed by its end', async () => {
    const body = {
      Image: IMAGE,
      Cmd: ['sh', '-c', 'echo begin; cat; echo end'],
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
    };
    const { Id } = await engine.client.createContainer(body, {});
    const query = { stream: 1, stdin: 1, stdout: 1, stderr: 1 };
    const reply = await engine.client.attach(Id, query);
    reply.socket.write('early ');
    await engine.client.startContainer(Id);
    reply.socket.end('late\n');
    expect((await demultiplex({ ...reply, body: reply.socket })).out).toBe('begin\nearly late\nend\n');
    expect(await engine.ended(Id)).toBe(0);
    await remove(Id);
  });

  test('two attachments see the same; one that does not read holds nobody up', async () => {
    const n = 200_000;
    const { Id } = await engine.client.createContainer(
      { Image: IMAGE, Cmd: ['sh', '-c', `read x; seq 1 ${n}`], OpenStdin: true },
      {},
    );
    const query = { stream: 1, stdout: 1, stderr: 1 };
    const lazy = await engine.client.attach(Id, query);
    const [a, b] = [await engine.client.attach(Id, query), await engine.client.attach(Id, { ...query, stdin: 1 })];
    await engine.client.startContainer(Id);
    b.socket.write('go\n');
    const [x, y] = await Promise.all([a, b].map((reply) => demultiplex({ ...reply, body: reply.socket })));
    expect(x?.out.length).toBe([...Array(n).keys()].reduce((sum, i) => sum + String(i + 1).length + 1, 0));
    expect(y?.out === x?.out).toBe(true);
    expect(await engine.ended(Id)).toBe(0);
    expect((await demultiplex({ ...lazy, body: lazy.socket })).out === x?.out).toBe(true);
    await remove(Id);
  });

  test('a terminal: one stream, its size, its size changed', async () => {
    const id = await engine.run(
      ['sh', '-c', 'stty size; trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.05; done'],
      { Tty: true, HostConfig: { ConsoleSize: [30, 90] } },
    );
    const raw = async (): Promise<string> => {
      const pieces: Buffer[] = [];
      for await (const piece of (await engine.client.logs(id, { stdout: 1 })).body) pieces.push(piece);
      return Buffer.concat(pieces).toString();
    };
    await expect.poll(raw).toContain('ready\r\n');
    await engine.client.resizeContainer(id, { h: 40, w: 120 });
    await engine.ended(id);
    expect(await raw()).toBe('30 90\r\nready\r\n40 120\r\n');
    await remove(id);
  });

  test('exec: output, input, exit codes', async () => {
    const id = await engine.run(['sleep', '60']);
    expect(await exec(id, ['sh', '-c', 'echo o; echo e >&2; exit 7'])).toEqual({ out: 'o\n', err: 'e\n', code: 7 });
    expect(await exec(id, ['cat'], 'through and back\n')).toMatchObject({ out: 'through and back\n', code: 0 });
    expect((await exec(id, ['seq', '1', '100000'])).out.length).toBe(588_895);
    const missing = await engine.client.createExec(id, {
      Cmd: ['nope'],
      Tty: false,
      AttachStdin: false,
      AttachStdout: true,
      AttachStderr: true,
    });
    const started = await engine.client.startExec(missing.Id, { Tty: false });
    // Docker, too, has taken the connection over by then: the sentence comes as output.
    const said = await demultiplex({ ...started, body: started.socket });
    expect(said.out + said.err).toContain('exec: "nope": executable file not found in $PATH');
    expect((await engine.client.inspectExec(missing.Id)).ExitCode).toBe(127);
    expect(await failure(engine.client.startExec(missing.Id, { Tty: false }))).toContain('409');
    const detached = await engine.client.createExec(id, {
      Cmd: ['sh', '-c', 'seq 1 300000; echo done > /done'],
      Tty: false,
      AttachStdin: false,
      AttachStdout: true,
      AttachStderr: true,
    });
    await engine.client.startExecDetached(detached.Id, false);
    await expect.poll(async () => (await exec(id, ['cat', '/done'])).out, { timeout: 5000 }).toBe('done\n');
    const many = await Promise.all(Array.from({ length: 10 }, (_, i) => exec(id, ['echo', String(i)])));
    expect(many.map(({ out }) => out)).toEqual(Array.from({ length: 10 }, (_, i) => `${i}\n`));
    await remove(id);
    expect(await failure(engine.client.inspectExec(detached.Id))).toContain('404');
  });

  test("binds: the source is made for -v, refused for --mount; the file is the container's as the user's", async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'berth-binds-'));
    try {
      chmodSync(scratch, 0o755);
      const own = join(scratch, 'shared');
      mkdirSync(own, { mode: 0o755 });
      chownSync(own, ENGINE_UID, ENGINE_UID);
      const made = join(own, 'made/by/v');
      expect(
        await printed(['sh', '-c', 'echo hello > /d/file; ls -ln /d/file'], { HostConfig: { Binds: [`${made}:/d`] } }),
      ).toMatch(/ 0 +0 /);
      expect(readFileSync(join(made, 'file'), 'utf8')).toBe('hello\n');
      const mounted = { HostConfig: { Mounts: [{ Type: 'bind', Source: join(scratch, 'missing'), Target: '/d' }] } };
      expect(await failure(engine.run(['true'], mounted))).toBe(
        `400 invalid mount config for type "bind": bind source path does not exist: ${join(scratch, 'missing')}`,
      );
      expect(existsSync(join(scratch, 'missing'))).toBe(false);
      writeFileSync(join(own, 'text'), 'from the host\n', { mode: 0o644 });
      expect(
        await printed(['cat', '/etc/text'], { HostConfig: { Binds: [`${join(own, 'text')}:/etc/text:ro`] } }),
      ).toBe('from the host\n');
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });

  test('what cannot start says why, and stays created with the code', async () => {
    const { Id } = await engine.client.createContainer({ Image: IMAGE, Cmd: ['nope'] }, { name: 'cannot' });
    expect(await failure(engine.client.startContainer(Id))).toContain(
      'cannot start container "cannot": exec: "nope": executable file not found in $PATH',
    );
    expect(await state(Id)).toMatchObject({ Status: 'created', ExitCode: 127 });
    expect(await failure(engine.run(['/etc/passwd'], { name: 'cannot2' }))).toContain('permission denied');
    expect(await failure(engine.client.createContainer({ Image: 'no/such:image' }, {}))).toBe(
      '404 No such image: no/such:image',
    );
    expect(
      await failure(engine.client.createContainer({ Image: IMAGE, HostConfig: { CapAdd: ['NOPE'] } }, {})),
    ).toContain('400');
    await remove(Id);
    await remove('cannot2');
  });

  limited('limits are set, and updated while it runs', async () => {
    const id = await engine.run(['sleep', '60'], { HostConfig: { Memory: 64 << 20, PidsLimit: 40 } });
    await engine.client.updateContainer(id, { Memory: 96 << 20, MemorySwap: 192 << 20 });
    expect((await engine.client.inspectContainer(id)).HostConfig.Memory).toBe(96 << 20);
    const limit = (
      await exec(id, [
        'sh',
        '-c',
        'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null',
      ])
    ).out;
    expect(limit.trim()).toBe(String(96 << 20));
    await remove(id);
  });

  limited(
    'memory beyond the limit: 137, and it is known why',
    async () => {
      const id = await engine.run(['sh', '-c', 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'], {
        HostConfig: { Memory: 16 << 20, MemorySwap: 16 << 20 },
      });
      expect(await engine.ended(id)).toBe(137);
      expect((await state(id)).OOMKilled).toBe(true);
      await remove(id);
    },
    30_000,
  );

  test('one container joins the namespaces of another', async () => {
    const first = await engine.run(['sleep', '60'], { Hostname: 'donor', HostConfig: { IpcMode: 'shareable' } });
    const mode = `container:${first}`;
    const words = ['sh', '-c', 'for n in net pid ipc uts; do readlink /proc/self/ns/$n; done; hostname'];
    const theirs = (await exec(first, words)).out;
    const ours = await printed(words, {
      HostConfig: { NetworkMode: mode, PidMode: mode, IpcMode: mode, UTSMode: mode },
    });
    expect(ours).toBe(theirs);
    await engine.client.stopContainer(first, { t: 0 });
    expect(await failure(engine.run(['true'], { name: 'joins', HostConfig: { PidMode: mode } }))).toContain(
      'not running',
    );
    await remove('joins');
    await remove(first);
  });

  test('restart policies: again after a failure, not after stop', async () => {
    const fails = await engine.run(['sh', '-c', 'echo try; exit 1'], {
      HostConfig: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } },
    });
    await expect
      .poll(async () => (await engine.client.inspectContainer(fails)).RestartCount, { timeout: 5000 })
      .toBe(2);
    await expect.poll(async () => (await state(fails)).Status).toBe('exited');
    await expect.poll(async () => (await engine.logs(fails)).out).toBe('try\ntry\ntry\n');
    const always = await engine.run(['sleep', '60'], {
      HostConfig: { RestartPolicy: { Name: 'always', MaximumRetryCount: 0 } },
    });
    const { Pid } = await state(always);
    process.kill(Pid, 'SIGKILL');
    await expect.poll(async () => (await state(always)).Pid, { timeout: 5000 }).not.toBe(Pid);
    await expect.poll(async () => (await state(always)).Running, { timeout: 5000 }).toBe(true);
    await engine.client.stopContainer(always, { t: 0 });
    await sleep(400);
    expect((await state(always)).Running).toBe(false);
    await remove(fails);
    await remove(always);
  });

  test('list with filters', async () => {
    const id = await engine.run(['sleep', '60'], { name: 'listed', Labels: { tier: 'web' } });
    const done = await engine.run(['true'], { name: 'listed-done' });
    await engine.ended(done);
    const names = async (filters: Record<string, string[]>, all = false): Promise<string[]> =>
      (await engine.client.listContainers({ all, filters: JSON.stringify(filters) })).map(
        (one) => one.Names?.[0] ?? '',
      );
    expect(await names({ label: ['tier=web'] })).toEqual(['/listed']);
    expect(await names({ name: ['listed'] }, true)).toEqual(['/listed-done', '/listed']);
    expect(await names({ status: ['exited'], name: ['listed'] })).toEqual(['/listed-done']);
    expect(await names({ exited: ['0'], name: ['listed'] })).toEqual(['/listed-done']);
    expect(await names({ since: ['listed'] }, true)).toContain('/listed-done');
    expect(await names({ ancestor: [IMAGE], name: ['^listed$'] })).toEqual(['/listed']);
    expect(await failure(names({ nonsense: ['1'] }))).toContain("invalid filter 'nonsense'");
    await remove(id);
    await remove(done);
  });

  test('fifty at once, started and removed, and nothing is left', async () => {
    const ids = await Promise.all(
      Array.from({ length: 50 }, (_, i) => engine.run(['sh', '-c', `echo ${i}; sleep 60`])),
    );
    const outputs = await Promise.all(
      ids.map(async (id, i) => {
        await expect.poll(async () => (await engine.logs(id)).out).toBe(`${i}\n`);
        return i;
      }),
    );
    expect(outputs.length).toBe(50);
    const open = readdirSync(`/proc/${engine.pid()}/fd`).length;
    await Promise.all(ids.map(remove));
    expect(await engine.client.listContainers({ all: 1 })).toEqual([]);
    expect(readdirSync(join(engine.state, 'logs'))).toEqual([]);
    await expect.poll(() => readdirSync(`/proc/${engine.pid()}/fd`).length).toBeLessThan(open - 90);
  }, 60_000);

  test("images: load of all forms, list, tag, remove with Docker's rules", async () => {
    const load = async (bytes: Uint8Array): Promise<string> => {
      let text = '';
      for await (const line of await engine.client.load(Readable.from([bytes]), {}))
        text += line.stream ?? line.error ?? '';
      return text;
    };
    const second = makeImage({
      layers: [busyboxImage().layers[0]?.tar ?? new Uint8Array(), tarOf([{ name: 'extra', content: 'more\n' }])],
      config: { Cmd: ['cat', '/extra'] },
    });
    expect(await load(dockerSave20([{ image: second, tags: ['two:1'] }]))).toBe('Loaded image: two:1\n');
    expect(await load(ociArchive([{ image: second, tags: ['two:oci'] }]))).toContain('Loaded image: two:oci');
    const id = await engine.run([], { Image: 'two:1' } as Parameters<PrivateEngine['run']>[1]);
    await engine.ended(id);
    expect((await engine.logs(id)).out).toBe('more\n');
    expect(await failure(engine.client.removeImage(second.id, {}))).toMatch(
      /^409 conflict: unable to delete [0-9a-f]{12} \(must be forced\) - image is referenced in multiple repositories|409 conflict: unable to delete [0-9a-f]{12} \(must be forced\) - image is being used by stopped container/,
    );
    expect(await engine.client.removeImage('two:oci', {})).toEqual([{ Untagged: 'two:oci' }]);
    expect(await failure(engine.client.removeImage('two:1', {}))).toBe(
      `409 conflict: unable to remove repository reference "two:1" (must force) - container ${id.slice(0, 12)} is using its referenced image ${second.id.slice(7, 19)}`,
    );
    await remove(id);
    const gone = await engine.client.removeImage('two:1', {});
    expect(gone[0]).toEqual({ Untagged: 'two:1' });
    expect(gone[1]).toEqual({ Deleted: second.id });
    expect(gone.length).toBe(3);
    expect((await engine.client.listImages({})).map((one) => one.RepoTags)).toEqual([[IMAGE]]);
    expect(await failure(load(tarOf([{ name: 'nothing', content: 'x' }])))).toContain('invalid archive');
    expect(readdirSync(engine.state)).not.toContain('spool.new');
    expect(existsSync(join(engine.state, 'spool')) ? readdirSync(join(engine.state, 'spool')) : []).toEqual([]);
  }, 60_000);

  test('explain prints the plan; a dry run has no effect and tells the decision', async () => {
    const body = { Image: IMAGE, Cmd: ['id'], HostConfig: { CapDrop: ['ALL'] } };
    const explained = await engine.client.explain(body, { name: undefined, dryRun: true });
    expect(explained.text).toContain('namespaces');
    expect(explained.text).toContain('pivot_root');
    expect(explained.decision?.allowed).toBe(true);
    const refused = await engine.client.explain(
      { ...body, HostConfig: { PidMode: 'host' } },
      { name: undefined, dryRun: true },
    );
    if (refused.decision?.allowed === false) expect(refused.decision.reasons[0]?.rule).toBeTruthy();
    expect(await engine.client.listContainers({ all: 1 })).toEqual([]);
  });

  test('who we are, and what the doctor finds', async () => {
    const who = await engine.client.whoami();
    expect(who.uid).toBe(ENGINE_UID);
    expect(who.keyId).toMatch(/^[0-9a-f]{16}$/);
    expect(who.helper?.pid).toBe(engine.helper.pids().helper);
    const findings = await engine.client.doctor();
    expect(findings.map((one) => one.topic)).toEqual(
      expect.arrayContaining(['helper', 'kernel', 'user.max_user_namespaces', 'overlay', 'erofs', 'seccomp', 'disk']),
    );
    for (const one of findings) if (one.level === 'bad') expect(one.fix, one.topic).toBeTruthy();
  });

  test('events tell the life of a container', async () => {
    const since = (Date.now() / 1000).toFixed(3);
    const id = await engine.run(['true'], { name: 'eventful' });
    await engine.ended(id);
    await remove(id);
    const until = ((Date.now() + 50) / 1000).toFixed(3);
    const { readText } = await import('../../core/client/client.ts');
    const text = await readText(
      await engine.client.events({ since, until, filters: JSON.stringify({ container: ['eventful'] }) }),
    );
    expect(
      text
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { Action: string }).Action),
    ).toEqual(['create', 'start', 'die', 'destroy']);
  });
});
