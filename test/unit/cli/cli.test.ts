// Whole command lines against the REST server with an engine of child processes: what is printed where, and the exit code. The texts are Docker's, seen
// with docker 28.2 on dockerd 20.10 (test/clients compares them again with real daemons).
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiServer, serveApi } from '../../../core/api/server.ts';
import { findCommand, runCli } from '../../../core/cli/cli.ts';
import { COMMANDS } from '../../../core/cli/commands.ts';
import { type FakeEngine, fakeEngine } from '../api/fake-engine.ts';

const dir = mkdtempSync(join(tmpdir(), 'berth-cli-'));
const path = join(dir, 'docker.sock');
let engine: FakeEngine;
let server: ApiServer;

beforeAll(async () => {
  engine = fakeEngine();
  server = await serveApi({ engine, path, uid: process.getuid?.() ?? 0, log: () => undefined });
});
afterAll(async () => {
  await engine.close();
  await server.close();
  rmSync(dir, { recursive: true });
});

type Done = { code: number; out: string; err: string };

async function berth(
  words: readonly string[],
  more: { stdin?: string; tty?: boolean; env?: Record<string, string>; host?: string } = {},
): Promise<Done> {
  const done = { out: '', err: '' };
  const to = (name: 'out' | 'err'): NodeJS.WriteStream =>
    Object.assign(
      new Writable({
        write: (chunk, _encoding, then) => {
          done[name] += chunk;
          then();
        },
      }),
      { isTTY: more.tty === true, columns: 80 },
    ) as unknown as NodeJS.WriteStream;
  const stdin = new PassThrough();
  if (more.stdin !== undefined) stdin.end(more.stdin);
  const env = { HOME: dir, BERTH_HOST: more.host ?? path, TZ: 'UTC', ...more.env };
  const code = await runCli(words, {
    env,
    home: dir,
    stdin: stdin as unknown as NodeJS.ReadStream,
    stdout: to('out'),
    stderr: to('err'),
  });
  return { code, ...done };
}

