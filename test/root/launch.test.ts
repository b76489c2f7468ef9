// Containers made by the launcher alone, seen from inside and from the host: what a plan says is what the kernel has done.
import {
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CheckedMount } from '../../helper/decode/checked.ts';
import { newUserNamespace } from '../../helper/launch/namespaces.ts';
import { runProgram } from '../../helper/launch/run.ts';
import { cloneProcess } from '../../helper/lower/namespaces.ts';
import { createProgram, u64 } from '../../helper/lower/program.ts';
import { pipe2 } from '../../helper/sys/descriptors.ts';
import { openPath } from '../../helper/sys/files.ts';
import { pidfdSendSignal } from '../../helper/sys/processes.ts';
import { receiveDescriptors, socketpair } from '../../helper/sys/sockets.ts';
import { O_PATH } from '../../proto/abi/fcntl.gen.ts';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../../proto/abi/sched.gen.ts';
import { SYS_nanosleep } from '../../proto/abi/unistd.gen.ts';
import {
  GeneratedName,
  KernelFilesystem,
  Propagation,
  Resource,
  Seccomp,
} from '../../proto/gen/berth/helper/v1/plan.ts';
import {
  ALL_CAPABILITIES,
  blockMap,
  capture,
  type Change,
  DEFAULT_MOUNTS,
  DOCKER_CAPABILITIES,
  ended,
  exec,
  FIRST_ID,
  type Lab,
  launch,
  NEW_NAMESPACES,
  nullDevice,
  openLab,
  planOf,
  processOf,
  runToText,
} from '../kit/launcher.ts';
import { busybox, root, suite, unmet } from '../kit/need.ts';

let lab: Lab;
beforeAll(async () => {
  if (unmet([root, busybox]) === undefined) lab = await openLab();
});
afterAll(() => lab?.[Symbol.dispose]());

const sh = (script: string, change = {}) => ({ process: processOf(['/bin/sh', '-c', script], change) });
const run = async (script: string, plan = {}, change: Change = {}) => {
  const result = await runToText(lab, planOf({ ...sh(script), ...plan }), change);
  if (result.outcome.kind === 'failed') throw new Error(result.outcome.failure.detail);
  return { lines: result.output.trim().split('\n'), status: result.status };
};
const without = (bits: number) => ({ unshare: BigInt((NEW_NAMESPACES & ~bits) >>> 0), join: [], uidCount: 65536n });
const bind = (descriptor: number, target: string, more = {}): CheckedMount => ({
  source: {
    $case: 'bind',
    value: { descriptor, recursive: false, file: false, propagation: Propagation.PROPAGATION_PRIVATE, ...more },
  },
  target,
  readOnly: false,
  noSuid: true,
  noDev: true,
  noExec: false,
});

const CGROUP: CheckedMount = {
  source: { $case: 'kernel', value: { filesystem: KernelFilesystem.KERNEL_FILESYSTEM_CGROUP } },
  target: '/sys/fs/cgroup',
  readOnly: true,
  noSuid: true,
  noDev: true,
  noExec: true,
};

