// What the ops prepare for a launch, in a few lines: a busybox tree, its directories, namespaces, pipes. Tests of the launcher use this instead of the helper.
import {
  cpSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CheckedExec, CheckedLaunch, CheckedMount } from '../../helper/decode/checked.ts';
import { ARCH } from '../../helper/launch/child.ts';
import { newSeedNamespace, newStoreNamespace, newUserNamespace } from '../../helper/launch/namespaces.ts';
import { type Pipe, type RunOutcome, runProgram } from '../../helper/launch/run.ts';
import { lowerExec } from '../../helper/lower/launch.ts';
import type { ExecHost, LaunchHost, Machine, StdioHost } from '../../helper/lower/host.ts';
import { lowerLaunch } from '../../helper/lower/launch.ts';
import { pipe2, watchPidfd } from '../../helper/sys/descriptors.ts';
import { waitPidfd } from '../../helper/sys/processes.ts';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../../proto/abi/sched.gen.ts';
import { KernelFilesystem, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';

/** Docker's fourteen capabilities. */
export const DOCKER_CAPABILITIES = 0xa80425fbn;
export const ALL_CAPABILITIES = (1n << 41n) - 1n;
export const NEW_NAMESPACES =
  CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWCGROUP | CLONE_NEWUSER;
export const FIRST_ID = 0x73ff0000;

/** A tree with busybox and its applets, and what an image usually has. */
export function makeTree(directory: string): void {
  for (const path of ['bin', 'etc', 'tmp', 'root', 'proc', 'sys', 'dev', 'home/user'])
    mkdirSync(join(directory, path), { recursive: true });
  cpSync('/bin/busybox', join(directory, 'bin/busybox'));
  const applets =
    'sh cat ls id pwd hostname mount umount mknod touch true false sleep ps kill grep stat readlink env echo wc tty stty head tail ip unshare mkdir rm chown awk tr cut dd test seq'.split(
      ' ',
    );
  for (const applet of applets) symlinkSync('busybox', join(directory, 'bin', applet));
  writeFileSync(join(directory, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n');
  writeFileSync(join(directory, 'etc/hosts'), '127.0.0.1 localhost\n');
}

export type Lab = {
  readonly directory: string;
  readonly machine: Machine;
  readonly tree: string;
  /** A new container's directory, by a name. */
  readonly home: (name: string) => string;
  readonly open: (path: string) => number;
  readonly [Symbol.dispose]: () => void;
};

/** A place to launch from; removed at the end. */
export async function openLab({ rootless = false }: { rootless?: boolean } = {}): Promise<Lab> {
  const directory = mkdtempSync(join(tmpdir(), 'berth-launch-'));
  makeTree(join(directory, 'layers/base'));
  const machine: Machine = {
    arch: ARCH,
    rootless,
    lastCapability: Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8')),
    seedNamespace: newSeedNamespace(rootless),
    storeNamespace: newStoreNamespace(),
  };
  return {
    directory,
    machine,
    tree: join(directory, 'layers/base'),
    home(name) {
      const home = join(directory, 'containers', name);
      for (const part of ['upper', 'work', 'files']) mkdirSync(join(home, part), { recursive: true });
      if (!rootless) chownSync(join(home, 'upper'), FIRST_ID, FIRST_ID);
      return home;
    },
    open: (path) => openSync(path, constants.O_RDONLY | (path.endsWith('/') ? constants.O_DIRECTORY : 0)),
    [Symbol.dispose]() {
      closeSync(machine.seedNamespace);
      closeSync(machine.storeNamespace);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function blockMap(first: number, count = 65_536) {
  const map = [{ inside: 0, outside: first, count }];
  return { uids: map, gids: map };
}

const quiet = { readOnly: false, noSuid: true, noDev: true, noExec: true };
const kernel = (filesystem: KernelFilesystem, target: string, more = {}): CheckedMount => ({
  source: { $case: 'kernel', value: { filesystem } },
  target,
  ...quiet,
  ...more,
});

/** What Docker mounts by default. */
export const DEFAULT_MOUNTS: readonly CheckedMount[] = [
  kernel(KernelFilesystem.KERNEL_FILESYSTEM_PROC, '/proc'),
  kernel(KernelFilesystem.KERNEL_FILESYSTEM_DEV, '/dev', { noDev: false, noExec: false }),
  kernel(KernelFilesystem.KERNEL_FILESYSTEM_DEVPTS, '/dev/pts', { noDev: false }),
  kernel(KernelFilesystem.KERNEL_FILESYSTEM_SYSFS, '/sys', { readOnly: true }),
  kernel(KernelFilesystem.KERNEL_FILESYSTEM_MQUEUE, '/dev/mqueue'),
  {
    source: { $case: 'tmpfs', value: { sizeBytes: 65536n << 10n, mode: 0o1777, uid: 0, gid: 0 } },
    target: '/dev/shm',
    ...quiet,
  },
];

const NODES = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
] as const;

/** A plan as core/plan makes it for `docker run`, with changes. */
export function planOf(change: Partial<CheckedLaunch> & { run?: readonly string[] } = {}): CheckedLaunch {
  const { run = ['/bin/true'], ...rest } = change;
  return {
    id: 'a'.repeat(64),
    root: { source: { $case: 'image', value: { layers: [] } }, readOnly: false },
    mounts: DEFAULT_MOUNTS,
    process: processOf(run),
    namespaces: { unshare: BigInt(NEW_NAMESPACES >>> 0), join: [], uidCount: 65536n },
    hostname: 'box',
    domainname: '',
    limits: { settings: [], throttles: [], cpus: '', mems: '', deviceRules: [] },
    hardening: {
      seccomp: Seccomp.SECCOMP_DEFAULT,
      maskedPaths: [
        '/proc/acpi',
        '/proc/kcore',
        '/proc/keys',
        '/proc/timer_list',
        '/proc/scsi',
        '/sys/firmware',
        '/proc/timer_stats',
      ],
      readOnlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      sysctls: [],
    },
    devices: NODES.map(([path, major, minor]) => ({ path, block: false, major, minor, mode: 0o666, uid: 0, gid: 0 })),
    init: false,
    stdio: { tty: false, stdin: false, columns: 0, rows: 0 },
    ...rest,
  };
}

/** A process with Docker's defaults; a name without a slash is looked for in /usr/bin and /bin. */
export function processOf(
  argv: readonly string[],
  change: Partial<CheckedLaunch['process']> = {},
): CheckedLaunch['process'] {
  const [name = ''] = argv;
  const executables = name.includes('/') ? [name] : ['/usr/bin', '/bin'].map((directory) => `${directory}/${name}`);
  const caps = DOCKER_CAPABILITIES;
  const sets = (change.uid ?? 0) === 0 ? { effective: caps, permitted: caps } : { effective: 0n, permitted: 0n };
  return {
    argv,
    env: ['PATH=/usr/bin:/bin', 'HOME=/root'],
    executables,
    cwd: '/',
    uid: 0,
    gid: 0,
    groups: [],
    rlimits: [],
    capabilities: { bounding: caps, inheritable: 0n, ambient: 0n, ...sets },
    noNewPrivileges: false,
    oomScoreAdj: 0,
    umask: 0o22,
    ...change,
  };
}

export type Ended = { readonly outcome: RunOutcome; readonly status: number; readonly output: string };
export type Running = { readonly pid: number; readonly pidfd: number; readonly userNamespace: number | undefined };
export type Change = { readonly host?: Partial<LaunchHost>; readonly keepUsers?: boolean };

/** Starts a container on a fresh writable layer over the lab's tree. */
export async function launch(
  lab: Lab,
  plan: CheckedLaunch,
  change: Change = {},
): Promise<{ outcome: RunOutcome; userNamespace: number | undefined }> {
  const status = pipe2();
  const own = (plan.namespaces.unshare & BigInt(CLONE_NEWUSER)) !== 0n;
  const userNamespace =
    change.host?.userNamespace ??
    (own
      ? await newUserNamespace(blockMap(lab.machine.rootless ? 0 : FIRST_ID, lab.machine.rootless ? 1 : 65_536))
      : undefined);
  const layers = lab.open(join(lab.directory, 'layers/'));
  const home = lab.open(`${lab.home(`c${counter++}`)}/`);
  const opened = [layers, home];
  const host: LaunchHost = {
    machine: lab.machine,
    status: status[1],
    userNamespace,
    firstId: own || change.host?.userNamespace !== undefined ? (lab.machine.rootless ? 0 : FIRST_ID) : 0,
    root: { kind: 'unpacked', directory: layers, names: ['base'] },
    home,
    binds: new Map(),
    joined: [],
    cgroups: { kind: 'none' },
    stdio: { kind: 'pipes', descriptors: [nullDevice(), nullDevice(), nullDevice()] },
    ...change.host,
  };
  const { program, start } = lowerLaunch(plan, host);
  const outcome = await runProgram(program, status, start);
  for (const fd of opened) closeSync(fd);
  if (own && !change.keepUsers && userNamespace !== undefined && change.host?.userNamespace === undefined)
    closeSync(userNamespace);
  return { outcome, userNamespace };
}
let counter = 0;
let nullFd: number | undefined;

export function nullDevice(): number {
  nullFd ??= openSync('/dev/null', 'r+');
  return nullFd;
}

/** Executes in a running container. */
export async function exec(
  lab: Lab,
  plan: CheckedExec,
  host: Omit<ExecHost, 'machine' | 'status'>,
): Promise<RunOutcome> {
  const status = pipe2();
  const { program, start } = lowerExec(plan, { machine: lab.machine, status: status[1], ...host });
  return await runProgram(program, status, start);
}

/** wait(2)'s status of a process that was started here, once it has ended. */
export async function ended(pidfd: number): Promise<number> {
  for (;;) {
    const status = waitPidfd(pidfd);
    if (status !== undefined) {
      closeSync(pidfd);
      return status;
    }
    await new Promise<void>((resolve) => void watchPidfd(pidfd, resolve));
  }
}

/** Stdio whose output can be read to its end with `text`. */
export function capture(): { stdio: StdioHost; text: () => string; pipe: Pipe } {
  const pipe = pipe2();
  return {
    stdio: { kind: 'pipes', descriptors: [nullDevice(), pipe[1], pipe[1]] },
    pipe,
    text() {
      closeSync(pipe[1]);
      const output = readFileSync(pipe[0], 'utf8');
      closeSync(pipe[0]);
      return output;
    },
  };
}

/** Launches, and gives what the container has printed and how it ended. */
export async function runToText(lab: Lab, plan: CheckedLaunch, change: Change = {}): Promise<Ended> {
  const { stdio, text } = capture();
  const { outcome } = await launch(lab, plan, { ...change, host: { stdio, ...change.host } });
  const output = text();
  return { outcome, output, status: outcome.kind === 'running' ? await ended(outcome.pidfd) : -1 };
}