test.each<[string, Partial<Done>]>([
  ['run --rm bb:1 echo hi', { code: 0, out: 'hi\n', err: '' }],
  [
    'run bb:1 nope',
    {
      code: 127,
      out: '',
      err: 'berth: Error response from daemon: exec: "nope": executable file not found in $PATH\n\nRun \'berth run --help\' for more information\n',
    },
  ],
  [
    'run bb:1 /etc/passwd',
    {
      code: 126,
      err: 'berth: Error response from daemon: exec: "/etc/passwd": permission denied\n\nRun \'berth run --help\' for more information\n',
    },
  ],
  [
    'run --nope bb:1',
    {
      code: 125,
      out: '',
      err: "unknown flag: --nope\n\nUsage:  berth run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'berth run --help' for more information\n",
    },
  ],
  [
    'run',
    {
      code: 1,
      err: "berth: 'berth run' requires at least 1 argument\n\nUsage:  berth run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'berth run --help' for more information\n",
    },
  ],
  ['run -it bb:1 sh', { code: 1, err: 'the input device is not a TTY\n' }],
  ['run -d -a stdout bb:1 true', { code: 1, err: 'conflicting options: cannot specify both --attach and --detach\n' }],
  [
    'run --pull never gone:1',
    {
      code: 125,
      err: "berth: Error response from daemon: No such image: gone:1\n\nRun 'berth run --help' for more information\n",
    },
  ],
  [
    'run --pull foo bb:1',
    {
      code: 125,
      err: 'berth: invalid pull option: \'foo\': must be one of "always", "missing" or "never"\n\nRun \'berth run --help\' for more information\n',
    },
  ],
  [
    'run --pid foo bb:1',
    { code: 125, err: "berth: --pid: invalid PID mode\n\nRun 'berth run --help' for more information\n" },
  ],
  [
    'run -v /etc:/x bb:1 true',
    {
      code: 125,
      err: "berth: Error response from daemon: policy refuses it: rule binds, field mounts[0].source\n\nRun 'berth run --help' for more information\n",
    },
  ],
  [
    'run --rm missing:1 true',
    {
      code: 125,
      err: "Unable to find image 'missing:1' locally\nberth: Error response from daemon: pull access denied for missing:1, repository does not exist\n\nRun 'berth run --help' for more information\n",
    },
  ],
  [
    'run --rm new:2 true',
    {
      code: 0,
      err: "Unable to find image 'new:2' locally\n1: Pulling from new:2\nStatus: Downloaded newer image for new:2\n",
    },
  ],
  [
    'pull a/b',
    {
      code: 0,
      out: 'Using default tag: latest\n1: Pulling from a/b:latest\nStatus: Downloaded newer image for a/b:latest\ndocker.io/a/b:latest\n',
    },
  ],
  ['pull -q a/b:3', { code: 0, out: 'docker.io/a/b:3\n' }],
  ['pull broken:1', { code: 1, err: 'unexpected end of blob\n' }],
  [
    'rmi a/b:3 gone:1',
    {
      code: 1,
      out: `Untagged: a/b:3\nDeleted: sha256:${'ab'.repeat(32)}\n`,
      err: 'Error response from daemon: No such image: gone:1\n',
    },
  ],
  [
    'ps extra',
    {
      code: 1,
      err: "berth: 'berth ps' accepts no arguments\n\nUsage:  berth ps [OPTIONS]\n\nRun 'berth ps --help' for more information\n",
    },
  ],
  [
    'ps --filter bad',
    {
      code: 125,
      err: 'invalid argument "bad" for "-f, --filter" flag: bad format of filter (expected name=value)\n\nUsage:  berth ps [OPTIONS]\n\nRun \'berth ps --help\' for more information\n',
    },
  ],
  [
    'ps --format {{.Foo}}',
    {
      code: 1,
      err: 'failed to execute template: template: :1:2: executing "" at <.Foo>: can\'t evaluate field Foo in type *formatter.ContainerContext\n',
    },
  ],
  ['ps --format {{.ID', { code: 1, err: 'failed to parse template: template: :1: unclosed action\n' }],
  [
    'images --format {{.Foo}}',
    {
      code: 1,
      err: 'template parsing error: template: :1:2: executing "" at <.Foo>: can\'t evaluate field Foo in type *formatter.imageContext\n',
    },
  ],
  [
    'start',
    {
      code: 1,
      err: "berth: 'berth start' requires at least 1 argument\n\nUsage:  berth start [OPTIONS] CONTAINER [CONTAINER...]\n\nSee 'berth start --help' for more information\n",
    },
  ],
  ['start -a x y', { code: 1, err: 'you cannot start and attach multiple containers at once\n' }],
  ['stop gone', { code: 1, out: '', err: 'Error response from daemon: No such container: gone\n' }],
  ['rm gone', { code: 1, err: 'Error response from daemon: No such container: gone\n' }],
  ['rm -f gone', { code: 0, err: 'Error response from daemon: No such container: gone\n' }],
  ['logs gone', { code: 1, err: 'Error response from daemon: No such container: gone\n' }],
  ['inspect gone', { code: 1, out: '[]\n', err: 'Error: No such object: gone\n' }],
  ['inspect -f {{.Id gone', { code: 64, err: 'template parsing error: template: :1: unclosed action\n' }],
  [
    'inspect --type nope x',
    { code: 1, err: expect.stringMatching(/^unknown type: "nope": must be one of "config", "container"/) },
  ],
  ['nope', { code: 1, err: "berth: unknown command: berth nope\n\nRun 'berth --help' for more information\n" }],
  [
    'container nope',
    {
      code: 1,
      err: "berth: unknown command: berth container nope\n\nRun 'berth container --help' for more information\n",
    },
  ],
  [
    '--nope ps',
    {
      code: 125,
      err: "unknown flag: --nope\n\nUsage:  berth [OPTIONS] COMMAND\n\nRun 'berth --help' for more information\n",
    },
  ],
  ['explain run -m 5m bb:1', { code: 0, out: 'image bb:1\n' }],
  ['explain --dry-run run bb:1', { code: 0, out: 'image bb:1\n\nThe helper allows it.\n' }],
  ['explain run --dry-run bb:1', { code: 0, out: 'image bb:1\n\nThe helper allows it.\n' }],
  ['explain ps x', { code: 125, err: 'berth explain: "ps" cannot be explained: use \'berth explain run IMAGE …\'\n' }],
  ['doctor', { code: 0, out: '[ ok ] kernel  6.18\n' }],
  ['version -f {{.Server.ApiVersion}}', { code: 0, out: '1.51\n' }],
  ['info -f {{.NCPU}}', { code: 0, out: '2\n' }],
  ['events --since 1 --until 2', { code: 0, out: '' }],
  ['system env', { code: 0, out: `export DOCKER_HOST=unix://${path}\n` }],
  ['system down', { code: 1, err: 'system down: -H names an engine that somebody else started\n' }],
  [
    '-H tcp://1.2.3.4:1 ps',
    { code: 1, err: 'unable to parse docker host "tcp://1.2.3.4:1": only unix:///path/of/socket is supported\n' },
  ],
])('berth %s', async (line, want) => {
  expect(await berth(line.split(' '))).toMatchObject(want);
});