suite('a container', [root, busybox], () => {
  test("has its own of everything, Docker's capabilities and a filter, and none of the launcher", async () => {
    const { lines } = await run(
      'id; hostname; echo $$; pwd; cat /proc/self/uid_map; grep -E "^(CapEff|CapBnd|CapInh|NoNewPrivs|Seccomp|SigIgn|SigBlk|Umask):" /proc/self/status; readlink /proc/1/exe; ls /proc/self/fd; cat /sys/class/net/lo/operstate; ls /sys/class/net',
    );
    expect(lines.map((line) => line.trim().replace(/\s+/g, ' '))).toEqual([
      'uid=0(root) gid=0',
      'box',
      '1',
      '/',
      `0 ${FIRST_ID} 65536`,
      'Umask: 0022',
      'SigBlk: 0000000000000000',
      'SigIgn: 0000000000000000',
      'CapInh: 0000000000000000',
      'CapEff: 00000000a80425fb',
      'CapBnd: 00000000a80425fb',
      'NoNewPrivs: 0',
      'Seccomp: 2',
      '/bin/busybox',
      '0',
      '1',
      '2',
      '3',
      'unknown',
      'lo',
    ]);
  });

  test('writes to its own layer only', async () => {
    const plan = planOf(
      sh(
        'echo hi >/etc/new; rm /etc/hosts; mkdir /a; chown 33 /a; stat -c "%u %a" /etc/new /a /bin/busybox; cat /proc/1/mountinfo | grep -c " / / "',
      ),
    );
    const { output } = await runToText(lab, plan);
    expect(output.trim().split('\n')).toEqual(['0 644', '33 755', '0 755', '1']);
    expect(readFileSync(join(lab.tree, 'etc/hosts'), 'utf8')).toContain('localhost');
  });

  test('finds nothing of the host in its mounts', async () => {
    const { lines } = await run('cut -d" " -f5,9- /proc/self/mountinfo | sed "s/,.*//" | sort', {});
    expect(lines.map((line) => line.split(' ')[0])).toEqual(
      expect.arrayContaining(
        ['/', '/dev', '/dev/mqueue', '/dev/pts', '/dev/shm', '/proc', '/sys', '/proc/kcore'].filter(
          (path) => path !== '/proc/kcore',
        ),
      ),
    );
    expect(lines.join('\n')).not.toMatch(/ext4|overlayfs|9p/);
    const up = await run('ls -a /..; ls /root; cat /proc/1/root/etc/hosts');
    expect(up.lines).toContain('127.0.0.1 localhost');
  });

  test('cannot get at what is masked or read-only', async () => {
    const { lines } = await run(
      'cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware /proc/acpi | grep -vc ":"; for f in /proc/sys/kernel/hostname /proc/irq/default_smp_affinity /sys/kernel/mm/ksm/run; do (echo 0 >$f) 2>&1; done; mount -o remount,rw /proc/sys 2>&1; umount /proc/keys 2>&1; mknod /tmp/n c 1 3 2>&1; unshare -U true 2>&1',
    );
    expect(lines[0]).toBe('0');
    expect(lines.slice(2).filter((line) => /Read-only|denied|not permitted|are you root/.test(line))).toHaveLength(7);
  });

  test('is a user with groups, a directory, limits and a mask, without new privileges', async () => {
    const process = processOf(
      [
        'sh',
        '-c',
        'id; pwd; umask; ulimit -n; ulimit -Hn; ulimit -c; grep -E "^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; echo $HOME',
      ],
      {
        uid: 1000,
        gid: 1000,
        groups: [10, 20],
        cwd: '/home/user',
        umask: 0o77,
        noNewPrivileges: true,
        rlimits: [
          { resource: Resource.RESOURCE_NOFILE, soft: 100n, hard: 200n },
          { resource: Resource.RESOURCE_CORE, soft: 0n, hard: 0n },
        ],
      },
    );
    const { output, status } = await runToText(lab, planOf({ process }));
    expect(
      output
        .trim()
        .split('\n')
        .map((line) => line.replace(/\s+/g, ' ')),
    ).toEqual([
      'uid=1000(user) gid=1000 groups=10,20',
      '/home/user',
      '0077',
      '100',
      '200',
      '0',
      'CapPrm: 0000000000000000',
      'CapEff: 0000000000000000',
      'CapBnd: 00000000a80425fb',
      'NoNewPrivs: 1',
      'Seccomp: 2',
      '/root',
    ]);
    expect(status).toBe(0);
  });

  test('is filtered also as a user who may get new privileges', async () => {
    const process = processOf(['sh', '-c', 'grep -E "^(CapEff|CapPrm|CapAmb|Seccomp):" /proc/self/status'], {
      uid: 1000,
    });
    const { output } = await runToText(lab, planOf({ process }));
    expect(output.replace(/\s+/g, ' ').trim()).toBe(
      'CapPrm: 0000000000000000 CapEff: 0000000000000000 CapAmb: 0000000000000000 Seccomp: 2',
    );
  });

  test('gives a user ambient capabilities', async () => {
    const net = 1n << 10n;
    const capabilities = {
      bounding: DOCKER_CAPABILITIES,
      effective: net,
      permitted: net,
      inheritable: net,
      ambient: net,
    };
    const process = processOf(['sh', '-c', 'grep -E "^Cap(Inh|Prm|Eff|Amb):" /proc/self/status | cut -f2'], {
      uid: 1000,
      capabilities,
    });
    const { output } = await runToText(lab, planOf({ process }));
    expect(output.trim().split('\n')).toEqual(Array(4).fill('0000000000000400'));
  });

  test('with all capabilities and no filter is root of its user namespace and no more', async () => {
    const capabilities = {
      bounding: ALL_CAPABILITIES,
      effective: ALL_CAPABILITIES,
      permitted: ALL_CAPABILITIES,
      inheritable: 0n,
      ambient: 0n,
    };
    const hardening = { seccomp: Seccomp.SECCOMP_UNCONFINED, maskedPaths: [], readOnlyPaths: [], sysctls: [] };
    const { lines } = await run(
      'grep -E "^(CapEff|Seccomp):" /proc/self/status; mount -t tmpfs x /tmp && echo mounted; mknod /tmp/n c 1 3 2>&1; echo 1 2>&1 >/proc/sys/kernel/panic; ls /dev',
      {
        ...sh('', {}),
        hardening,
        process: processOf(
          [
            '/bin/sh',
            '-c',
            'grep -E "^(CapEff|Seccomp):" /proc/self/status; mount -t tmpfs x /tmp && echo mounted; mknod /tmp/n c 1 3 2>&1; (echo 1 >/proc/sys/kernel/panic) 2>&1',
          ],
          { capabilities },
        ),
      },
    );
    expect(lines.map((line) => line.replace(/\s+/g, ' '))).toEqual([
      'CapEff: 000001ffffffffff',
      'Seccomp: 0',
      'mounted',
      'mknod: /tmp/n: Operation not permitted',
      expect.stringMatching(/Permission denied/),
    ]);
  });

  test('with a read-only root has its mount points made all the same', async () => {
    const plan = planOf({
      ...sh('touch /x 2>&1; cat /etc/hostname; touch /new/y && ls /new'),
      root: { source: { $case: 'image', value: { layers: [] } }, readOnly: true },
      mounts: [
        ...DEFAULT_MOUNTS,
        {
          source: { $case: 'tmpfs', value: { sizeBytes: 0n, mode: 0o755, uid: 0, gid: 0 } },
          target: '/new',
          readOnly: false,
          noSuid: true,
          noDev: true,
          noExec: true,
        },
        {
          source: { $case: 'file', value: { name: GeneratedName.GENERATED_NAME_HOSTNAME, content: Buffer.from('') } },
          target: '/etc/hostname',
          readOnly: false,
          noSuid: false,
          noDev: false,
          noExec: false,
        },
      ],
    });
    const home = lab.home('files');
    writeFileSync(join(home, 'files/hostname'), 'box\n');
    const descriptor = lab.open(`${home}/`);
    const { output, outcome } = await runToText(lab, plan, { host: { home: descriptor } });
    closeSync(descriptor);
    expect(outcome.kind === 'failed' && outcome.failure).toBe(false);
    expect(output.trim().split('\n')).toEqual(['touch: /x: Read-only file system', 'box', 'y']);
  });

  test("sees binds as its own user's, read-only where the plan says so, whatever the target is", async () => {
    const source = join(lab.directory, 'source');
    mkdirSync(source);
    writeFileSync(join(source, 'mine'), 'data\n');
    chownSync(source, 1234, 1234);
    chownSync(join(source, 'mine'), 1234, 1234);
    const idmap = await newUserNamespace({
      uids: [{ inside: 1234, outside: FIRST_ID, count: 1 }],
      gids: [{ inside: 1234, outside: FIRST_ID, count: 1 }],
    });
    const [directory, file] = [openPath(source, O_PATH), openPath(join(source, 'mine'), O_PATH)];
    const { output } = await runToText(
      lab,
      planOf({
        ...sh(
          'stat -c "%u:%g" /deep/er/dir /deep/er/dir/mine /a/file; echo x >/deep/er/dir/new && echo y >>/a/file; touch /ro/z 2>&1; cat /a/file',
        ),
        mounts: [
          ...DEFAULT_MOUNTS,
          bind(0, '/deep/er/dir'),
          bind(1, '/a/file', { file: true }),
          { ...bind(0, '/ro'), readOnly: true },
        ],
      }),
      {
        host: {
          binds: new Map([
            [0, { descriptor: directory, idmap }],
            [1, { descriptor: file, idmap }],
          ]),
        },
      },
    );
    expect(output.trim().split('\n')).toEqual([
      '0:0',
      '0:0',
      '0:0',
      'touch: /ro/z: Read-only file system',
      'data',
      'y',
    ]);
    expect(statSync(join(source, 'new')).uid).toBe(1234);
    for (const fd of [idmap, directory, file]) closeSync(fd);
  });

  test("runs from a directory of the user's own", async () => {
    const idmap = await newUserNamespace(blockMap(FIRST_ID));
    const directory = openPath(lab.tree, O_PATH);
    const { lines } = await run(
      'stat -c %u /bin/busybox; echo x >/bin/new 2>/dev/null && echo wrote; rm -f /bin/new',
      { root: { source: { $case: 'directory', value: { descriptor: 0 } }, readOnly: false } },
      {
        host: { root: { kind: 'directory', directory, idmap } },
      },
    );
    expect(lines).toEqual(['0', 'wrote']);
    closeSync(idmap);
    closeSync(directory);
  });

  test("has the host's namespaces where the plan makes none", async () => {
    const { lines } = await run(
      'readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts; ls /proc 2>/dev/null | grep -c "^[0-9]"; ls /sys/class/net | wc -l',
      {
        namespaces: without(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWCGROUP),
        hostname: '',
      },
    );
    expect(lines.slice(0, 3)).toEqual(['net', 'ipc', 'uts'].map((name) => readlinkSync(`/proc/self/ns/${name}`)));
    expect(Number(lines[3])).toBeGreaterThan(5);
  });

  test("without a user namespace is the host's root with fewer capabilities", async () => {
    const { lines } = await run(
      'cat /proc/self/uid_map; grep CapEff /proc/self/status; mknod /tmp/n c 1 3 && echo made; stat -c %u /bin/busybox',
      { namespaces: without(CLONE_NEWUSER) },
    );
    expect(lines.map((line) => line.trim().replace(/\s+/g, ' '))).toEqual([
      '0 0 4294967295',
      'CapEff: 00000000a80425fb',
      'made',
      '0',
    ]);
  });

  test('has a time namespace of its own, hostname and sysctls of its own', async () => {
    const { lines } = await run(
      'readlink /proc/self/ns/time; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; cat /proc/sys/kernel/domainname',
      {
        namespaces: { ...without(0), unshare: BigInt((NEW_NAMESPACES | CLONE_NEWTIME) >>> 0) },
        hardening: {
          ...planOf().hardening,
          sysctls: [
            { name: 'net.ipv4.ip_forward', value: '1' },
            { name: 'kernel.msgmax', value: '4096' },
            { name: 'kernel.domainname', value: 'example.org' },
          ],
        },
      },
    );
    expect(lines[0]).not.toBe(readlinkSync('/proc/self/ns/time'));
    expect(lines.slice(1)).toEqual(['1', '4096', 'example.org']);
  });

  test('has the score the plan says, and the helper keeps its own', async () => {
    const before = readFileSync('/proc/self/oom_score_adj', 'utf8');
    const { lines } = await run('', sh('cat /proc/self/oom_score_adj', { oomScoreAdj: 500 }));
    expect(lines).toEqual(['500']);
    expect(readFileSync('/proc/self/oom_score_adj', 'utf8')).toBe(before);
  });

  test('is in its cgroups from the start and sees them read-only', async () => {
    const names = ['pids', 'cpu'].filter((name) => statSync(`/sys/fs/cgroup/${name}`, { throwIfNoEntry: false }));
    if (names.length === 0) return;
    const paths = names.map((name) => `/sys/fs/cgroup/${name}/berth-test-${process.pid}`);
    for (const path of paths) mkdirSync(path);
    const groups = names.map((name) => ({
      name,
      parent: lab.open(`/sys/fs/cgroup/${name}/`),
      path: `berth-test-${process.pid}`,
    }));
    try {
      const { lines } = await run(
        'cat /proc/self/cgroup | grep -E ":(pids|cpu):"; ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids/pids.current; (echo 1 >/sys/fs/cgroup/pids/pids.max) 2>&1; touch /sys/fs/cgroup/x 2>&1',
        {
          mounts: [...DEFAULT_MOUNTS, CGROUP],
        },
        { host: { cgroups: { kind: 'v1', groups } } },
      );
      expect(lines.filter((line) => /:(pids|cpu):\/$/.test(line))).toHaveLength(2);
      expect(lines).toEqual(
        expect.arrayContaining([
          'cpu',
          'pids',
          expect.stringMatching(/pids.max: Read-only/),
          expect.stringMatching(/x: Read-only/),
        ]),
      );
    } finally {
      for (const { parent } of groups) closeSync(parent);
      for (const path of paths) rmdirSync(path);
    }
  });

  test('starts in a cgroup of version 2', async () => {
    const parent = '/sys/fs/cgroup/unified';
    if (!statSync(parent, { throwIfNoEntry: false })) return;
    const path = `${parent}/berth-test-${process.pid}`;
    mkdirSync(path);
    const directory = lab.open(`${path}/`);
    const cgroups = { kind: 'v2' as const, directory };
    const { lines } = await run(
      'cat /sys/fs/cgroup/cgroup.procs; (mkdir /sys/fs/cgroup/x) 2>&1; cut -d" " -f4,5 /proc/self/mountinfo | grep cgroup',
      { mounts: [...DEFAULT_MOUNTS, CGROUP] },
      { host: { cgroups } },
    );
    // A process of no pid that is seen here is the first one of the launch, on its way out.
    expect(lines.filter((line) => line !== '0')).toEqual([
      '1',
      expect.stringMatching(/^\d+$/),
      expect.stringMatching(/Read-only/),
      '/ /sys/fs/cgroup',
    ]);
    const { outcome } = await launch(lab, planOf({ run: ['/bin/sleep', '60'] }), { host: { cgroups } });
    if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
    expect(readFileSync(`${path}/cgroup.procs`, 'utf8').trim()).toBe(String(outcome.pid));
    pidfdSendSignal(outcome.pidfd, 9);
    expect(await ended(outcome.pidfd)).toBe(9);
    closeSync(directory);
    for (let i = 0; i < 100; i++) {
      try {
        rmdirSync(path);
        break;
      } catch {
        await sleep(10);
      }
    }
  });

  test('belongs to its user namespace in all its namespaces, and the first process is gone', async () => {
    const { outcome, userNamespace } = await launch(lab, planOf({ run: ['/bin/sleep', '60'] }), { keepUsers: true });
    if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
    const status = readFileSync(`/proc/${outcome.pid}/status`, 'utf8');
    expect(status).toMatch(new RegExp(`^PPid:\\s${process.pid}$`, 'm'));
    expect(status).toMatch(new RegExp(`^Uid:\\s${FIRST_ID}\\s`, 'm'));
    expect(readlinkSync(`/proc/${outcome.pid}/ns/user`)).toBe(readlinkSync(`/proc/self/fd/${userNamespace}`));
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ');
    expect(children.filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').includes('memfd'))).toEqual([]);
    pidfdSendSignal(outcome.pidfd, 15);
    await sleep(50);
    pidfdSendSignal(outcome.pidfd, 9); // PID 1 without a handler ignores SIGTERM
    expect(await ended(outcome.pidfd)).toBe(9);
    if (userNamespace !== undefined) closeSync(userNamespace);
  });
});

suite('a launch that cannot be', [root, busybox], () => {
  const failure = async (plan: Parameters<typeof planOf>[0], change: Change = {}) => {
    const { outcome } = await runToText(lab, planOf(plan), change);
    return outcome.kind === 'failed' ? `${outcome.failure.detail} (${outcome.failure.call})` : 'it runs';
  };
  test.each([
    ['a missing program', { run: ['/bin/nope'] }, 'execute /bin/nope: ENOENT (execve)'],
    ['a program in no directory of the path', { run: ['nope'] }, 'execute /usr/bin/nope: ENOENT (execve)'],
    ['a directory as program', { run: ['/etc'] }, 'execute /etc: EACCES (execve)'],
    ['a file that is no program', { process: processOf(['/etc/passwd']) }, 'execute /etc/passwd: EACCES (execve)'],
    [
      'a working directory of descriptors',
      { process: processOf(['/bin/true'], { cwd: '/proc/self/fd/3' }) },
      'make the working directory /proc/self/fd/3: ELOOP (openat2)',
    ],
    [
      'a working directory of another root',
      { process: processOf(['/bin/true'], { cwd: '/proc/1/root/etc' }) },
      'make the working directory /proc/1/root/etc: ELOOP (openat2)',
    ],
    [
      'a working directory beneath a file',
      { process: processOf(['/bin/true'], { cwd: '/etc/passwd/x' }) },
      'make the working directory /etc/passwd/x: ENOTDIR (openat2)',
    ],
    [
      "a limit above the kernel's",
      {
        process: processOf(['/bin/true'], {
          rlimits: [{ resource: Resource.RESOURCE_NOFILE, soft: 1n << 40n, hard: 1n << 40n }],
        }),
      },
      'set limit nofile: EPERM (prlimit64)',
    ],
  ])('says so: %s', async (_, plan, sentence) => {
    expect(await failure(plan)).toBe(sentence);
  });

  test('says which layer is not there', async () => {
    const layers = lab.open(`${lab.directory}/layers/`);
    expect(await failure({}, { host: { root: { kind: 'unpacked', directory: layers, names: ['nope'] } } })).toBe(
      'make the root file system: ENOENT (mount)',
    );
    closeSync(layers);
  });

  test('says which bind is of the wrong kind', async () => {
    const file = openPath('/etc/passwd', O_PATH);
    const mounts = [...DEFAULT_MOUNTS, bind(0, '/data')];
    expect(await failure({ mounts }, { host: { binds: new Map([[0, { descriptor: file, idmap: undefined }]]) } })).toBe(
      'mount /data: EINVAL (move_mount)',
    );
    closeSync(file);
  });

  test('is given up when it is not done in time, and killed', async () => {
    const status = pipe2();
    const program = createProgram(status[1]);
    cloneProcess(program, 0, program.descriptors);
    program.call(SYS_nanosleep, [program.data(u64(60, 0)), 0]);
    const outcome = await runProgram(program, status, { deadlineMs: 100 });
    expect(outcome.kind === 'failed' && outcome.failure.detail).toBe('not done within 0.1 s');
  });

  test('leaves no process', async () => {
    await failure({ run: ['/bin/nope'] });
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    expect(
      children.map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()).filter((comm) => comm !== 'esbuild'),
    ).toEqual([]);
  });
});

