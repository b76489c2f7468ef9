// The helper from outside: requests of a user through its socket, and what is there afterwards.
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPath } from '../../core/sys/fd.ts';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../../proto/abi/sched.gen.ts';
import { GeneratedName, Knob, type Launch, Propagation } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { Exec } from '../../proto/gen/berth/helper/v1/request.ts';
import {
  type Client,
  descriptorsOf,
  importTar,
  launchedOf,
  launchOf,
  newId,
  type PrivateHelper,
  processOf,
  readAll,
  readNow,
  readTerminal,
  startHelper,
} from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';
import { DEFAULT_MOUNTS, makeTree } from '../kit/launcher.ts';
import { busybox, root, suite } from '../kit/need.ts';

suite('helper', [root, busybox], () => {
  let helper: PrivateHelper;
  let client: Client;
  let layer: string;
  const scratch = mkdtempSync(join(tmpdir(), 'berth-helper-scratch-'));

  beforeAll(async () => {
    helper = await startHelper();
    client = await helper.client();
    layer = await importTar(client, busyboxTar(), helper.directory);
    await client.done({ $case: 'mergeImage', value: { layers: [layer] } });
  });
  afterAll(async () => {
    if (process.env['BERTH_SHOW_LOG']) console.log(helper.log());
    await helper[Symbol.asyncDispose]();
    rmSync(scratch, { recursive: true });
  });

  const shell = (script: string, change: Partial<Launch> = {}): Launch =>
    launchOf([layer], ['/bin/sh', '-c', script], change);
  const start = async (launch: Launch, fds: number[] = []) => {
    const answer = await client.done({ $case: 'launch', value: launch }, { wantFds: true, fds });
    return { fds: answer.fds, ...launchedOf(answer) };
  };
  const remove = (id: string) => client.done({ $case: 'remove', value: { container: id } });
  const kill = async (id: string) => {
    await client.done({ $case: 'signal', value: { container: id, exec: '', signal: 9, all: true } });
    return await client.exited(id);
  };
  /** Runs to the end; gives standard output and the exit code. */
  const run = async (launch: Launch, fds: number[] = []) => {
    const {
      fds: [out = -1, err = -1],
    } = await start(launch, fds);
    const { status } = await client.exited(launch.id);
    await remove(launch.id);
    return { text: await readAll(out), errors: await readAll(err), code: status >> 8 };
  };
  const execOf = (container: string, argv: readonly string[], change: Partial<Exec> = {}): Exec => ({
    container,
    id: newId(),
    process: processOf(argv),
    hardening: { seccomp: 1, maskedPaths: [], readOnlyPaths: [], sysctls: [] },
    stdio: { tty: false, stdin: false, columns: 0, rows: 0 },
    ...change,
  });
  const group = (controller: string, id: string) => `/sys/fs/cgroup/${controller}/berth-${helper.slot()}/${id}`;

  test('runs a container of an image: output and exit code', async () => {
    expect(await run(shell('echo out; echo err >&2; exit 7'))).toEqual({ text: 'out\n', errors: 'err\n', code: 7 });
  });

  test('standard input is a pipe that ends when the engine closes it', async () => {
    const launch = shell('cat; echo end', { stdio: { tty: false, stdin: true, columns: 0, rows: 0 } });
    const {
      fds: [input = -1, out = -1],
    } = await start(launch);
    writeSync(input, 'typed\n');
    closeSync(input);
    await client.exited(launch.id);
    await remove(launch.id);
    expect(await readAll(out)).toBe('typed\nend\n');
  });

  test('a terminal has the size that was asked for and gives what is typed', async () => {
    const launch = shell('stty size; read x; echo got:$x', {
      stdio: { tty: true, stdin: true, columns: 99, rows: 33 },
    });
    const {
      fds: [master = -1],
    } = await start(launch);
    writeSync(master, 'abc\n');
    await client.exited(launch.id);
    const text = readTerminal(master);
    await remove(launch.id);
    expect(text).toContain('33 99');
    expect(text).toContain('got:abc');
  });

  test('a launch of what runs already gives the same process and its output again', async () => {
    const launch = shell('echo once; sleep 100');
    const first = await start(launch);
    let text = '';
    for (; text === ''; await sleep(2)) text = readNow(first.fds[0] ?? -1);
    const second = await start(launch);
    expect(second.pid).toBe(first.pid);
    await kill(launch.id);
    await remove(launch.id);
    expect(text + (await readAll(first.fds[0] ?? -1)) + (await readAll(second.fds[0] ?? -1))).toBe('once\n');
  });

  test('a container that ended starts again with its writable layer and its generated files', async () => {
    const content = Buffer.from('127.0.0.1 first\n');
    const file = { $case: 'file' as const, value: { name: GeneratedName.GENERATED_NAME_HOSTS, content } };
    const mount = { source: file, target: '/etc/hosts', readOnly: false, noSuid: false, noDev: false, noExec: false };
    const launch = shell('cat /kept /etc/hosts; echo was here > /kept; echo added >> /etc/hosts', {
      mounts: [...DEFAULT_MOUNTS, mount],
    });
    const first = await start(launch);
    await client.exited(launch.id);
    expect(await readAll(first.fds[0] ?? -1)).toBe('127.0.0.1 first\n');
    client.events.length = 0;
    const second = await start(launch);
    expect(second.block).toBe(first.block);
    await client.exited(launch.id);
    expect(await readAll(second.fds[0] ?? -1)).toBe('was here\n127.0.0.1 first\nadded\n');
    await remove(launch.id);
  });

  test('exec: output, exit code, a terminal, and refusal of an id in use', async () => {
    const launch = shell('sleep 100');
    await start(launch);
    const exec = execOf(launch.id, ['/bin/sh', '-c', 'echo from exec; exit 3']);
    const { fds } = await client.done({ $case: 'exec', value: exec }, { wantFds: true });
    expect(await client.exited(launch.id, exec.id)).toMatchObject({ status: 3 << 8 });
    expect((await client.ask({ $case: 'exec', value: exec })).result.allowed).toBe(false);
    await client.done({ $case: 'forget', value: { container: launch.id, exec: exec.id } });
    expect(await readAll(fds[0] ?? -1)).toBe('from exec\n');
    const onTty = execOf(launch.id, ['tty'], { stdio: { tty: true, stdin: true, columns: 80, rows: 24 } });
    const terminal = await client.done({ $case: 'exec', value: onTty }, { wantFds: true });
    await client.exited(launch.id, onTty.id);
    expect(readTerminal(terminal.fds[0] ?? -1)).toContain('/dev/pts/');
    await kill(launch.id);
    await remove(launch.id);
  });

  test('signals reach the first process, an exec, or everything', async () => {
    const launch = shell('trap "echo term; exit 5" TERM; echo up; while :; do sleep 0.1; done');
    const {
      fds: [out = -1],
    } = await start(launch);
    const exec = execOf(launch.id, ['sleep', '100']);
    await client.done({ $case: 'exec', value: exec });
    await client.done({ $case: 'signal', value: { container: launch.id, exec: exec.id, signal: 9, all: false } });
    expect(await client.exited(launch.id, exec.id)).toMatchObject({ status: 9 });
    for (let text = ''; !text.includes('up'); await sleep(5)) text += readNow(out);
    await client.done({ $case: 'signal', value: { container: launch.id, exec: '', signal: 15, all: false } });
    expect(await client.exited(launch.id)).toMatchObject({ status: 5 << 8 });
    await remove(launch.id);
  });

  test('pause stops every process until it is taken back; what is frozen can be killed', async () => {
    const launch = shell('while :; do echo x; sleep 0.01; done');
    const {
      fds: [out = -1],
    } = await start(launch);
    await client.done({ $case: 'pause', value: { container: launch.id, frozen: true } });
    while (readNow(out) !== '');
    await sleep(100);
    expect(readNow(out)).toBe('');
    expect((await client.ask({ $case: 'exec', value: execOf(launch.id, ['true']) })).result.allowed).toBe(false);
    await client.done({ $case: 'pause', value: { container: launch.id, frozen: false } });
    await sleep(100);
    expect(readNow(out)).toContain('x');
    await client.done({ $case: 'pause', value: { container: launch.id, frozen: true } });
    expect(await kill(launch.id)).toMatchObject({ status: 9 });
    await remove(launch.id);
  });

  test('limits are in the cgroup files, before the first instruction and after an update', async () => {
    const limits = (memory: bigint) => ({
      settings: [
        { knob: Knob.KNOB_CPU_QUOTA_US, value: 20_000n },
        { knob: Knob.KNOB_CPU_PERIOD_US, value: 100_000n },
        { knob: Knob.KNOB_MEMORY_MAX_BYTES, value: memory },
        { knob: Knob.KNOB_PIDS_MAX, value: 20n },
      ],
      throttles: [],
      cpus: '0',
      mems: '',
      deviceRules: [],
    });
    const launch = shell('cat /proc/self/cgroup; sleep 100', { limits: limits(64n << 20n) });
    const {
      fds: [out = -1],
    } = await start(launch);
    let text = '';
    for (; !text.includes(':memory:'); await sleep(2)) text += readNow(out);
    const file = (controller: string, name: string) =>
      readFileSync(join(group(controller, launch.id), name), 'utf8').trim();
    expect(file('memory', 'memory.limit_in_bytes')).toBe(String(64 << 20));
    expect(file('cpu', 'cpu.cfs_quota_us')).toBe('20000');
    expect(file('pids', 'pids.max')).toBe('20');
    expect(file('cpuset', 'cpuset.cpus')).toBe('0');
    await client.done({ $case: 'update', value: { container: launch.id, limits: limits(96n << 20n) } });
    expect(file('memory', 'memory.limit_in_bytes')).toBe(String(96 << 20));
    await kill(launch.id);
    for (const controller of ['memory', 'cpu', 'pids', 'freezer'])
      await expect.poll(() => existsSync(group(controller, launch.id))).toBe(false);
    await remove(launch.id);
    expect(text.split('\n').filter((line) => line.includes(':memory:'))).toEqual([
      expect.stringMatching(/:memory:\/$/),
    ]);
  });

  test('devices: the nodes that were given and terminals, nothing else, and what a rule adds', async () => {
    const deviceRules = [{ block: false, major: 10n, minor: 200n, read: true, write: true, mknod: false }];
    const launch = shell('sleep 100', { limits: { settings: [], throttles: [], cpus: '', mems: '', deviceRules } });
    await start(launch);
    const list = readFileSync(join(group('devices', launch.id), 'devices.list'), 'utf8');
    expect(list).toContain('c 1:3 rwm');
    expect(list).toContain('c 10:200 rw');
    expect(list).not.toContain('a *:*');
    await kill(launch.id);
    await remove(launch.id);
  });

  test('a container that uses too much memory is told to have been killed for it', async () => {
    const settings = [{ knob: Knob.KNOB_MEMORY_MAX_BYTES, value: 16n << 20n }];
    const launch = shell('exec dd if=/dev/zero of=/dev/null bs=64M count=1', {
      limits: { settings, throttles: [], cpus: '', mems: '', deviceRules: [] },
    });
    await start(launch);
    expect(await client.exited(launch.id)).toMatchObject({ status: 9, outOfMemory: true });
    expect(client.events).toContainEqual({ event: { $case: 'outOfMemory', value: { container: launch.id } } });
    await remove(launch.id);
  });

  test('a bind shows the user as root, and what the container makes belongs to him and his storage range', async () => {
    const source = join(scratch, 'bound');
    mkdirSync(source);
    writeFileSync(join(source, 'mine'), 'mine\n');
    const bind = { descriptor: 0, recursive: true, file: false, propagation: Propagation.PROPAGATION_PRIVATE };
    const mount = {
      source: { $case: 'bind' as const, value: bind },
      target: '/data',
      readOnly: false,
      noSuid: false,
      noDev: true,
      noExec: false,
    };
    const fd = openPath(source);
    const launch = shell(
      'stat -c %u:%g /data/mine; echo new > /data/new; echo other > /data/other; chown 33:33 /data/other; ls -n /data >&2',
      {
        mounts: [...DEFAULT_MOUNTS, mount],
      },
    );
    const { text } = await run(launch, [fd]);
    closeSync(fd);
    expect(text).toBe('0:0\n');
    expect(statSync(join(source, 'new')).uid).toBe(0);
    const other = statSync(join(source, 'other'));
    expect(other.uid % 65_536).toBe(33);
    expect(other.uid).toBeGreaterThan(0x74000000);
  });

  test('a bind of a file system that cannot map owners is refused, naming the step', async () => {
    const source = join(scratch, 'unmapped');
    mkdirSync(source);
    execFileSync('mount', ['-t', 'ramfs', 'berth-test', source]);
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
    const { result } = await client.ask(
      { $case: 'launch', value: shell('true', { mounts: [...DEFAULT_MOUNTS, mount] }) },
      { fds: [fd] },
    );
    closeSync(fd);
    execFileSync('umount', [source]);
    expect(result.outcome).toMatchObject({
      $case: 'failure',
      value: { step: expect.stringContaining('/data'), call: 'mount_setattr' },
    });
  });

  test('a container that made directories deeper than any path is removed', async () => {
    const launch = shell(
      `i=0; n=${'d'.repeat(200)}; while [ $i -lt 60 ]; do mkdir $n && cd -P $n; i=$((i+1)); done; echo $i`,
    );
    const { text } = await run(launch);
    expect(text).toBe('60\n');
    expect(existsSync(join(helper.directory, 'lib/helper/containers', launch.id))).toBe(false);
  });

  test('a directory of the user is a root', async () => {
    const tree = join(scratch, 'tree');
    makeTree(tree);
    const fd = openSync(tree, 'r');
    const launch = launchOf([], ['/bin/sh', '-c', 'ls /; touch /made'], {
      root: { source: { $case: 'directory', value: { descriptor: 0 } }, readOnly: false },
    });
    expect((await run(launch, [fd])).text).toContain('bin\n');
    closeSync(fd);
    expect(existsSync(join(tree, 'made'))).toBe(true);
  });

  test('a container joins the namespaces of another, and lives in its user namespace', async () => {
    const first = shell('sleep 100');
    const started = await start(first);
    const join_ = [CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWPID].map((bit) => ({
      namespace: BigInt(bit),
      container: first.id,
    }));
    const unshare = BigInt(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP);
    const second = shell('cat /proc/self/uid_map; ps', { namespaces: { unshare, join: join_, uidCount: 0n } });
    const { text } = await run(second);
    expect(text).toContain(String(started.block));
    expect(text).toContain('sleep 100');
    await kill(first.id);
    await remove(first.id);
  });

  test('a program that is not there fails, naming it, and leaves nothing', async () => {
    const launch = launchOf([layer], ['/bin/nope']);
    const { result } = await client.ask({ $case: 'launch', value: launch });
    expect(result.outcome).toMatchObject({ $case: 'failure', value: { step: 'execute /bin/nope', errno: 2 } });
    expect(existsSync(join(helper.directory, 'lib/helper/containers', launch.id))).toBe(false);
    expect(existsSync(group('memory', launch.id))).toBe(false);
  });

  test('a dry run decides and does nothing', async () => {
    const launch = shell('true');
    const { result } = await client.ask({ $case: 'launch', value: launch }, { dryRun: true });
    expect(result).toMatchObject({ allowed: true, outcome: undefined });
    expect((await client.ask({ $case: 'remove', value: { container: launch.id } })).result.allowed).toBe(false);
  });

  /** The host's, but for those of other engines that may be at work here. */
  const mounts = (): string[] =>
    readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => !/\/(dockerd?|podman|containers?)\//.test(line));

  test('fifty containers leave no process, cgroup, mount, directory or descriptor', async () => {
    const { helper: pid, keeper, porter } = helper.pids();
    await run(shell('true'));
    await sleep(100); // what goes on behind the last answer
    const before = {
      helper: descriptorsOf(pid).length,
      keeper: descriptorsOf(keeper).length,
      porter: descriptorsOf(porter).length,
      mounts: mounts(),
    };
    for (let round = 0; round < 5; round++) {
      const launches = Array.from({ length: 10 }, () => shell('echo $$'));
      const texts = await Promise.all(launches.map((launch) => run(launch)));
      expect(texts.map(({ text }) => text)).toEqual(launches.map(() => '1\n'));
    }
    await expect.poll(() => descriptorsOf(pid).length).toBe(before.helper);
    expect(descriptorsOf(keeper).length).toBe(before.keeper);
    expect(descriptorsOf(porter).length).toBe(before.porter);
    expect(mounts()).toEqual(before.mounts);
    expect(readdirSync(join(helper.directory, 'lib/helper/containers'))).toEqual([]);
    expect(
      readdirSync(`/sys/fs/cgroup/memory/berth-${helper.slot()}`, { withFileTypes: true }).filter((entry) =>
        entry.isDirectory(),
      ),
    ).toEqual([]);
    expect(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')).toBe(`${porter} `);
  });
});