test('keys that are none are told before anything is made', async () => {
  const before = engine.calls.length;
  expect(await berth(['run', '--detach-keys', 'x,zzz', 'bb:1', 'true'])).toMatchObject({
    code: 125,
    err: expect.stringContaining("Invalid detach keys (x,zzz) provided: Unknown character: 'zzz'"),
  });
  expect(engine.calls.length).toBe(before);
});

test('run without an engine says so and ends with 125, other commands with 1', async () => {
  const host = join(dir, 'none.sock');
  expect(await berth(['run', 'bb:1'], { host })).toEqual({
    code: 125,
    out: '',
    err: `berth: Cannot connect to the Berth engine at unix://${host}. Is the engine running?\n\nRun 'berth run --help' for more information\n`,
  });
  expect(await berth(['ps'], { host })).toEqual({
    code: 1,
    out: '',
    err: `Cannot connect to the Berth engine at unix://${host}. Is the engine running?\n`,
  });
});

test('standard output and error of a container are apart, its exit code is ours', async () => {
  expect(await berth(['run', '--rm', 'bb:1', 'sh', '-c', 'echo out; echo err >&2; exit 3'])).toEqual({
    code: 3,
    out: 'out\n',
    err: 'err\n',
  });
});

test('standard input goes to the container to its end', async () => {
  const input = 'x'.repeat(300_000);
  expect(await berth(['run', '-i', '--rm', 'bb:1', 'sh', '-c', 'cat; echo end >&2'], { stdin: input })).toEqual({
    code: 0,
    out: input,
    err: 'end\n',
  });
});

