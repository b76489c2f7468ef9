// A Node process in a sandbox, as a program of the launcher. It reads what anybody may have written, so it gets its descriptors and nothing else: a
// user namespace over uids that belong to no one, a root of read-only system libraries and its own code, no network, the filter and its limits, no
// capability but those named (for layers: what unpacking needs in that user namespace).
import { closeSync, existsSync } from 'node:fs';
import { F_DUPFD_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import { MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY } from '../../proto/abi/mount.gen.ts';
import { CLONE_NEWNS, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { S_IFREG } from '../../proto/abi/stat.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { type Resource, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedProcess } from '../decode/checked.ts';
import { runProgram } from '../launch/run.ts';
import * as calls from '../lower/calls.ts';
import { CLONED } from '../lower/check.ts';
import type { Machine } from '../lower/host.ts';
import { becomeRoot, cloneProcess, leaveKeyring, lowerUndumpable } from '../lower/namespaces.ts';
import { createProgram, type Program } from '../lower/program.ts';
import { becomeUser, lowerExecute, lowerHardening, settleLimits } from '../lower/user.ts';
import { fcntl, pipe2 } from '../sys/descriptors.ts';
import { Failed } from './failed.ts';

export type Sandboxed = {
  /** Undefined where the helper itself is in one (rootless). */
  readonly userNamespace: number | undefined;
  /** Its own code: a directory that it sees as /berth, and the script in it. */
  readonly directory: string;
  readonly script: string;
  readonly args: readonly string[];
  readonly env?: readonly string[];
  /** From descriptor 0 on. */
  readonly descriptors: readonly number[];
  /** Its uid and gid, and its capabilities, in the user namespace. */
  readonly id: number;
  readonly capabilities: bigint;
  readonly limits: readonly (readonly [Resource, number])[];
};

const READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
const LIBRARIES = ['usr/lib', 'usr/lib64', 'lib', 'lib64'];
/** Passed descriptors end up beneath the first number; they are moved above the second before, so that none is overwritten on the way to its place. */
const [STATUS_ABOVE, ABOVE] = [1024, 4096];

/** Starts it; the process is the caller's to reap. Throws Failed with the step that did not work. */
export async function startSandboxed(machine: Machine, sandboxed: Sandboxed): Promise<{ pid: number; pidfd: number }> {
  const [read, low] = pipe2();
  const write = fcntl(low, F_DUPFD_CLOEXEC, STATUS_ABOVE);
  closeSync(low);
  const outcome = await runProgram(lowerSandbox(machine, sandboxed, write), [read, write]);
  if (outcome.kind === 'running') return outcome;
  throw new Failed(outcome.failure.step, outcome.failure.detail, outcome.failure);
}

function lowerSandbox(machine: Machine, sandboxed: Sandboxed, status: number): Program {
  const { userNamespace, descriptors } = sandboxed;
  const program = createProgram(status);
  lowerUndumpable(program);
  leaveKeyring(program);
  const making = program.during('make the root of the sandbox');
  const attributes = READ_ONLY & ~MOUNT_ATTR_RDONLY;
  const size = [['mode', '755'] as const, ['size', '64k'] as const];
  const root = calls.newFilesystem(making, { type: 'tmpfs', settings: size, attributes });
  making.call(nr.SYS_mkdirat, [root, 'usr', 0o755]);
  const libraries = LIBRARIES.filter((path) => existsSync(`/${path}`)).map((path) => [path, `/${path}`] as const);
  const shown = [...libraries, ['berth', sandboxed.directory] as const, ['node', process.execPath] as const];
  const clones = shown.map(([path, from]) => {
    if (path === 'node') making.call(nr.SYS_mknodat, [root, path, S_IFREG | 0o444, 0]);
    else making.call(nr.SYS_mkdirat, [root, path, 0o755]);
    const clone = calls.cloneMount(making, { path: from });
    calls.setAttributes(making, clone, { set: READ_ONLY });
    return [path, clone] as const;
  });
  making.call(nr.SYS_setns, [program.use(machine.seedNamespace), CLONE_NEWNS]);
  if (userNamespace !== undefined) {
    making.call(nr.SYS_setns, [program.use(userNamespace), CLONE_NEWUSER]);
    becomeRoot(program, false);
  }
  for (const fd of descriptors) program.use(fd);
  cloneProcess(program, CLONED, new Set([status, ...descriptors]));
  calls.attachAt(making, root, '/root');
  for (const [path, clone] of clones) calls.attach(making, clone, calls.openWithin(making, { at: root, path }));
  calls.enterRoot(making, root);
  const user = processOf(sandboxed);
  settleLimits(program, user);
  placeDescriptors(program, descriptors);
  becomeUser(program, user, machine);
  lowerHardening(program, user, { seccomp: Seccomp.SECCOMP_DEFAULT, machine });
  lowerExecute(program, user);
  return program;
}

function processOf({ script, args, env = [], id, capabilities: caps, limits }: Sandboxed): CheckedProcess {
  return {
    argv: ['/node', `/berth/${script}`, ...args],
    env: ['PATH=/', 'NODE_NO_WARNINGS=1', ...env],
    executables: ['/node'],
    cwd: '/',
    uid: id,
    gid: id,
    groups: [],
    rlimits: limits.map(([resource, most]) => ({ resource, soft: BigInt(most), hard: BigInt(most) })),
    capabilities: { bounding: caps, effective: caps, permitted: caps, inheritable: 0n, ambient: 0n },
    noNewPrivileges: true,
    oomScoreAdj: 0,
    umask: 0o022,
  };
}

/** After settleLimits every descriptor closes on execution but those put in place here. */
function placeDescriptors(program: Program, descriptors: readonly number[]): void {
  const passing = program.during('pass the descriptors on');
  const above = descriptors.map((fd) => passing.call(nr.SYS_fcntl, [program.use(fd), F_DUPFD_CLOEXEC, ABOVE]));
  for (const [i, fd] of above.entries()) passing.call(nr.SYS_dup3, [fd, i, 0]);
}