suite('a terminal', [root, busybox], () => {
  const openTty = () => {
    const [ours, theirs] = socketpair(1);
    return {
      stdio: { kind: 'tty' as const, socket: theirs },
      ours,
      close() {
        for (const fd of [ours, theirs]) closeSync(fd);
      },
    };
  };
  const readAll = async (master: number): Promise<string> => {
    const bytes = Buffer.alloc(4096);
    let text = '';
    for (;;) {
      try {
        const count = readSync(master, bytes);
        if (count === 0) return text;
        text += bytes.toString('utf8', 0, count);
      } catch (error) {
        if ((error as { code?: string }).code === 'EIO') return text;
        throw error;
      }
      await sleep(1);
    }
  };
  const SCRIPT =
    'tty; stty size; ls -l /dev/console | cut -c1-10; echo hi >/dev/tty; echo there >/dev/console; ps -o pid,tty,args | tail -1';

  test.each([false, true])("is the container's own, of the asked size; init: %s", async (init) => {
    const { stdio, ours, close } = openTty();
    const plan = planOf({ ...sh(SCRIPT), init, stdio: { tty: true, stdin: true, columns: 77, rows: 33 } });
    const { outcome } = await launch(lab, plan, { host: { stdio } });
    if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
    const master = receiveDescriptors(ours, 1)?.descriptors[0] ?? -1;
    close();
    const status = ended(outcome.pidfd);
    const lines = (await readAll(master)).split('\r\n');
    expect(lines.slice(0, 5)).toEqual(['/dev/pts/0', '33 77', 'crw--w----', 'hi', 'there']);
    expect(await status).toBe(0);
    closeSync(master);
  });

  test("of an exec comes from the container's devpts, and from nothing else", async () => {
    const { outcome } = await launch(lab, planOf({ run: ['/bin/sleep', '60'] }));
    if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
    const { stdio, ours, close } = openTty();
    const plan = {
      container: '',
      id: '',
      process: processOf(['/bin/sh', '-c', 'tty; stty size']),
      hardening: planOf().hardening,
      stdio: { tty: true, stdin: true, columns: 80, rows: 24 },
    };
    const execed = await exec(lab, plan, {
      container: outcome.pidfd,
      namespaces: NEW_NAMESPACES,
      cgroups: { kind: 'none' },
      stdio,
    });
    if (execed.kind === 'failed') throw new Error(execed.failure.detail);
    const master = receiveDescriptors(ours, 1)?.descriptors[0] ?? -1;
    close();
    expect((await readAll(master)).split('\r\n').slice(0, 2)).toEqual(['/dev/pts/0', '24 80']);
    await ended(execed.pidfd);
    closeSync(master);
    pidfdSendSignal(outcome.pidfd, 9);
    await ended(outcome.pidfd);
    const bare = await launch(
      lab,
      planOf({ run: ['/bin/sleep', '60'], mounts: DEFAULT_MOUNTS.filter(({ target }) => target !== '/dev/pts') }),
    );
    if (bare.outcome.kind === 'failed') throw new Error(bare.outcome.failure.detail);
    const second = openTty();
    const refused = await exec(lab, plan, {
      container: bare.outcome.pidfd,
      namespaces: NEW_NAMESPACES,
      cgroups: { kind: 'none' },
      stdio: second.stdio,
    });
    expect(refused.kind === 'failed' && refused.failure.detail).toMatch(
      /find the terminals of the container in \/dev\/pts/,
    );
    second.close();
    pidfdSendSignal(bare.outcome.pidfd, 9);
    await ended(bare.outcome.pidfd);
  });
});