test('a life: run -d, ps, exec, logs, inspect, rename, pause, stop, start -a, rm', async () => {
  const started = await berth([
    'run',
    '-d',
    '--name',
    'life',
    '-e',
    'A=b',
    '-l',
    'k=v',
    'bb:1',
    'sh',
    '-c',
    'echo one; echo two >&2; exec sleep 1000',
  ]);
  expect(started).toMatchObject({ code: 0, out: expect.stringMatching(/^[0-9a-f]{64}\n$/) });
  const id = started.out.trim();
  const ps = await berth(['ps']);
  expect(ps.out.split('\n')[0]).toBe(
    'CONTAINER ID   IMAGE     COMMAND                  CREATED              STATUS              PORTS     NAMES',
  );
  expect(ps.out.split('\n')[1]).toBe(
    `${id.slice(0, 12)}   bb:1      "sh -c echo one; ech…"   About a minute ago   Up About a minute             life`,
  );
  expect((await berth(['ps', '-q'])).out).toBe(`${id.slice(0, 12)}\n`);
  expect((await berth(['ps', '-q', '--no-trunc'])).out).toBe(`${id}\n`);
  expect((await berth(['ps', '--format', '{{.Names}}\\t{{.Label "k"}} {{upper .Image}}'])).out).toBe('life\tv BB:1\n');
  expect((await berth(['container', 'ls', '--format', 'table {{.ID}}: {{.Names}}'])).out).toBe(
    `CONTAINER ID: NAMES\n${id.slice(0, 12)}: life\n`,
  );
  expect(JSON.parse((await berth(['ps', '--format', 'json'])).out)).toMatchObject({
    Names: 'life',
    Labels: 'k=v',
    Platform: null,
  });
  expect(await berth(['exec', 'life', 'echo', 'in'])).toEqual({ code: 0, out: 'in\n', err: '' });
  expect(await berth(['exec', '-i', 'life', 'cat'], { stdin: 'typed' })).toEqual({ code: 0, out: 'typed', err: '' });
  expect((await berth(['exec', 'life', 'sh', '-c', 'exit 7'])).code).toBe(7);
  expect(await berth(['exec', 'life', 'nope'])).toMatchObject({
    code: 127,
    err: 'exec: "nope": executable file not found in $PATH\r\n',
  });
  expect(await berth(['exec', '-d', 'life', 'true'])).toEqual({ code: 0, out: '', err: '' });
  expect(await berth(['logs', 'life'])).toEqual({ code: 0, out: 'one\n', err: 'two\n' });
  expect(
    await berth([
      'inspect',
      '-f',
      '{{.Name}} {{json .Config.Cmd}} {{.State.Running}} {{.Config.ExposedPorts}}',
      'life',
      'gone',
    ]),
  ).toEqual({
    code: 1,
    out: '/life ["sh","-c","echo one; echo two >&2; exec sleep 1000"] true map[]\n',
    err: 'Error: No such object: gone\n',
  });
  expect(JSON.parse((await berth(['inspect', 'life'])).out)[0].Id).toBe(id);
  expect(await berth(['rename', 'life', 'second'])).toEqual({ code: 0, out: '', err: '' });
  expect(await berth(['pause', 'second'])).toEqual({ code: 0, out: 'second\n', err: '' });
  expect(await berth(['attach', 'second'])).toEqual({
    code: 1,
    out: '',
    err: 'You cannot attach to a paused container, unpause it first\n',
  });
  expect(await berth(['unpause', 'second'])).toEqual({ code: 0, out: 'second\n', err: '' });
  expect(await berth(['rm', 'second'])).toMatchObject({
    code: 1,
    err: `Error response from daemon: You cannot remove a running container ${id}. Stop the container before attempting removal or force remove\n`,
  });
  expect(await berth(['stop', '-t', '0', 'second', 'gone'])).toEqual({
    code: 1,
    out: 'second\n',
    err: 'Error response from daemon: No such container: gone\n',
  });
  expect(await berth(['wait', 'second'])).toEqual({ code: 0, out: '137\n', err: '' });
  expect(await berth(['attach', 'second'])).toEqual({
    code: 1,
    out: '',
    err: 'You cannot attach to a stopped container, start it first\n',
  });
  expect(await berth(['kill', 'second'])).toMatchObject({
    code: 1,
    err: `Error response from daemon: cannot kill container: second: Container ${id} is not running\n`,
  });
  expect(await berth(['rm', 'second'])).toEqual({ code: 0, out: 'second\n', err: '' });
});

test('start -a gives what is printed from then on, and the code', async () => {
  await berth(['create', '--name', 'again', 'bb:1', 'sh', '-c', 'echo now; exit 4']);
  expect(await berth(['start', 'again'])).toEqual({ code: 0, out: 'again\n', err: '' });
  await berth(['wait', 'again']);
  expect(await berth(['start', '-a', 'again'])).toEqual({ code: 4, out: 'now\n', err: '' });
  await berth(['rm', 'again']);
});

test('--cidfile is written once, and not left behind by a failure', async () => {
  const file = join(dir, 'cid');
  const made = await berth(['create', '--cidfile', file, 'bb:1', 'true']);
  expect(readFileSync(file, 'utf8')).toBe(made.out.trim());
  expect((await berth(['create', '--cidfile', file, 'bb:1', 'true'])).err).toBe(
    `container ID file found, make sure the other container isn't running or delete ${file}\n`,
  );
  rmSync(file);
  await berth(['create', '--cidfile', file, '--pull', 'never', 'gone:1']);
  expect(() => readFileSync(file)).toThrow('ENOENT');
});

test('the body has what flags, files and the environment say', async () => {
  writeFileSync(join(dir, 'env'), '# c\nFROM_FILE=1\nHOME\n');
  writeFileSync(join(dir, 'seccomp.json'), '{ "defaultAction": "SCMP_ACT_ALLOW" }\n');
  await berth(
    [
      'create',
      '--env-file',
      join(dir, 'env'),
      '-e',
      'X=y',
      '-e',
      'TZ',
      '-e',
      'GONE',
      '--security-opt',
      `seccomp=${join(dir, 'seccomp.json')}`,
      '-v',
      '.:/w',
      'bb:1',
      'true',
    ],
    { env: { PWD: '/home/me' } },
  );
  const body = JSON.parse(
    engine.calls
      .filter((call) => call.startsWith('create '))
      .at(-1)
      ?.slice(7) ?? '',
  );
  expect(body.Env).toEqual(['FROM_FILE=1', `HOME=${dir}`, 'X=y', 'TZ=UTC', 'GONE']);
  expect(body.HostConfig).toMatchObject({
    SecurityOpt: ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'],
    Binds: ['/home/me:/w'],
  });
  expect(await berth(['run', '--env-file', '/nonexistent', 'bb:1'])).toMatchObject({
    code: 125,
    err: "berth: open /nonexistent: no such file or directory\n\nRun 'berth run --help' for more information\n",
  });
});

