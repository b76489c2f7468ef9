import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../../core/cli/cli.ts';
import { openAudit } from '../../../helper/gate/audit.ts';
import { openGate } from '../../../helper/gate/gate.ts';
import { policyProblem, principalProblem } from '../../../proto/policy/problem.ts';
import { readKeyFile } from '../../../proto/sign/key.ts';
import { INSTANCE, ruleOf, sealed, seen } from '../gate/desk.ts';

let dir: string;
/** A device that no profile gives; where the machine shows none, a node of the test's own (it is not opened). */
const KMSG = existsSync('/dev/kmsg') ? '/dev/kmsg' : join(mkdtempSync(join(tmpdir(), 'berth-kmsg-')), 'kmsg');
if (!existsSync(KMSG)) execFileSync('mknod', [KMSG, 'c', '1', '11']);
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-policy-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

type Said = { code: number; out: string; err: string };
/** One command line of an instance whose state is beneath `dir`. */
async function berth(...words: string[]): Promise<Said> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const session = { env: {}, home: '/nowhere', stdin: process.stdin, stdout, stderr } as unknown as Parameters<
    typeof runCli
  >[1];
  const code = await runCli(['--state-dir', dir, ...words], session);
  return { code, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
}
const put = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const POLICY = `version: 1
selfEnrol: false
selfEnrolProfiles: []
profiles:
  small: {extends: default, memoryBytesMax: 512m, hostNamespaces: ['*']}
  plain: {extends: default, tty: false}
tests:
  - {profile: small, run: [-m, 256m, alpine], allowed: true}
  - {profile: small, run: [alpine], allowed: false, rule: memoryBytesMax}
`;

