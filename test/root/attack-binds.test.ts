// Files of the host that a user gives to his container, against the helper's own protocol: what no policy lets through, by whatever name, mount or race it
// comes; what a descriptor can do to the helper that looks at it; and what a container cannot do with what it was given.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Launch } from '../../proto/gen/berth/helper/v1/plan.ts';
import {
  ADA,
  BOB,
  bindMount,
  compile,
  directoryOf,
  type Lab,
  MOUNTS,
  openLab,
  openOutside,
  place,
} from '../kit/attack.ts';
import { launchOf } from '../kit/helper.ts';
import { root, suite, tool } from '../kit/need.ts';

const AT_ONCE_MS = 4000;

suite('files of the host', [root, tool('gcc')], () => {
  let lab: Lab;
  let layer: string;
  const programs = ['attack-inside', 'attack-outside'].map(compile);
  const [program = '', outsider = ''] = programs.map(({ path }) => path);
  beforeAll(async () => {
    lab = await openLab();
    layer = await lab.layer();
  });
  afterAll(async () => {
    for (const one of programs) one.remove();
    await lab[Symbol.asyncDispose]();
  });

  const bound = (more: Parameters<typeof bindMount>[1] = {}, target = '/x'): Partial<Launch> => ({
    mounts: [...MOUNTS, bindMount(target, more)],
  });
  /** The rules by which ADA's request to bind this descriptor is refused; none where it is allowed. */
  const refusals = async (fd: number, more: Parameters<typeof bindMount>[1] = {}): Promise<string[]> => {
    const value = launchOf([layer], ['/inside', 'uid'], bound(more));
    const { result } = await lab.ada.ask({ $case: 'launch', value }, { fds: [fd], dryRun: true });
    return result.reasons.map(({ rule }) => rule);
  };
  const refusalsOf = async (path: string, more: Parameters<typeof bindMount>[1] = {}): Promise<string[]> => {
    const fd = place(path);
    try {
      return await refusals(fd, more);
    } finally {
      closeSync(fd);
    }
  };

  test.each([
    ['/etc', 'bindDenied'],
    ['/etc/passwd', 'bindDenied'],
    ['/', 'bindDenied'],
    ['/proc', 'bindDenied'],
    ['/proc/self/ns', 'bindDenied'],
    ['/dev', 'bindDenied'],
    ['/dev/null', 'bindDenied'],
    ['/sys/fs/cgroup', 'bindDenied'],
    ['/run', 'bindDenied'],
    ['/root', 'bindOwned'],
    ['/home', 'bindOwned'],
  ])('%s is refused, read-only too: %s', async (path, rule) => {
    for (const more of [{}, { readOnly: true }]) expect(await refusalsOf(path, more)).toContain(rule);
  });

  test("the instance's own directories are refused, and what holds them, and another user's within them", async () => {
    const own = ['', 'run', 'lib', 'lib/helper', 'lib/helper/layers', 'lib/users', 'etc', 'log', 'log/audit'];
    const users = [ADA, BOB].flatMap((uid) => [`run/${uid}`, `lib/users/${uid}`]);
    for (const name of [...own, ...users, 'run/helper.sock', 'run/lane.sock'])
      expect((await refusalsOf(join(lab.helper.directory, name))).length, name).toBeGreaterThan(0);
    expect(await refusalsOf(tmpdir())).toContain('bindDenied');
  });

  test('a link leads to where it leads, under whatever name', async () => {
    const home = directoryOf(lab.helper, ADA, 'links');
    for (const [name, to] of [
      ['etc', '/etc'],
      ['far', '/proc/self/root/etc'],
      ['near', './etc'],
    ] as const) {
      symlinkSync(to, join(home, name));
      expect(await refusalsOf(join(home, name)), name).toContain('bindDenied');
    }
  });

  test('descriptors that are no place are refused: namespaces, pipes, sockets', async () => {
    const child = spawn('sleep', ['20'], { stdio: ['pipe', 'ignore', 'ignore'] });
    const pid = child.pid ?? 0;
    for (const path of [...['net', 'mnt', 'user'].map((name) => `/proc/self/ns/${name}`), `/proc/${pid}/fd/0`])
      expect((await refusalsOf(path, { file: true })).length, path).toBeGreaterThan(0);
    child.kill();
  });

  test('what lies in a mount namespace of his own is refused, and nobody waits for what he has mounted there', async () => {
    const his = await openOutside(lab.helper, outsider);
    try {
      const there = `/proc/${his.pid}/root${his.directory}`;
      const paths = [
        `${there}/merged`,
        there,
        `${there}/fuse`,
        `${there}/merged`,
        `/proc/${his.pid}/root/etc`,
        `/proc/${his.pid}/fd/40/sub`,
      ];
      const fds = paths.map(place);
      await his.silence();
      const late = sleep(AT_ONCE_MS).then(() => 'no answer');
      for (const [i, fd] of fds.entries()) {
        const value = launchOf([layer], ['/inside', 'uid'], bound());
        const asked = lab.ada.ask({ $case: 'launch', value }, { fds: [fd] });
        const answer = await Promise.race([asked.then(({ result }) => result.reasons.map(({ field }) => field)), late]);
        expect(answer, paths[i]).toEqual(['ticket.descriptors[0]']);
        closeSync(fd);
      }
      const bobs = lab.inside(['uid'], { client: lab.bob });
      expect(await Promise.race([bobs, late])).toEqual(['uid=0:0']);
    } finally {
      his.end();
    }
  });

  test('a bind that is read-only stays so, whatever rights the container has, and a device in it does not open', async () => {
    const home = directoryOf(lab.helper, ADA, 'read-only');
    writeFileSync(join(home, 'file'), 'hers');
    chownSync(join(home, 'file'), ADA, ADA);
    execFileSync('mknod', ['-m', '666', join(home, 'null'), 'c', '1', '3']);
    const fd = place(home);
    const words = ['write:/x/file:changed', 'write:/x/new:made', 'remount:/x:rw', 'open:/x/null'];
    const change = bound({ readOnly: true, noDev: true });
    for (const mighty of [false, true]) {
      const answers = await lab.inside([...words, ...words], { change, fds: [fd], mighty });
      const each = ['EROFS', 'EROFS', 'EPERM', 'EACCES'];
      expect(answers.map((line) => line.split('=')[1])).toEqual([...each, ...each]);
    }
    closeSync(fd);
    expect(readFileSync(join(home, 'file'), 'utf8')).toBe('hers');
  });

  test("what a container finds and makes in a user's directory gives nobody a right of somebody else's", async () => {
    const home = directoryOf(lab.helper, ADA, 'made');
    const fd = place(home);
    const files = { root: [0, 0o4755], bob: [BOB, 0o6755], ada: [ADA, 0o755] } as const;
    for (const [name, [uid, mode]] of Object.entries(files)) {
      copyFileSync(program, join(home, name));
      chownSync(join(home, name), uid, uid);
      chmodSync(join(home, name), mode);
    }
    const mighty = { change: bound(), fds: [fd], mighty: true } as const;
    // Set-id files of others are as if they were not, for the container's users and for its root.
    const tries = [
      'execute:/x/root',
      'execute:/x/bob',
      'mode:/x/bob',
      'chown:/x/bob:0',
      'setuid:/x/root',
      'mknod:/x/n:1',
      'trusted:/x/ada',
    ];
    for (const id of [0, 5]) {
      const answers = await lab.inside(tries, { ...mighty, process: { uid: id, gid: id } });
      expect(answers.filter((line) => line.startsWith('uid='))).toEqual([`uid=${id}:${id}`, `uid=${id}:${id}`]);
      const rest = answers.slice(-5).map((line) => line.slice(line.lastIndexOf('=') + 1));
      const node = id === 0 ? 'EPERM' : 'EACCES';
      expect(rest).toEqual(['106755 65534:65534', 'EPERM', 'EOVERFLOW', node, 'EPERM']);
    }
    // A capability that its root gives a file holds in its user namespace alone; of others' ids it makes files of nobody's.
    expect(await lab.inside(['capability:/x/ada', 'link:/etc/shadow:/x/link'], mighty)).toEqual([
      'capability:/x/ada=done',
      'link:/etc/shadow:/x/link=done',
    ]);
    const status = spawnSync(join(home, 'ada'), ['read:/proc/self/status'], {
      uid: BOB,
      gid: BOB,
      encoding: 'utf8',
    }).stdout;
    expect(status).toMatch(/CapPrm:\t0{16} CapEff:\t0{16} /);
    expect(await lab.inside(['chown:/x/ada:7'], mighty)).toEqual(['chown:/x/ada:7=done']);
    expect(statSync(join(home, 'ada')).uid % 65_536).toBe(7);
    closeSync(fd);
  });
});
