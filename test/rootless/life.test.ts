// The life of a container without root: the same programs in a user namespace of the user's own. Run by a user it is that user's; run by root, a
// made-up uid's, so that both kinds of test run prove it.
import { spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busyboxImage, dockerSave20 } from '../kit/image.ts';
import { busybox, suite, tool, userNamespaces } from '../kit/need.ts';

const berth = new URL('../../dist/berth', import.meta.url).pathname;
const isRoot = process.getuid?.() === 0;
const UID = isRoot ? 54322 : (process.getuid?.() ?? 0);

suite('rootless', [userNamespaces, busybox, ...(isRoot ? [tool('setpriv', 'util-linux')] : [])], () => {
  let state = '';
  let own = '';
  const run = (...args: string[]): { code: number | null; out: string; err: string } => {
    const [command, before] = isRoot
      ? ['setpriv', ['--reuid', `${UID}`, '--regid', `${UID}`, '--clear-groups', berth]]
      : [berth, []];
    const env = { PATH: process.env['PATH'], HOME: '/nonexistent', BERTH_STATE_DIR: state };
    const done = spawnSync(command, [...before, ...args], { env, cwd: state, encoding: 'utf8', timeout: 60_000 });
    return { code: done.status, out: done.stdout, err: done.stderr };
  };
  const say = (...args: string[]): string => {
    const { code, out, err } = run(...args);
    expect(code, `berth ${args.join(' ')}: ${err}`).toBe(0);
    return out.trim();
  };

  beforeAll(() => {
    state = mkdtempSync(join(tmpdir(), 'berth-rl-'));
    const archive = join(state, 'image.tar');
    writeFileSync(archive, dockerSave20([{ image: busyboxImage(), tags: ['busybox:1'] }]));
    own = mkdtempSync(join(tmpdir(), 'berth-rl-own-'));
    for (const path of [state, archive, own]) chownSync(path, UID, UID);
    say('system', 'up');
    say('load', '-i', archive);
  });
  afterAll(() => {
    run('system', 'down');
    for (const path of [state, own]) rmSync(path, { recursive: true, force: true });
  });

  test('info says so', () => {
    expect(say('info')).toMatch(/rootless/i);
  });

  test('run prints, with an exit code and a root of its own', () => {
    expect(say('run', '--rm', 'busybox:1', 'id', '-u')).toBe('0');
    expect(say('run', '--rm', 'busybox:1', 'sh', '-c', 'echo $$; cat /proc/self/uid_map').split(/\s+/)).toEqual([
      '1',
      '0',
      '0',
      '1',
    ]);
    expect(run('run', '--rm', 'busybox:1', 'sh', '-c', 'exit 7').code).toBe(7);
    expect(run('run', '--rm', 'busybox:1', 'nope').code).toBe(127);
  });

  test('exec, logs, stop, wait and rm', () => {
    const id = say('run', '-d', '--init', 'busybox:1', 'sh', '-c', 'echo begun; sleep 1000');
    expect(say('exec', id, 'echo', 'inside')).toBe('inside');
    expect(say('logs', id)).toBe('begun');
    say('stop', '-t', '1', id);
    expect(['137', '143']).toContain(say('wait', id));
    say('rm', id);
    expect(say('ps', '-aq')).toBe('');
  });

  test('a bind of the user is writable, and what is made in it is the user’s', () => {
    const id = say(
      'run',
      '--rm',
      '-v',
      `${own}:/mnt`,
      'busybox:1',
      'sh',
      '-c',
      'echo hi >/mnt/made; stat -c %u /mnt/made',
    );
    expect(id).toBe('0');
    expect(readFileSync(join(own, 'made'), 'utf8')).toBe('hi\n');
  });

  test('a limit that cannot be kept is refused by name, not ignored', () => {
    const { code, err } = run('run', '--rm', '-m', '64m', 'busybox:1', 'true');
    if (code !== 0) expect(err).toMatch(/memory/i);
    else expect(say('run', '--rm', '-m', '64m', 'busybox:1', 'cat', '/sys/fs/cgroup/memory.max')).toBe('67108864');
  });

  test('kill -9 of helper and engine: the container goes on, exit code and output are there', () => {
    const id = say(
      'run',
      '-d',
      'busybox:1',
      'sh',
      '-c',
      'i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done; sleep 1; exit 5',
    );
    const status = JSON.parse(say('system', 'status', '--json')) as Record<'helper' | 'engine', { pid: number }>;
    for (const { pid } of [status.engine, status.helper]) process.kill(pid, 'SIGKILL');
    expect(say('wait', id)).toBe('5');
    expect(say('logs', id).split('\n')).toEqual(Array.from({ length: 2000 }, (_, i) => String(i)));
    say('rm', id);
  });
});