describe('berth policy', () => {
  test('check names what a file holds', async () => {
    const file = put('p.yaml', POLICY);
    expect(await berth('policy', 'check', file)).toEqual({
      code: 0,
      out: `${file}: good: profiles small, plain, 2 tests\n`,
      err: '',
    });
  });

  test('check says in one line what is wrong where', async () => {
    const file = put('p.yaml', POLICY.replace('tty', 'ttx'));
    expect(await berth('policy', 'check', file)).toEqual({
      code: 1,
      out: '',
      err: `${file}:6: profiles.plain.ttx: unknown key (did you mean tty?)\n`,
    });
    expect(await berth('policy', 'check', '/nope')).toEqual({
      code: 1,
      out: '',
      err: '/nope: no such file or directory\n',
    });
  });

  test('test asks the cases of the file', async () => {
    const good = await berth('policy', 'test', put('p.yaml', POLICY));
    expect([good.code, good.out.match(/^ok/gm)?.length, good.err]).toEqual([0, 2, '']);
    const bad = await berth('policy', 'test', put('p.yaml', POLICY.replace('rule: memoryBytesMax', 'rule: tty')));
    expect([bad.code, bad.out.match(/^FAIL.*/gm)]).toEqual([
      1,
      [expect.stringMatching(/:9: small: run alpine: refused: .*\(rule memoryBytesMax\)$/)],
    ]);
    expect((await berth('policy', 'test', put('p.yaml', POLICY.split('tests:')[0] ?? ''))).err).toMatch(/has no tests/);
  });

  test.each<[string, string[], number, RegExp]>([
    ['a plain run', ['alpine'], 0, /^allowed by profile default\n$/],
    [
      'everything that asks for nothing of the host',
      [
        '--rm',
        '-it',
        '--init',
        '--privileged',
        '--cpus=2',
        '-m',
        '64m',
        '--ulimit',
        'nofile=10',
        '--tmpfs',
        '/t',
        'alpine',
        'sh',
      ],
      0,
      /^allowed/,
    ],
    [
      '/etc',
      ['-v', '/etc:/x', 'alpine'],
      1,
      /launch\.mounts\[\d\]\.bind\.descriptor: asked for \/etc read-write, .*\(rule bindDenied\)\n$/,
    ],
    [
      'a file of /etc',
      ['-v', '/etc/passwd:/x:ro', 'alpine'],
      1,
      /asked for \/etc\/passwd read-only, .*\(rule bindDenied\)\n$/,
    ],
    [
      'something that is not there yet, in /etc',
      ['-v', '/etc/nope/nope:/x', 'alpine'],
      1,
      /asked for \/etc\/nope\/nope read-write, .*\(rule bindDenied\)\n$/,
    ],
    [
      '/proc by --mount',
      ['--mount', 'type=bind,src=/proc,dst=/x', 'alpine'],
      1,
      /\(rule bindDenied\)\n.*\(rule bindKernelFilesystems\)/,
    ],
    ["the host's network", ['--net=host', 'alpine'], 1, /\(rule hostNamespaces\)\n$/],
    ["the host's users", ['--userns=host', 'alpine'], 1, /asked for user, .*\(rule hostNamespaces\)\n/],
    ['a device', ['--device', `${KMSG}:/dev/kmsg`, 'alpine'], 1, /asked for c 1:11, .*\(rule devices\)\n$/],
    ["another container's network", ['--net=container:x', 'alpine'], 0, /^allowed/],
    [
      'realtime priority',
      ['--ulimit', 'rtprio=5', 'alpine'],
      1,
      /asked for rtprio 5, allowed is at most 0 \(rule rlimits\)/,
    ],
    ['to be killed last', ['--oom-score-adj', '-500', 'alpine'], 1, /\(rule oomScoreAdjMin\)/],
  ])('can: %s', async (_name, words, code, text) => {
    const said = await berth('policy', 'can', '--', 'run', ...words);
    expect(said).toMatchObject({ code, err: '' });
    expect(said.out).toMatch(text);
  });

  test('can follows links and sees the instance itself', async () => {
    symlinkSync('/etc', join(dir, 'link'));
    mkdirSync(join(dir, 'data'));
    expect((await berth('policy', 'can', 'run', '-v', `${dir}/link:/x`, 'alpine')).out).toMatch(
      /asked for \/etc read-write/,
    );
    expect((await berth('policy', 'can', 'run', '-v', `${dir}/data:/x`, 'alpine')).code).toBe(0);
    expect((await berth('policy', 'can', 'run', '-v', `${dir}:/x`, 'alpine')).out).toMatch(/\(rule bindDenied\)/);
    expect((await berth('policy', 'can', 'run', '--rootfs', `${dir}/data`, 'sh')).code).toBe(0);
    expect((await berth('policy', 'can', 'run', '--rootfs', '/etc', 'sh')).out).toMatch(
      /launch\.root\.directory\.descriptor/,
    );
  });

  // A minimal container has no such directory, and what is not there is nobody's.
  test.skipIf(!existsSync('/root'))('can sees whose home it is (needs /root)', async () => {
    expect((await berth('policy', 'can', '--uid', '4242', '--', 'run', '-v', '/root:/x', 'alpine')).out).toMatch(
      /\(rule bindOwned\)/,
    );
  });

  test('can asks a profile of a file, and says which there are', async () => {
    const file = put('p.yaml', POLICY);
    expect((await berth('policy', 'can', '--file', file, '--profile', 'small', '--', 'run', 'alpine')).out).toMatch(
      /asked for no limit, allowed is at most 536870912 \(rule memoryBytesMax\)/,
    );
    expect(
      (await berth('policy', 'can', '--file', file, '--profile', 'plain', '--', 'run', '-t', 'alpine')).out,
    ).toMatch(/\(rule tty\)/);
    expect(await berth('policy', 'can', '--file', file, '--', 'run', 'alpine')).toMatchObject({
      code: 1,
      err: 'no profile default: there are small, plain\n',
    });
    expect((await berth('policy', 'can', '--', 'stop', 'x')).code).toBe(125);
    expect((await berth('policy', 'can', '--', 'run')).err).toMatch(/which image/);
    expect((await berth('policy', 'can', '--', 'run', '--nope', 'x')).err).toMatch(/unknown flag: --nope/);
  });

  test('apply compiles a file to what the helper reads, show prints it, a failed test changes nothing', async () => {
    const file = put('p.yaml', POLICY);
    expect(await berth('policy', 'apply', file)).toMatchObject({ code: 0, err: '' });
    const text = readFileSync(join(dir, 'etc/policy.json'), 'utf8');
    expect(policyProblem(JSON.parse(text))).toBeUndefined();
    expect(statSync(join(dir, 'etc/policy.json')).mode & 0o777).toBe(0o644);
    expect((await berth('policy', 'show')).out).toMatch(/^ {2}small:\n(.*\n)* {4}memoryBytesMax: 536870912\n/m);
    expect((await berth('policy', 'show', 'small', 'plain')).out).toMatch(
      /hostNamespaces: \[time\]\n(.*\n)*tty: false\n/,
    );
    expect(JSON.parse((await berth('policy', 'show', '--json')).out).profiles.plain.tty).toBe(false);
    const failing = put('q.yaml', POLICY.replace('rule: memoryBytesMax', 'rule: tty'));
    expect(await berth('policy', 'apply', failing)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/nothing was changed\n$/),
    });
    expect(readFileSync(join(dir, 'etc/policy.json'), 'utf8')).toBe(text);
  });

  test('show refuses a compiled file that somebody edited', async () => {
    await berth('policy', 'apply', put('p.yaml', POLICY));
    writeFileSync(
      join(dir, 'etc/policy.json'),
      readFileSync(join(dir, 'etc/policy.json'), 'utf8').replace('"tty":false', '"tty": true'),
    );
    expect((await berth('policy', 'show')).err).toMatch(/policy\.json: was edited by hand/);
  });
});