suite('init', [root, busybox], () => {
  test('passes signals on and ends as its child does', async () => {
    const script = 'trap "echo got TERM; exit 5" TERM; echo ready; while :; do sleep 0.05; done';
    const { stdio, text } = capture();
    const { outcome } = await launch(lab, planOf({ ...sh(script), init: true }), { host: { stdio } });
    if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
    await sleep(300);
    pidfdSendSignal(outcome.pidfd, 15);
    expect(await ended(outcome.pidfd)).toBe(5 << 8);
    expect(text()).toBe('ready\ngot TERM\n');
  });

  test('ends with 128 and the signal of a child that was killed, and kills what is left', async () => {
    const { lines, status } = await run('echo $$; readlink /proc/1/exe; sleep 100 & kill -9 $$', { init: true });
    expect(lines[0]).toBe('2');
    expect(lines[1] ?? '').toBe('');
    expect(status).toBe(137 << 8);
  });

  test('reaps orphans', async () => {
    const { lines } = await run(
      'for i in $(seq 1 100); do (true & true) & done; wait; sleep 0.3; grep -l "^State:.Z" /proc/[0-9]*/status 2>/dev/null | wc -l; ls /proc | grep -c "^[0-9]"; grep -E "^(CapEff|Seccomp):" /proc/1/status | cut -f2',
      { init: true },
    );
    expect(lines[0]).toBe('0');
    expect(lines.slice(2)).toEqual(['00000000a80425fb', '2']);
  });

  test('shows its memory and descriptors to nobody in the container', async () => {
    const capabilities = {
      bounding: ALL_CAPABILITIES,
      effective: ALL_CAPABILITIES,
      permitted: ALL_CAPABILITIES,
      inheritable: 0n,
      ambient: 0n,
    };
    const process = processOf(
      ['/bin/sh', '-c', 'ls /proc/1/fd 2>&1; head -c 1 /proc/1/mem 2>&1; readlink /proc/1/exe; echo end'],
      { capabilities },
    );
    const { output } = await runToText(
      lab,
      planOf({ process, init: true, hardening: { ...planOf().hardening, seccomp: Seccomp.SECCOMP_UNCONFINED } }),
    );
    expect(output.trim().split('\n')).toEqual([
      expect.stringMatching(/denied/),
      expect.stringMatching(/denied/),
      'end',
    ]);
  });
});

