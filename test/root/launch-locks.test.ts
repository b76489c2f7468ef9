// What a mount does not allow, a container's root that may mount (SYS_ADMIN) cannot allow itself: the kernel has locked the flags of all that came from
// the host. What the container has made itself is its own, and what covers it (masks) it may take away, as in Docker.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CheckedMount } from '../../helper/decode/checked.ts';
import { newUserNamespace } from '../../helper/launch/namespaces.ts';
import { openPath } from '../../helper/sys/files.ts';
import { O_PATH } from '../../proto/abi/fcntl.gen.ts';
import { CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { GeneratedName, KernelFilesystem, Propagation } from '../../proto/gen/berth/helper/v1/plan.ts';
import {
  blockMap,
  type Change,
  DEFAULT_MOUNTS,
  FIRST_ID,
  type Lab,
  NEW_NAMESPACES,
  planOf,
  processOf,
  runToText,
} from '../kit/launcher.ts';
import { busybox, root, suite, unmet } from '../kit/need.ts';

const SYS_ADMIN = 0xa80425fbn | (1n << 21n);
const { PROPAGATION_PRIVATE, PROPAGATION_SLAVE, PROPAGATION_SHARED } = Propagation;
const NONE = { readOnly: false, noSuid: false, noDev: false, noExec: false };
const bind = (target: string, flags = {}, more = {}): CheckedMount => ({
  source: {
    $case: 'bind',
    value: { descriptor: 0, recursive: false, file: false, propagation: PROPAGATION_PRIVATE, ...more },
  },
  target,
  ...NONE,
  ...flags,
});
const QUIET = ',nosuid,nodev,noexec';
/** Says `open` for each place whose mount lets itself be changed by the option. */
const TRY = `try() { mount -o remount,bind,$1 none "$2" 2>/dev/null && echo "open $2"; };`;

let lab: Lab;
let source: string;
let closers: (() => void)[] = [];
beforeAll(async () => {
  if (unmet([root, busybox]) !== undefined) return;
  const { openLab } = await import('../kit/launcher.ts');
  lab = await openLab();
  source = join(lab.directory, 'source');
  mkdirSync(join(source, 'sub'), { recursive: true });
  writeFileSync(join(source, 'file'), 'data\n');
  const idmap = await newUserNamespace(blockMap(FIRST_ID));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=777', 'locks', join(source, 'sub')]);
  const [directory, file] = [openPath(source, O_PATH), openPath(join(source, 'file'), O_PATH)];
  // Owners are mapped where the kernel can; a tree with a tmpfs in it takes no idmap before Linux 6.3.
  binds = new Map([
    [0, { descriptor: directory, idmap }],
    [1, { descriptor: file, idmap }],
  ]);
  closers = [...[idmap, directory, file].map((fd) => () => closeSync(fd))];
});
afterAll(() => {
  for (const close of closers ?? []) close();
  if (source !== undefined) execFileSync('umount', [join(source, 'sub')]);
  lab?.[Symbol.dispose]();
});
let binds: NonNullable<NonNullable<Change['host']>['binds']>;

const run = async (script: string, plan: Parameters<typeof planOf>[0] = {}, host: Change['host'] = {}) => {
  const caps = SYS_ADMIN;
  const capabilities = { bounding: caps, effective: caps, permitted: caps, inheritable: 0n, ambient: 0n };
  const process = processOf(['/bin/sh', '-c', `${TRY} ${script}; echo end`], { capabilities });
  const result = await runToText(lab, planOf({ process, ...plan }), { host: { binds, ...host } });
  if (result.outcome.kind === 'failed') throw new Error(result.outcome.failure.detail);
  return result.output.trim().split('\n');
};

suite('the root of a container that may mount', [root, busybox], () => {
  test.each([
    ['readOnly', 'rw'],
    ['noSuid', 'suid'],
    ['noDev', 'dev'],
    ['noExec', 'exec'],
  ])('cannot take from a bind: %s', async (flag, option) => {
    const files = { descriptor: 1, file: true };
    const mounts = [...DEFAULT_MOUNTS, bind('/dst', { [flag]: true }), bind('/file', { [flag]: true }, files)];
    const script = `for t in /dst /file; do try ${option} $t; done; mkdir /n; mount --bind /dst /n && echo bound; try ${option} /n; mount -t tmpfs x /tmp && try ${option} /tmp; (echo x >/dst/new) 2>&1; rm -f /dst/new`;
    const said = await run(script, { mounts });
    const denied = flag === 'readOnly' ? [expect.stringMatching(/Read-only/)] : [];
    expect(said.filter((line) => !line.startsWith('rm:'))).toEqual(['bound', 'open /tmp', ...denied, 'end']);
  });

  test('cannot take it from what lies in a recursive bind, nor that away, nor anything in a user namespace of its own', async () => {
    const recursive = { recursive: true, propagation: PROPAGATION_SLAVE };
    const mounts = [...DEFAULT_MOUNTS, bind('/dst', { readOnly: true }, recursive)];
    const script =
      'for t in /dst /dst/sub; do try rw $t; done; umount /dst/sub 2>/dev/null && echo gone; mkdir /n; mount --rbind /dst /n; for t in /n /n/sub; do try rw $t; done; touch /n/sub/x /dst/sub/x 2>&1; unshare -Urm sh -c "mount -o remount,bind,rw none /dst" 2>/dev/null && echo open';
    expect(await run(script, { mounts })).toEqual([
      expect.stringMatching(/Read-only/),
      expect.stringMatching(/Read-only/),
      'end',
    ]);
  });

  test('cannot take it from files of the helper, devices and cgroups', async () => {
    const home = lab.home('locks');
    writeFileSync(join(home, 'files/hostname'), 'box\n');
    const groups = ['pids', 'cpu'].filter((name) => existsSync(`/sys/fs/cgroup/${name}`));
    const paths = groups.map((name) => `/sys/fs/cgroup/${name}/berth-locks-${process.pid}`);
    for (const path of paths) mkdirSync(path);
    const opened = [`${home}/`, ...paths.map((path) => `${dirname(path)}/`)].map((path) => lab.open(path));
    try {
      const name = GeneratedName.GENERATED_NAME_HOSTNAME;
      const file = { $case: 'file' as const, value: { name, content: Buffer.from('') } };
      const filesystem = KernelFilesystem.KERNEL_FILESYSTEM_CGROUP;
      const cgroup = { $case: 'kernel' as const, value: { filesystem } };
      const mounts = [
        ...DEFAULT_MOUNTS,
        { ...NONE, source: cgroup, target: '/sys/fs/cgroup', readOnly: true, noSuid: true, noDev: true, noExec: true },
        { ...NONE, source: file, target: '/etc/hostname', readOnly: true },
      ];
      const places = ['/etc/hostname', '/sys/fs/cgroup', ...groups.map((one) => `/sys/fs/cgroup/${one}`)];
      const v1 = {
        kind: 'v1' as const,
        groups: groups.map((one, i) => ({ name: one, parent: opened[i + 1] ?? -1, path: basename(paths[i] ?? '') })),
      };
      expect(
        await run(
          `for t in ${places.slice(1).join(' ')}; do try rw${QUIET} $t; done; try rw /etc/hostname; try rw,exec,dev,suid /dev; for t in ${places.slice(2).join(' ')}; do umount $t 2>/dev/null && echo "gone $t"; done; cat /sys/fs/cgroup/pids/pids.current`,
          { mounts },
          { home: opened[0] ?? -1, cgroups: v1 },
        ),
      ).toEqual([expect.stringMatching(/^\d+$/), 'end']);
    } finally {
      for (const fd of opened) closeSync(fd);
      for (const path of paths) rmdirSync(path);
    }
  });

  test('cannot write to a root that is read-only: an image', async () => {
    const readOnly = { source: { $case: 'image' as const, value: { layers: [] } }, readOnly: true };
    const script =
      'try rw,nodev /; mkdir /tmp/x 2>/dev/null && echo wrote; mount --bind / /etc && try rw,nodev /etc; try dev /';
    expect(await run(script, { root: readOnly })).toEqual(['end']);
  });

  test("cannot write to a root that is read-only: a directory of the user's", async () => {
    const directory = openPath(lab.tree, O_PATH);
    const idmap = await newUserNamespace(blockMap(FIRST_ID));
    const readOnly = { source: { $case: 'directory' as const, value: { descriptor: 0 } }, readOnly: true };
    const place = { kind: 'directory' as const, directory, idmap };
    expect(
      await run('try rw,nodev /; mkdir /tmp/x 2>/dev/null && echo wrote', { root: readOnly }, { root: place }),
    ).toEqual(['end']);
    for (const fd of [directory, idmap]) closeSync(fd);
  });

  test('has masks of its own procfs in its hands, and finds nothing behind them', async () => {
    const said = await run(
      `umount /proc/timer_list && echo away; try rw${QUIET} /proc/sys; (head -c 1 /proc/timer_list) 2>&1; (echo 1 >/proc/sys/kernel/panic) 2>&1`,
    );
    expect(said).toEqual(['away', 'open /proc/sys', ...Array(2).fill(expect.stringMatching(/denied/)), 'end']);
  });

  test('has a shared bind with what the host mounts, and gives the host nothing', async () => {
    const shared = join(lab.directory, 'shared');
    mkdirSync(join(shared, 'a'), { recursive: true });
    mkdirSync(join(shared, 'b'));
    execFileSync('mount', ['--bind', shared, shared]);
    execFileSync('mount', ['--make-shared', shared]);
    const descriptor = openPath(shared, O_PATH);
    try {
      const value = { recursive: true, propagation: PROPAGATION_SHARED };
      const mounts = [...DEFAULT_MOUNTS, bind('/dst', { readOnly: true }, value)];
      const said = await run(
        'try rw /dst; mount -t tmpfs x /dst/a && echo mounted; grep -c "/dst .*shared:.*master:" /proc/self/mountinfo; grep -c "/dst" /proc/self/mountinfo',
        { mounts },
        { binds: new Map([[0, { descriptor, idmap: undefined }]]) },
      );
      expect(said).toEqual(['mounted', '1', '2', 'end']);
      const inHost = execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' });
      expect(inHost.split('\n').filter((line) => line.includes(`${shared}/a`))).toEqual([]);
    } finally {
      closeSync(descriptor);
      execFileSync('umount', [shared]);
    }
  });
});

suite("the root of a container in the host's user namespace", [root, busybox], () => {
  test('may change its mounts with SYS_ADMIN, as in Docker, and leaves those of the host alone', async () => {
    const shared = join(lab.directory, 'both');
    mkdirSync(join(shared, 'sub'), { recursive: true });
    execFileSync('mount', ['--bind', shared, shared]);
    execFileSync('mount', ['--make-shared', shared]);
    execFileSync('mount', ['-t', 'tmpfs', 'both', join(shared, 'sub')]);
    const descriptor = openPath(shared, O_PATH);
    const namespaces = { unshare: BigInt((NEW_NAMESPACES & ~CLONE_NEWUSER) >>> 0), join: [], uidCount: 65536n };
    const held = (): number =>
      execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' }).split(`${shared}/sub `).length - 1;
    try {
      expect(held()).toBe(1);
      const value = { recursive: true, propagation: PROPAGATION_SHARED };
      const mounts = [...DEFAULT_MOUNTS, bind('/dst', { readOnly: true }, value)];
      const own = { binds: new Map([[0, { descriptor, idmap: undefined }]]) };
      expect(await run('try rw /dst; ls /dst', { mounts, namespaces }, own)).toEqual(['open /dst', 'sub', 'end']);
      expect(held()).toBe(1);
    } finally {
      closeSync(descriptor);
      execFileSync('umount', [join(shared, 'sub')]);
      execFileSync('umount', [shared]);
    }
  });
});
