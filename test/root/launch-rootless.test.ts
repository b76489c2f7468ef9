// The launcher without root: the same programs in a user namespace of one id, run by a made-up uid (or, without root, by whoever runs the tests).
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busybox, suite, userNamespaces } from '../kit/need.ts';

const UID = 54_321;
const SCRIPT = new URL('../kit/rootless-launch.ts', import.meta.url).pathname;
type Ended = {
  readonly outcome: { kind: string; failure?: { detail: string } };
  readonly status: number;
  readonly output: string;
};
let results: { plain: Ended; hostNetwork: Ended; hostIpc: string; init: Ended; locks: Ended };

suite('a rootless launch', [userNamespaces, busybox], () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-rootless-'));
  beforeAll(() => {
    const root = process.getuid?.() === 0;
    if (root) chownSync(directory, UID, UID);
    chmodSync(directory, 0o700);
    const drop = root ? ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups'] : [];
    const [command = '', ...args] = [
      ...drop,
      'unshare',
      '--user',
      '--map-root-user',
      '--mount',
      process.execPath,
      SCRIPT,
    ];
    results = JSON.parse(
      execFileSync(command, args, { env: { ...process.env, TMPDIR: directory }, encoding: 'utf8', timeout: 60_000 }),
    );
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test("runs a container of one id with the host's nodes, masks and a filter", () => {
    expect(results.plain.outcome.failure?.detail).toBeUndefined();
    const lines = results.plain.output
      .trim()
      .split('\n')
      .map((line) => line.trim().replace(/\s+/g, ' '));
    expect(lines).toEqual([
      '0',
      '1',
      '0 0 1',
      'x',
      'null',
      'core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 0',
      expect.stringMatching(/Read-only file system/),
      'box',
      'lo',
      '00000000a80425fb',
      '2',
    ]);
  });

  test("shows the host's sysfs, read-only, where the network is the host's", () => {
    expect(results.hostNetwork.outcome.failure?.detail).toBeUndefined();
    expect(results.hostNetwork.output).toMatch(/Read-only|Permission denied/);
  });

  test('says what it cannot show of the host', () => {
    expect(results.hostIpc).toBe('without root it needs a namespace of its own');
  });

  test('lets no root that may mount write to what is read-only', () => {
    expect(results.locks.outcome.failure?.detail).toBeUndefined();
    expect(results.locks.output.trim().split('\n')).toEqual([
      expect.stringMatching(/dst.x: Read-only/),
      expect.stringMatching(/x: Read-only/),
      'mounted',
    ]);
  });

  test('has an init too', () => {
    expect(results.init.status).toBe(3 << 8);
  });
});