describe('berth key, admin', () => {
  test("a new key is its owner's alone, is enrolled, and the gate takes what it signs until it is revoked", async () => {
    const path = join(dir, 'k.pem');
    const made = await berth('key', 'new', path);
    expect(made.out).toMatch(/^file {4}.*\nkey id {2}[0-9a-f]{16}\npublic {2}[0-9a-f]{64}\n$/);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect((await berth('key', 'new', path)).err).toMatch(/is there already/);
    expect((await berth('key', 'show', path)).out).toBe(made.out);
    await berth(
      'policy',
      'apply',
      put(
        'p.yaml',
        POLICY.replace('small:', 'default:')
          .replaceAll('profile: small', 'profile: default')
          .replace('memoryBytesMax: 512m, ', '')
          .replace(/^tests(.|\n)*/m, ''),
      ),
    );
    const key = readKeyFile(readFileSync(path, 'utf8'));
    if (key === undefined) throw new Error('no key');
    const gate = openGate({
      directory: join(dir, 'etc'),
      audit: { directory: join(dir, 'log/audit') },
      instance: INSTANCE,
      nowMs: () => 0,
      look: () => ({ kind: 'seen', seen: seen() }),
    });
    const ask = (): string => ruleOf(gate.judge(sealed(key), { uid: 1000, pid: 1 }));
    expect(ask()).toBe('unknown:connect');
    const id = /key id {2}(\w+)/.exec(made.out)?.[1] ?? '';
    expect((await berth('admin', 'enroll', 'alice', '--uid', '1000', '--key', path)).out).toBe(
      `alice: uid 1000, key ${id}, profiles default\n`,
    );
    expect(principalProblem(JSON.parse(readFileSync(join(dir, 'etc/principals/alice.json'), 'utf8')))).toBeUndefined();
    expect(ask()).toBe('granted');
    expect((await berth('admin', 'list')).out).toBe(
      `NAME    UID    PROFILES   KEYS\nalice   1000   default    ${id}\n`,
    );
    expect((await berth('admin', 'revoke', 'alice', id)).out).toBe(`alice: revoked ${id}\n`);
    expect(ask()).toBe('unknown:key');
    gate.close();
    expect((await berth('audit', '--verify')).out).toMatch(
      /: \d+ records in 1 files, whole; the last is [0-9a-f]{64}\n$/,
    );
  });

  test.each<[string, string[], RegExp]>([
    ['a name that is none', ['a/b', '--uid', '1', '--key', 'ab'.repeat(32)], /is no name of a principal/],
    ['no uid', ['bob', '--key', 'ab'.repeat(32)], /--uid must be/],
    ['no key', ['bob', '--uid', '1'], /--key must be/],
    ['a file that is none', ['bob', '--uid', '1', '--key', '/nope'], /\/nope: no such file/],
    ['a file without a key', ['bob', '--uid', '1', '--key', '/etc/hostname'], /holds no Ed25519 key/],
    [
      'a profile that is none',
      ['bob', '--uid', '1', '--key', 'ab'.repeat(32), '--profile', 'x'],
      /no profile x: there are default/,
    ],
    [
      'a time that is none',
      ['bob', '--uid', '1', '--key', 'ab'.repeat(32), '--not-after', 'soon'],
      /notAfter: must be a time such as/,
    ],
  ])('enroll refuses %s in one line and writes nothing', async (_name, words, text) => {
    const said = await berth('admin', 'enroll', ...words);
    expect(said.code).toBe(1);
    expect(said.err).toMatch(text);
    expect(said.err.split('\n').length).toBe(2);
    expect((await berth('admin', 'list', '--json')).out).toBe('{}\n');
  });

  test('one key belongs to one uid, one principal to one', async () => {
    const key = 'ab'.repeat(32);
    await berth('admin', 'enroll', 'alice', '--uid', '1000', '--key', key);
    expect((await berth('admin', 'enroll', 'bob', '--uid', '1001', '--key', key)).err).toMatch(
      /that key is of principal alice \(uid 1000\)/,
    );
    expect((await berth('admin', 'enroll', 'alice', '--uid', '1001', '--key', key)).err).toMatch(
      /this principal is uid 1000/,
    );
    await berth('admin', 'enroll', 'alice', '--key', 'cd'.repeat(32), '--not-after', '2030-12-31T00:00:00Z');
    expect((await berth('admin', 'list')).out).toMatch(/ until 2030-12-31T00:00:00Z\n$/);
    expect((await berth('admin', 'revoke', 'alice', '0'.repeat(16))).err).toMatch(/has no key/);
    expect((await berth('admin', 'revoke', 'nobody')).err).toMatch(/no principal nobody/);
    expect((await berth('admin', 'revoke', '--forget', 'alice')).out).toBe('alice: forgotten\n');
    expect((await berth('admin', 'list', '--json')).out).toBe('{}\n');
  });
});

