// Policy end to end: an administrator's words in files, a user's requests through his engine, the helper's answer, the record of it.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCli } from '../../core/cli/cli.ts';
import { DEFAULT_POLICY_TEXT } from '../../core/cli/policy-default.ts';
import { RESERVED_UID } from '../../core/cli/place.ts';
import { type PrivateEngine, startEngine } from '../kit/engine.ts';
import { busybox, root, suite } from '../kit/need.ts';

suite('policy of a real instance', [root, busybox], () => {
  let engine: PrivateEngine;
  beforeAll(async () => {
    engine = await startEngine();
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
  });

  /** One command of the administrator's. */
  const berth = async (...words: string[]): Promise<string> => {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const session = { env: {}, home: '/nowhere', stdin: process.stdin, stdout, stderr };
    const code = await runCli(
      ['--state-dir', engine.helper.directory, ...words],
      session as unknown as Parameters<typeof runCli>[1],
    );
    return `${code} ${stdout.read() ?? ''}${stderr.read() ?? ''}`;
  };
  const apply = async (change: (text: string) => string): Promise<void> => {
    const file = join(engine.helper.directory, 'p.yaml');
    writeFileSync(file, change(DEFAULT_POLICY_TEXT.replace(/^tests:[\s\S]*/m, '')));
    expect(await berth('policy', 'apply', file)).toMatch(/^0 /);
  };
  type Host = NonNullable<Parameters<PrivateEngine['run']>[1]>['HostConfig'];
  /** What comes of `true` with this HostConfig: its exit code, or the refusal. */
  const tried = async (host: Host = {}): Promise<string> => {
    const name = `policy-${Math.random().toString(36).slice(2)}`;
    try {
      const id = await engine.run(['true'], { name, HostConfig: host ?? {} });
      return `exit ${await engine.ended(id)}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      await engine.client.removeContainer(name, { force: 1 });
    }
  };
  const me = String(RESERVED_UID);

  test('the first request enrolled the engine that sent it', async () => {
    expect(await berth('admin', 'list')).toMatch(new RegExp(`^${me} +${me} +default +[0-9a-f]{16}$`, 'm'));
    expect(await tried()).toBe('exit 0');
  });

  test("/etc, the host's network and the helper's directory are refused, naming rule and field", async () => {
    expect(await tried({ Binds: ['/etc:/x'] })).toMatch(
      /launch\.mounts\[\d+\]\.bind\.descriptor.*\/etc read-write.*rule bindDenied/,
    );
    expect(await tried({ NetworkMode: 'host' })).toMatch(/launch\.namespaces\.unshare.*net.*rule hostNamespaces/);
    expect(await tried({ Binds: [`${engine.helper.directory}:/x`] })).toMatch(/rule bindDenied/);
    expect(await tried({ Privileged: true })).toBe('exit 0');
  });

  test('a bind is judged by where it lies, not by the name that leads there', async () => {
    const link = join(engine.helper.directory, 'lib/users', me, 'link');
    mkdirSync(join(engine.helper.directory, 'data'), { mode: 0o755 });
    symlinkSync('/etc', link);
    expect(await tried({ Binds: [`${link}:/x`] })).toMatch(/\/etc read-write.*rule bindDenied/);
    expect(await tried({ Binds: [`${engine.helper.directory}/data:/x:ro`] })).toBe('exit 0');
  });

  test('a policy that is applied holds at once, and what it asks for can be given', async () => {
    await apply((text) => text.replace('pidsMax: unlimited', 'pidsMax: 50').replace('bindWrite: [/]', 'bindWrite: []'));
    expect(await tried()).toMatch(/launch\.limits\.settings.*at most 50.*rule pidsMax/);
    expect(await tried({ PidsLimit: 50 })).toBe('exit 0');
    expect(await tried({ PidsLimit: 50, Binds: [`${engine.helper.directory}/data:/x:ro`] })).toMatch(/rule bindRead/);
    expect(await tried({ PidsLimit: 51 })).toMatch(/rule pidsMax/);
    await apply((text) => text);
    expect(await tried()).toBe('exit 0');
  });

  test('another profile is used as soon as the principal has no other', async () => {
    await apply((text) => `${text}\n  strict:\n    extends: default\n    capabilities: [CHOWN]\n`);
    const key = /public {2}([0-9a-f]{64})/.exec(await berth('key', 'show', join(engine.state, 'key.pem')))?.[1] ?? '';
    expect(await berth('admin', 'enroll', me, '--key', key, '--profile', 'strict')).toMatch(/^0 .*profiles strict$/m);
    expect(await tried()).toMatch(/launch\.process\.capabilities\.bounding.*rule capabilities/);
    expect(await tried({ CapDrop: ['ALL'], CapAdd: ['CHOWN'] })).toBe('exit 0');
    await berth('admin', 'enroll', me, '--key', key, '--profile', 'default');
    expect(await tried()).toBe('exit 0');
  });

  test('a revoked key is refused at once, and the user cannot come back by himself', async () => {
    expect(await berth('admin', 'revoke', me)).toMatch(/^0 /);
    expect(await tried()).toMatch(/rule key/);
    const key = /public {2}([0-9a-f]{64})/.exec(await berth('key', 'show', join(engine.state, 'key.pem')))?.[1] ?? '';
    await berth('admin', 'enroll', me, '--key', key);
    expect(await tried()).toBe('exit 0');
  });

  test('all of it was recorded, in one whole chain', async () => {
    expect(await berth('audit', '--verify')).toMatch(/^0 .*: \d+ records in 1 files, whole/);
    const log = await berth('audit');
    for (const kind of ['start', 'enrol', 'decision', 'outcome', 'denied'])
      expect(log).toMatch(new RegExp(`^(0 )?\\S+ ${kind}`, 'm'));
  });
});
