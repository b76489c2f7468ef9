// Root file systems made to lead the helper astray: what it mounts on, enters or executes is a link, a device, or something of the kernel's. Whatever comes
// of such a container, nothing of the host is touched, and a failure is a sentence.
import {
  chmodSync,
  closeSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GeneratedName, type Launch } from '../../proto/gen/berth/helper/v1/plan.ts';
import { ADA, compile, directoryOf, type Lab, MOUNTS, openLab, type Options, own, place } from '../kit/attack.ts';
import { root, suite, tool } from '../kit/need.ts';
import type { TarItem } from '../kit/tar.ts';

type Links = Readonly<Record<string, string>>;

suite('a hostile root file system', [root, tool('gcc')], () => {
  let lab: Lab;
  const program = compile('attack-inside');
  /** A directory of the host that anybody may write to. */
  const host = mkdtempSync(join(tmpdir(), 'berth-canary-'));
  beforeAll(async () => {
    chmodSync(host, 0o777);
    mkdirSync(join(host, 'inside'));
    chmodSync(join(host, 'inside'), 0o777);
    writeFileSync(join(host, 'file'), 'of the host');
    chmodSync(join(host, 'file'), 0o666);
    lab = await openLab();
    const tree = directoryOf(lab.helper, ADA, 'trees');
    copyFileSync(program.path, join(tree, 'inside'));
    own(ADA, join(tree, 'inside'));
  });
  afterAll(async () => {
    await lab[Symbol.asyncDispose]();
    program.remove();
    rmSync(host, { recursive: true });
  });

  const file = (name: GeneratedName, target: string): Launch['mounts'][number] => {
    const source = { $case: 'file', value: { name, content: Buffer.from('generated') } } as const;
    return { source, target, readOnly: false, noSuid: false, noDev: false, noExec: false };
  };
  const mounts = [...MOUNTS, file(GeneratedName.GENERATED_NAME_HOSTS, '/etc/hosts')];
  let made = 0;
  /** What a container of ADA's on a directory with these links (of `dir/x` and nothing: the directory) answers, or the sentence of the failure. */
  const outcome = async (links: Links, words = ['uid'], options: Options = {}): Promise<string> => {
    const tree = directoryOf(lab.helper, ADA, `trees/${made++}`);
    linkSync(join(tree, '../inside'), join(tree, 'inside'));
    for (const [name, to] of Object.entries(links)) {
      const parent = dirname(join(tree, name));
      mkdirSync(parent, { recursive: true });
      own(ADA, parent);
      if (to !== '') symlinkSync(to, join(tree, name));
    }
    const fd = place(tree);
    const source = { $case: 'directory', value: { descriptor: 0 } } as const;
    const change = { mounts, root: { source, readOnly: false }, ...options.change };
    try {
      return (await lab.inside(words, { ...options, change, fds: [fd] })).join(' ');
    } catch (error) {
      expect(String(error)).toMatch(/^Error: (failed|refused): [^\n]+$/);
      return String(error);
    } finally {
      closeSync(fd);
    }
  };
  const expectUntouched = (): void => {
    expect(readdirSync(host).sort()).toEqual(['file', 'inside']);
    expect(readdirSync(join(host, 'inside'))).toEqual([]);
    expect(readFileSync(join(host, 'file'), 'utf8')).toBe('of the host');
    const modes = ['', 'file'].map((name) => statSync(join(host, name)).mode & 0o7777);
    expect(modes).toEqual([0o777, 0o666]);
  };

  test.each(['dev', 'proc', 'sys', 'etc', 'dev/shm', 'dev/pts', 'proc/kcore', 'etc/hosts'])(
    '/%s is a link: out of the root, up, to itself, nowhere, into /proc',
    async (name) => {
      const deep = '../'.repeat(20);
      const far = [host, join(host, 'file'), `${deep}proc/self/root${host}`];
      const near = [name, '/nothing', '/', '/proc', '/proc/self/fd/0', '/proc/1/root', '/dev/null'];
      for (const to of [...far, ...near]) {
        expect(await outcome({ [name]: to }), to).toMatch(
          /^uid=0:0$|(mount|make|execute) \S+: (make the mount point: )?E[A-Z]+/,
        );
        expectUntouched();
      }
    },
  );

  test('masks hold whatever lies at /dev/null and where /proc leads (CVE-2025-31133)', async () => {
    const hidden = { keys: '', timer_list: '', kcore: 'ENOENT' };
    const words = (proc: string): string[] => [
      ...Object.keys(hidden).map((name) => `read:${proc}/${name}`),
      `write:${proc}/sys/kernel/shmmax:1000`,
    ];
    const want = [...Object.values(hidden), 'EROFS'];
    const bare = [...MOUNTS.filter(({ target }) => !target.startsWith('/dev'))];
    for (const [links, where, these] of [
      [{ 'dev/null': '/proc/sys/kernel/core_pattern' }, '/proc', bare],
      [{ 'dev/null': `${host}/file` }, '/proc', bare],
      [{ dev: '/proc/sys/kernel' }, '/proc', bare],
      [{ proc: '/dir', 'dir/x': '' }, '/dir', mounts],
    ] as const) {
      const got = await outcome(links, words(where), { change: { mounts: these } });
      expect(got, JSON.stringify(links)).toBe(
        words(where)
          .map((word, n) => `${word}=${want[n]}`)
          .join(' '),
      );
      expectUntouched();
    }
    expect(readFileSync('/proc/sys/kernel/core_pattern', 'utf8')).not.toBe('');
  });

  test('a working directory that is a magic link is not entered (CVE-2024-21626)', async () => {
    const numbers = Array.from({ length: 24 }, (_, i) => `/proc/self/fd/${i}`);
    for (const cwd of [...numbers, '/proc/self/cwd', '/proc/self/root', '/proc/1/root', '/proc/1/cwd', '/w']) {
      const got = await outcome({ w: '/proc/self/fd/9' }, ['uid', `read:../../../..${host}/file`], {
        process: { cwd },
      });
      expect(got, cwd).toMatch(/(make|enter) the working directory \S+: (ELOOP|ENOTDIR|ENOENT)/);
    }
    const within = await outcome({}, [`read:../../../..${host}/file`], { process: { cwd: '/proc/self/fd' } });
    expect(within).toMatch(/ENOENT$/);
  });

  test("a program that is the launcher's own file, or nobody's, is not executed (CVE-2019-5736)", async () => {
    const links = { exe: '/proc/self/exe', fd: '/proc/self/fd/3' };
    const files = [
      '/proc/self/exe',
      '/proc/1/exe',
      '/proc/self/fd/3',
      '/proc/self/fd/4',
      '/exe',
      '/fd',
      '/dev/null',
      '/',
    ];
    for (const one of files)
      expect(await outcome(links, ['uid'], { process: { executables: [one] } }), one).toMatch(
        /execute \S+: (EACCES|ENOENT)/,
      );
    const container = await lab.stay();
    for (const one of ['/proc/self/exe', '/proc/self/fd/3']) {
      const asked = lab.beside(container.id, ['uid'], { process: { executables: [one] } });
      await expect(asked, one).rejects.toThrow(/execute \S+: (EACCES|ENOENT)/);
    }
    await lab.end(container.id);
    const script: TarItem = { name: 'script', mode: 0o755, content: '#!/proc/self/exe\n' };
    const layers = [await lab.layer([script])];
    const executed = lab.inside(['uid'], { layers, process: { executables: ['/script'] } });
    await expect(executed).rejects.toThrow(/execute \S+: (EACCES|ENOENT|ELOOP)/);
  });

  test("a user is one of the container's or nobody", async () => {
    expect(await outcome({}, ['uid'], { process: { uid: 65_535, gid: 65_535 } })).toBe('uid=65535:65535');
    for (const id of [65_536, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]) {
      expect(await outcome({}, ['uid'], { process: { uid: id } })).toMatch(/become user \d+: EINVAL|process\.uid/);
      expect(await outcome({}, ['uid'], { process: { gid: id } })).toMatch(/become group \d+: EINVAL|process\.gid/);
      expect(await outcome({}, ['uid'], { process: { groups: [id] } })).toMatch(/set groups: EINVAL|process\.groups/);
    }
  });

  test('a device in an image does not open, whatever rights the container has', async () => {
    const nodes: TarItem[] = [
      { name: 'mem', type: '3', mode: 0o666, major: 1, minor: 1 },
      { name: 'disk', type: '4', mode: 0o666, major: 254, minor: 0 },
      { name: 'null', type: '3', mode: 0o666, major: 1, minor: 3 },
    ];
    const layers = [await lab.layer(nodes)];
    const words = ['open:/mem', 'open:/disk', 'open:/null'];
    for (const options of [{}, { mighty: true }]) {
      const answers = await lab.inside([...words, 'remount:/:dev', ...words], { layers, ...options });
      expect(answers.map((line) => line.split('=')[1])).toEqual([
        ...Array(3).fill('EACCES'),
        'EPERM',
        ...Array(3).fill('EACCES'),
      ]);
    }
  });
});