describe('berth audit', () => {
  test('prints records, finds one by its hash, tells where the chain breaks', async () => {
    const log = join(dir, 'log/audit');
    const audit = openAudit({ directory: log });
    const entries = [
      { kind: 'start', time: '2026-01-01T00:00:00.000Z' },
      {
        kind: 'decision',
        time: '2026-01-01T00:00:01.000Z',
        uid: 1000,
        principal: 'alice',
        profile: 'default',
        verb: 'launch',
      },
      {
        kind: 'denied',
        time: '2026-01-01T00:00:02.000Z',
        uid: 1001,
        reasons: ['x: no'],
        since: { denied: 3, unrecorded: 0 },
      },
    ];
    const [, hash] = entries.map((entry) => audit.append(entry).toString('hex'));
    expect((await berth('audit')).out).toBe(
      '2026-01-01T00:00:00.000Z start\n2026-01-01T00:00:01.000Z decision uid 1000 alice/default launch\n2026-01-01T00:00:02.000Z denied uid 1001: x: no (since the record before: {"denied":3,"unrecorded":0})\n',
    );
    expect(JSON.parse((await berth('audit', '--find', hash ?? '')).out)).toMatchObject({ verb: 'launch' });
    expect((await berth('audit', '--find', '0'.repeat(64))).code).toBe(1);
    expect((await berth('audit', '--verify')).code).toBe(0);
    const file = join(log, '00000001.jsonl');
    writeFileSync(file, readFileSync(file, 'utf8').replace('alice', 'bobby'));
    expect(await berth('audit', '--verify')).toMatchObject({
      code: 1,
      err: expect.stringMatching(
        /00000001\.jsonl:3: follows .*: the chain is broken there; the 2 records before it are whole\n$/,
      ),
    });
    expect((await berth('audit', '--directory', '/nope')).err).toBe('/nope: no such file or directory\n');
  });
});