suite('an exec', [root, busybox], () => {
  test('is a process of the container like any other', async () => {
    const { outcome } = await launch(lab, planOf({ run: ['/bin/sleep', '60'] }));
    if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
    const inside = async (script: string, change = {}) => {
      const { stdio, text } = capture();
      const plan = {
        container: '',
        id: '',
        process: processOf(['/bin/sh', '-c', script], change),
        hardening: planOf().hardening,
        stdio: planOf().stdio,
      };
      const execed = await exec(lab, plan, {
        container: outcome.pidfd,
        namespaces: NEW_NAMESPACES,
        cgroups: { kind: 'none' },
        stdio,
      });
      const output = text();
      if (execed.kind === 'failed') return execed.failure.detail;
      return `${output}${(await ended(execed.pidfd)) >> 8}`;
    };
    const names = ['user', 'mnt', 'pid', 'net', 'uts', 'ipc', 'cgroup'];
    const links = names.map((name) => readlinkSync(`/proc/${outcome.pid}/ns/${name}`));
    expect(await inside(`for n in ${names.join(' ')}; do readlink /proc/self/ns/$n; done; exit 3`)).toBe(
      `${links.join('\n')}\n3`,
    );
    expect(
      await inside('id -u; pwd; grep -E "^(CapEff|Seccomp):" /proc/self/status | cut -f2', {
        uid: 1000,
        cwd: '/home/user',
      }),
    ).toBe('1000\n/home/user\n0000000000000000\n2\n0');
    expect(await inside('echo $PPID; ls /proc/self/fd | tr "\\n" " "')).toBe('0\n0 1 2 3 0');
    expect(await inside('true', { cwd: '/proc/1/root' })).toMatch(/^enter the working directory/);
    expect(await inside('true', { cwd: '/nope' })).toBe('enter the working directory /nope: ENOENT');
    pidfdSendSignal(outcome.pidfd, 9);
    await ended(outcome.pidfd);
    expect(await inside('true')).toMatch(/^join the container: E(SRCH|INVAL)/);
  });
});