test("images are listed in Docker's columns", async () => {
  const { out } = await berth(['images']);
  expect(out.split('\n')[0]).toMatch(/^REPOSITORY {3}TAG {7}IMAGE ID {7}CREATED {7}SIZE$/);
  expect(out).toMatch(/^bb {11}1 {9}abababababab {3}\d+ (months|years) ago {3}4\.28MB$/m);
  expect((await berth(['images', '-q', '--no-trunc'])).out.split('\n')[0]).toBe(`sha256:${'ab'.repeat(32)}`);
  expect((await berth(['images', '--digests'])).out.split('\n')[0]).toMatch(
    /^REPOSITORY +TAG +DIGEST +IMAGE ID +CREATED +SIZE$/,
  );
});

test("load takes a file or standard input, and refuses a terminal's", async () => {
  writeFileSync(join(dir, 'archive'), 'x'.repeat(1000));
  expect(await berth(['load', '-i', join(dir, 'archive')])).toEqual({
    code: 0,
    out: 'Loaded image: loaded:1 (1000)\n',
    err: '',
  });
  expect(await berth(['load'], { stdin: 'abc' })).toEqual({ code: 0, out: 'Loaded image: loaded:1 (3)\n', err: '' });
  expect(await berth(['load', '-i', '/nonexistent'])).toEqual({
    code: 1,
    out: '',
    err: 'open /nonexistent: no such file or directory\n',
  });
});

test('a pull on a terminal draws bars', async () => {
  const { out } = await berth(['pull', 'bars:1'], { tty: true });
  expect(out).toContain('abcdef: Downloading [============>             ]      50B/100B');
});

test('a login of config.json goes with the pull of its registry', async () => {
  writeFileSync(
    join(dir, 'config.json'),
    JSON.stringify({ auths: { 'reg:5': { auth: Buffer.from('me:secret').toString('base64') } } }),
  );
  expect((await berth(['pull', 'reg:5/a:1'], { env: { DOCKER_CONFIG: dir } })).code).toBe(0);
  writeFileSync(join(dir, 'config.json'), '{');
  expect((await berth(['pull', 'reg:5/a:1'], { env: { DOCKER_CONFIG: dir } })).err).toContain(
    `${join(dir, 'config.json')} is not JSON`,
  );
});

test('every command has help, a usage line, and a module that loads', async () => {
  expect(COMMANDS.length).toBeGreaterThan(30);
  const names = COMMANDS.flatMap((command) => command.names.map((words) => words.join(' ')));
  expect(new Set(names).size).toBe(names.length);
  for (const command of COMMANDS) {
    for (const words of command.names) expect(findCommand(words)?.command, words.join(' ')).toBe(command);
    const help = await berth([...(command.names[0] ?? []), '--help']);
    expect(help.code).toBe(0);
    expect(help.out).toMatch(new RegExp(`^Usage:  berth ${command.names[0]?.join(' ')}`));
    expect(help.out.split('\n').every((line) => [...line].length <= 110)).toBe(true);
    expect(typeof (await command.load())).toBe('function');
  }
});

test('berth, berth --help, berth help run, berth container and --version', async () => {
  expect((await berth([])).out).toMatch(/^Usage: {2}berth \[OPTIONS\] COMMAND\n/);
  expect((await berth(['--help'])).out).toContain('\n  run         Create and run a new container from an image\n');
  expect((await berth(['help', 'run'])).out).toMatch(/^Usage: {2}berth run /);
  expect((await berth(['container'])).out).toMatch(/^Usage: {2}berth container COMMAND\n/);
  expect(await berth(['--version'])).toEqual({ code: 0, out: 'Berth version unbuilt\n', err: '' });
});
