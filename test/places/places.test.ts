// The two commands of the README where a newcomer may type them: as root, as a uid nobody knows, inside a locked-down container.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root as needsRoot, suite, tool } from '../kit/need.ts';
import { type Daemon, startDockerd } from '../kit/peers.ts';

const checkout = new URL('../..', import.meta.url).pathname;
const UID = 54321;
const COUNTS = /^(\d+) passed, 0 failed, (\d+) skipped$/m;

/** A clone of what is committed plus the installed packages, owned by `uid`. */
function copyFor(uid: number): string {
  const dir = mkdtempSync(join(tmpdir(), 'berth-place-'));
  execFileSync('git', ['-c', 'safe.directory=*', 'clone', '-q', '--no-hardlinks', checkout, join(dir, 'berth')]);
  cpSync(join(checkout, 'node_modules'), join(dir, 'berth/node_modules'), { recursive: true, verbatimSymlinks: true });
  execFileSync('chown', ['-R', `${uid}:${uid}`, dir]);
  execFileSync('chmod', ['755', dir]);
  return dir;
}

/** Mounts, control groups and processes that carry the name of one of our instances. */
function leftovers(): string {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => /berth/.test(line) && !/berth-place/.test(line));
  const groups = spawnSync('find', ['/sys/fs/cgroup', '-maxdepth', '2', '-name', 'berth*'], {
    encoding: 'utf8',
  }).stdout.trim();
  return [...mounts, groups].filter(Boolean).join('\n');
}

suite('npm run demo and npm test', [needsRoot, tool('setpriv', 'util-linux'), tool('git')], () => {
  let place = '';
  beforeAll(() => {
    place = copyFor(UID);
  }, 300_000);
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  const asStranger = (...command: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(
      'setpriv',
      [
        '--reuid',
        String(UID),
        '--regid',
        String(UID),
        '--clear-groups',
        'env',
        '-i',
        `PATH=${process.env['PATH']}`,
        'HOME=/nonexistent',
        ...command,
      ],
      { cwd: join(place, 'berth'), encoding: 'utf8', timeout: 900_000 },
    );

  test('demo as root runs the container with the helper and leaves nothing', () => {
    const before = leftovers();
    const done = spawnSync('npm', ['run', '--silent', 'demo'], { cwd: checkout, encoding: 'utf8', timeout: 300_000 });
    expect(done.status, done.stdout + done.stderr).toBe(0);
    expect(done.stdout).toMatch(/helper/);
    expect(done.stdout).toMatch(/pid: 1\b/);
    expect(leftovers()).toBe(before);
  }, 320_000);

  test('demo as an unknown uid runs rootless and says so', () => {
    const done = asStranger('npm', 'run', '--silent', 'demo');
    expect(done.status, `${done.stdout}${done.stderr}`).toBe(0);
    expect(done.stdout).toMatch(/rootless/);
    expect(done.stdout).toMatch(/pid: 1\b/);
  }, 320_000);

  test('tests as an unknown uid pass, the launch suite rootless among them', () => {
    const done = asStranger('npm', 'test', '--silent');
    expect(`${done.stdout}`, `${done.stdout}${done.stderr}`.slice(-6000)).toMatch(COUNTS);
    expect(done.status).toBe(0);
    expect(stripVTControlCharacters(`${done.stdout}`)).toMatch(/✓ test\/rootless\/life\.test\.ts/);
  }, 900_000);
});

suite('inside a locked-down container', [needsRoot, tool('dockerd', 'docker.io'), tool('git')], () => {
  let daemon: Daemon;
  let dir = '';
  let place = '';
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'berth-locked-'));
    place = copyFor(0);
    daemon = await startDockerd(dir);
    execFileSync('sh', [
      '-c',
      `mkdir ${dir}/empty && tar -C ${dir}/empty -c . | DOCKER_HOST=${daemon.host} docker import - berth-locked:1`,
    ]);
  }, 300_000);
  afterAll(async () => {
    await daemon?.stop();
    for (const path of [dir, place]) rmSync(path, { recursive: true, force: true });
  }, 60_000);

  const inside = (...command: string[]): ReturnType<typeof spawnSync> => {
    const shared = [
      '/usr',
      '/bin',
      '/sbin',
      '/lib',
      '/lib64',
      '/etc',
      dirname(dirname(execFileSync('sh', ['-c', 'readlink -f "$(command -v npm)"'], { encoding: 'utf8' }).trim())),
    ];
    const binds = [...new Set(shared)]
      .filter((path, _, all) => !all.some((other) => other !== path && path.startsWith(`${other}/`)))
      .flatMap((path) => ['-v', `${path}:${path}:ro`]);
    const args = [
      'run',
      '--rm',
      '--network',
      'none',
      ...binds,
      '--tmpfs',
      '/tmp:exec,mode=1777',
      '-v',
      `${place}:/place`,
      '-w',
      '/place/berth',
      '-e',
      `PATH=${process.env['PATH']}`,
      '-e',
      'HOME=/tmp',
      'berth-locked:1',
      ...command,
    ];
    return spawnSync('docker', args, {
      env: { ...process.env, DOCKER_HOST: daemon.host },
      encoding: 'utf8',
      timeout: 900_000,
    });
  };

  test('demo prints the plan and what to change, and exits 1', () => {
    const done = inside('npm', 'run', '--silent', 'demo');
    expect(done.stdout, `${done.stderr}`).toMatch(/CLONE_NEWUSER/);
    expect(`${done.stdout}${done.stderr}`).toMatch(/user namespace/);
    expect(done.status).toBe(1);
  }, 320_000);

  test('tests pass with the launch suites skipped by name', () => {
    const done = inside('npm', 'test', '--silent');
    const counts = COUNTS.exec(`${done.stdout}`);
    expect(counts, `${done.stdout}${done.stderr}`.slice(-6000)).not.toBeNull();
    expect(Number(counts?.[2])).toBeGreaterThan(0);
  }, 900_000);
});