suite('a container that joins another', [root, busybox], () => {
  test('shares what it joins and nothing else', async () => {
    const first = await launch(lab, planOf({ run: ['/bin/sleep', '60'] }), { keepUsers: true });
    if (first.outcome.kind === 'failed' || first.userNamespace === undefined) throw new Error('no first');
    const { pid, pidfd } = first.outcome;
    const bits = { pid: CLONE_NEWPID, net: CLONE_NEWNET, ipc: CLONE_NEWIPC, uts: CLONE_NEWUTS };
    const joined = Object.entries(bits).map(([name, bit]) => ({
      bit,
      descriptor: openSync(`/proc/${pid}/ns/${name}`, 'r'),
    }));
    const { lines } = await run(
      'for n in pid net ipc uts user; do readlink /proc/self/ns/$n; done; ls /proc | grep "^[0-9]" | head -1; cat /proc/1/comm; hostname; ls /dev/mqueue; ls /sys/class/net',
      {
        namespaces: without(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWUSER),
        hostname: '',
      },
      { host: { userNamespace: first.userNamespace, joined } },
    );
    const links = ['pid', 'net', 'ipc', 'uts', 'user'].map((name) => readlinkSync(`/proc/${pid}/ns/${name}`));
    expect(lines).toEqual([...links, '1', 'sleep', 'box', 'lo']);
    for (const { descriptor } of joined) closeSync(descriptor);
    closeSync(first.userNamespace);
    pidfdSendSignal(pidfd, 9);
    await ended(pidfd);
  });
});

test.skipIf(!root.met())('standard input comes from its pipe', async () => {
  const [read, write] = pipe2();
  const out = pipe2();
  const { outcome } = await launch(lab, planOf({ run: ['/bin/cat'], stdio: { ...planOf().stdio, stdin: true } }), {
    host: { stdio: { kind: 'pipes', descriptors: [read, out[1], nullDevice()] } },
  });
  if (outcome.kind === 'failed') throw new Error(outcome.failure.detail);
  closeSync(read);
  closeSync(out[1]);
  writeFileSync(write, 'through\n');
  closeSync(write);
  expect(readFileSync(out[0], 'utf8')).toBe('through\n');
  closeSync(out[0]);
  expect(await ended(outcome.pidfd)).toBe(0);
  expect(CLONE_NEWCGROUP).toBeGreaterThan(0);
});
