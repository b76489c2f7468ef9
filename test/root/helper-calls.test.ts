// Which system calls root makes: strace of the helper and of every process it starts, over a life of containers with everything in it, against the
// lists of ARCHITECTURE.md. A process that has become somebody else's program (a container's, or the layer worker) is not root's any more.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openPath } from '../../core/sys/fd.ts';
import { Knob, type Launch, Propagation } from '../../proto/gen/berth/helper/v1/plan.ts';
import { execOf } from '../kit/attack.ts';
import { type Client, importTar, launchOf, type PrivateHelper, startHelper } from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';
import { DEFAULT_MOUNTS } from '../kit/launcher.ts';
import { busybox, root, suite, tool } from '../kit/need.ts';

const calls = readFileSync(new URL('../../ARCHITECTURE.md', import.meta.url), 'utf8')
  .split('## Calls of the helper')[1]
  ?.split('\n## ')[0];
const listed = (pattern: RegExp, text = ''): string[] => [...text.matchAll(pattern)].map(([, name = '']) => name);
const OF_HELPER = listed(/^\| `([a-z_0-9]+)` \|/gm, calls);
const OF_LAUNCHER = listed(/`([a-z0-9_]+)`/g, calls?.split('no others')[1]);
/**
 * What Node does by itself with files, sockets, memory, threads and its loop (libuv sends epoll_ctl through a ring). Nothing here changes who or where the
 * process is.
 */
const OF_NODE =
  `accept4 access bind brk chmod chown clock_gettime clock_nanosleep close connect epoll_create1 epoll_ctl epoll_pwait epoll_wait
  eventfd2 exit exit_group fallocate fchmod fchown fchownat fcntl fdatasync fstat fsync ftruncate futex getcwd getdents64 getegid geteuid getgid
  getpeername getpid getppid getrandom getrlimit getrusage getsockname getsockopt gettid getuid ioctl kill lchown link linkat listen lseek lstat madvise
  membarrier mkdir mkdirat mmap mprotect mremap munmap newfstatat open openat pipe2 poll ppoll pread64 prlimit64 pwrite64 read readlink readlinkat
  recvfrom recvmsg rename renameat restart_syscall rmdir rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_getparam sched_getscheduler sched_yield sendmmsg sendmsg sendto
  set_robust_list setsockopt shutdown sigaltstack socket socketpair stat statfs statx symlink sysinfo timerfd_create timerfd_settime tgkill umask uname
  unlink unlinkat utimensat wait4 write writev clone3 pkey_alloc io_uring_enter`
    .split(/\s+/)
    .filter(Boolean);

type Role = 'helper' | 'launcher' | 'other';
type Seen = Readonly<Record<Role, Set<string>>>;

/** Reads what `strace -f` wrote: who made which call. `threads`: those of the helper when it began. */
function readTrace(text: string, threads: readonly number[]): Seen {
  const roles = new Map<number, Role>(threads.map((tid) => [tid, 'helper']));
  const seen: Seen = { helper: new Set(), launcher: new Set(), other: new Set() };
  const waiting = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [, pid = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const role = roles.get(Number(pid));
    const name = /^(?:<\.\.\. )?([a-z0-9_]+)/.exec(rest)?.[1];
    if (role === undefined || name === undefined || rest.startsWith('+++') || rest.startsWith('---')) continue;
    if (!rest.startsWith('<...')) seen[role].add(name);
    const whole = rest.includes('<unfinished') ? undefined : `${waiting.get(Number(pid)) ?? ''}${rest}`;
    waiting.set(Number(pid), whole === undefined ? rest : '');
    if (whole === undefined) continue;
    const result = Number(/= (\d+)/.exec(whole.slice(whole.lastIndexOf(')')))?.[1] ?? -1);
    if (/^(clone|clone3|vfork|fork)\(/.test(whole) && result > 0)
      roles.set(result, role === 'helper' && !whole.includes('CLONE_THREAD') ? 'launcher' : role);
    // The launcher executes what it was started for; what runs then is not ours.
    if (/^execve\(/.test(whole) && result === 0 && role === 'launcher') roles.set(Number(pid), 'other');
  }
  return seen;
}

/** Traces the helper and all it starts until it is called. */
async function trace(helper: PrivateHelper): Promise<() => Promise<Seen>> {
  const { helper: pid } = helper.pids();
  const out = join(helper.directory, 'trace');
  const threads = readdirSync(`/proc/${pid}/task`).map(Number);
  const child = spawn('strace', ['-f', '-qq', '-s', '0', '-e', 'signal=none', '-o', out, '-p', String(pid)]);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const traced = () =>
    threads.every((tid) => !/^TracerPid:\t0$/m.test(readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8')));
  await expect.poll(traced, { timeout: 10_000 }).toBe(true);
  return async () => {
    child.kill('SIGINT');
    await ended;
    return readTrace(readFileSync(out, 'utf8'), threads);
  };
}

/** Every verb, and of a launch everything that takes calls of its own. */
async function liveThroughAll(client: Client, directory: string): Promise<void> {
  const layer = await importTar(client, busyboxTar(), directory);
  await client.done({ $case: 'mergeImage', value: { layers: [layer] } }, { wantFds: true });
  mkdirSync(join(directory, 'shared'));
  const place = openPath(join(directory, 'shared'));
  const bind = { descriptor: 0, recursive: true, file: false, propagation: Propagation.PROPAGATION_SLAVE };
  const quiet = { readOnly: true, noSuid: true, noDev: true, noExec: true };
  const change: Partial<Launch> = {
    init: true,
    mounts: [...DEFAULT_MOUNTS, { source: { $case: 'bind', value: bind }, target: '/there', ...quiet }],
    stdio: { tty: true, stdin: true, columns: 80, rows: 24 },
  };
  const launch = launchOf([layer], ['/bin/sleep', '1000'], change);
  const fds = [...(await client.done({ $case: 'launch', value: launch }, { fds: [place], wantFds: true })).fds];
  const exec = execOf(launch.id, ['/bin/true']);
  fds.push(...(await client.done({ $case: 'exec', value: exec }, { wantFds: true })).fds);
  await client.exited(launch.id, exec.id);
  const container = launch.id;
  await client.done({ $case: 'forget', value: { container, exec: exec.id } });
  await client.done({ $case: 'pause', value: { container, frozen: true } });
  await client.done({ $case: 'pause', value: { container, frozen: false } });
  const limits = {
    settings: [{ knob: Knob.KNOB_PIDS_MAX, value: 50n }],
    throttles: [],
    cpus: '0',
    mems: '',
    deviceRules: [],
  };
  await client.done({ $case: 'update', value: { container, limits } });
  fds.push(...(await client.done({ $case: 'attach', value: { container, exec: '' } }, { wantFds: true })).fds);
  await client.done({ $case: 'signal', value: { container, exec: '', signal: 9, all: true } });
  await client.exited(container);
  await client.done({ $case: 'remove', value: { container } });
  const piped = launchOf([layer], ['/bin/cat'], { stdio: { tty: false, stdin: true, columns: 0, rows: 0 } });
  const [input = -1, output = -1, ...rest] = (await client.done({ $case: 'launch', value: piped }, { wantFds: true }))
    .fds;
  writeSync(input, 'through\n');
  closeSync(input);
  await client.exited(piped.id);
  const read = Buffer.alloc(16);
  expect(read.toString('utf8', 0, readSync(output, read))).toBe('through\n');
  await client.done({ $case: 'remove', value: { container: piped.id } });
  await client.done({ $case: 'dropImage', value: { layers: [layer] } });
  await client.done({ $case: 'dropLayer', value: { diffId: layer } });
  for (const fd of [place, output, ...rest, ...fds]) closeSync(fd);
}

suite('the calls of root', [root, busybox, tool('strace')], () => {
  test('are those that are listed, of the helper and of the launcher', async () => {
    await using helper = await startHelper();
    const client = await helper.client();
    const stop = await trace(helper);
    await liveThroughAll(client, helper.directory);
    const seen = await stop();
    expect(seen.launcher.size).toBeGreaterThan(30);
    expect(seen.helper.has('clone3') || seen.helper.has('clone')).toBe(true);
    const allowed = new Set([...OF_HELPER, ...OF_NODE]);
    expect([...seen.helper].filter((name) => !allowed.has(name)).sort()).toEqual([]);
    expect([...seen.launcher].filter((name) => !OF_LAUNCHER.includes(name)).sort()).toEqual([]);
    // What would change who or where the helper is, or run a program in its own place.
    const never =
      /^(mount|umount2|setns|unshare|pivot_root|chroot|execve|ptrace|bpf|init_module|finit_module|setresuid|setuid|capset|process_vm_\w+)$/;
    expect([...seen.helper].filter((name) => never.test(name))).toEqual([]);
  }, 120_000);
});
