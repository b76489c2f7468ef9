// Runs the layer worker and reads its result. The helper believes nothing of it but what a second process confirms: the digest of a tar is taken by a
// worker that parses nothing, after the one that parsed is gone.
import { closeSync, lstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { F_DUPFD_CLOEXEC, O_PATH } from '../../proto/abi/fcntl.gen.ts';
import { SIGKILL } from '../../proto/abi/signal.gen.ts';
import { Resource } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CheckedProcess } from '../decode/checked.ts';
import { newUserNamespace } from '../launch/namespaces.ts';
import { runProgram } from '../launch/run.ts';
import type { Machine } from '../lower/host.ts';
import { fcntl, pipe2, watchPidfd } from '../sys/descriptors.ts';
import { openPath } from '../sys/files.ts';
import { pidfdSendSignal, waitPidfd } from '../sys/processes.ts';
import { Failed } from './failed.ts';
import { lowerSandbox, type Shown } from './sandbox.ts';

/** The worker's own code: a directory that it sees as /berth, and the script in it. */
export type WorkerProgram = { readonly directory: string; readonly script: string };
export type WorkerResult = {
  readonly entries: number;
  readonly highestUid: number;
  readonly highestGid: number;
  readonly contentBytes: number;
  readonly indexBytes: number;
  readonly imageBytes: number;
  readonly digest: string;
};
export type Job = {
  readonly mode: 'import' | 'hash' | 'merge' | 'unpack';
  readonly args: readonly string[];
  /** From descriptor 3 on; those the mode does not have are undefined, and 6 is the result's. */
  readonly descriptors: readonly (number | undefined)[];
  readonly bytesMax: number;
};
export type Worker = (job: Job) => Promise<WorkerResult>;

const RESULT_AT = 6;
const RESULT_BYTES = 128;
// Where core/spec/layer-index.ts puts each number; status is the worker's word for how it ended.
const AT = {
  status: 12,
  entries: 20,
  highestUid: 24,
  highestGid: 28,
  contentBytes: 40,
  indexBytes: 48,
  imageBytes: 56,
  digest: 96,
} as const;
const DEADLINE_MS = 30 * 60_000;
const STDERR_BYTES = 1024;

/** Worker processes of this machine; `firstId` is the first of the uids that belong to no one else. */
export function newWorker(machine: Machine, program: WorkerProgram, firstId: number): Worker {
  return async (job) => {
    using open = new DisposableStack();
    const keep = (fd: number): number => open.adopt(fd, closeSync);
    const [result, resultWrite] = pipe2();
    const [errors, errorsWrite] = pipe2();
    const nothing = keep(openSync('/dev/null', 'r+'));
    for (const fd of [result, errors]) keep(fd);
    const writers = new DisposableStack();
    for (const fd of [resultWrite, errorsWrite]) writers.adopt(fd, closeSync);
    const passed: number[] = [nothing, nothing, errorsWrite];
    for (let i = 0; i < job.descriptors.length || passed.length <= RESULT_AT; i++)
      passed.push(job.descriptors[i] ?? nothing);
    passed[RESULT_AT] = resultWrite;
    const map = [{ inside: 0, outside: firstId, count: 65_536 }];
    const userNamespace = machine.rootless ? undefined : keep(newUserNamespace({ uids: map, gids: map }));
    const sandbox = {
      machine,
      userNamespace,
      shown: shownTo(program, keep),
      process: processOf(program, job, machine.rootless),
      descriptors: passed,
    };
    const status = pipe2();
    // Above the places of the descriptors that are passed on.
    const statusWrite = fcntl(status[1], F_DUPFD_CLOEXEC, 1024);
    closeSync(status[1]);
    const outcome = await runProgram(lowerSandbox(sandbox, statusWrite), [status[0], statusWrite]);
    writers.dispose();
    if (outcome.kind === 'failed') throw new Failed(outcome.failure.step, outcome.failure.detail, outcome.failure);
    const code = await ended(outcome.pidfd);
    return readResult(job.mode, code, { result, errors });
  };
}

/** The system's libraries, Node and the worker's code; nothing else of the host. */
function shownTo(program: WorkerProgram, keep: (fd: number) => number): Shown[] {
  const shown: Shown[] = [];
  for (const path of ['/usr/lib', '/usr/lib64', '/lib', '/lib64']) {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink()) shown.push({ kind: 'link', path: path.slice(1), to: readlinkSync(path) });
    else if (stat !== undefined)
      shown.push({ kind: 'directory', path: path.slice(1), descriptor: keep(openPath(path, O_PATH)) });
  }
  shown.push({ kind: 'file', path: 'node', descriptor: keep(openPath(process.execPath, O_PATH)) });
  shown.push({ kind: 'directory', path: 'berth', descriptor: keep(openPath(program.directory, O_PATH)) });
  return shown;
}

// chown, dac_override, fowner, fsetid within the worker's own user namespace.
const UNPACKING = 0b11011n;

function processOf(program: WorkerProgram, job: Job, rootless: boolean): CheckedProcess {
  const caps = job.mode === 'unpack' ? UNPACKING : 0n;
  const id = job.mode === 'unpack' || rootless ? 0 : 1;
  const limit = (resource: Resource, most: number) => ({ resource, soft: BigInt(most), hard: BigInt(most) });
  return {
    argv: ['/node', `/berth/${program.script}`, job.mode, ...job.args],
    env: ['PATH=/', 'NODE_NO_WARNINGS=1'],
    executables: ['/node'],
    cwd: '/',
    uid: id,
    gid: id,
    groups: [],
    rlimits: [
      limit(Resource.RESOURCE_FSIZE, job.bytesMax),
      limit(Resource.RESOURCE_NOFILE, 8192),
      limit(Resource.RESOURCE_CORE, 0),
    ],
    capabilities: { bounding: caps, effective: caps, permitted: caps, inheritable: 0n, ambient: 0n },
    noNewPrivileges: true,
    oomScoreAdj: rootless ? 0 : 500,
    umask: 0o022,
  };
}

/** wait(2)'s status of the worker, which is killed when it takes too long. */
async function ended(pidfd: number): Promise<number> {
  const late = setTimeout(() => pidfdSendSignal(pidfd, SIGKILL), DEADLINE_MS);
  try {
    for (;;) {
      const status = waitPidfd(pidfd);
      if (status !== undefined) return status;
      await new Promise<void>((resolve) => watchPidfd(pidfd, resolve));
    }
  } finally {
    clearTimeout(late);
    closeSync(pidfd);
  }
}

function readResult(mode: Job['mode'], code: number, from: { result: number; errors: number }): WorkerResult {
  const bytes = Buffer.alloc(RESULT_BYTES + 1);
  const whole = readSync(from.result, bytes) === RESULT_BYTES && bytes.toString('latin1', 0, 8) === 'BERTHRES';
  const said = Buffer.alloc(STDERR_BYTES);
  const text = said.toString('utf8', 0, readSync(from.errors, said)).trim().split('\n').at(-1);
  if (!whole || code !== 0 || bytes.readUInt32LE(AT.status) !== 0) {
    throw new Failed(`layer worker: ${mode}`, text || `it ended with status ${code} and no result`);
  }
  const long = (at: number): number => Number(bytes.readBigUInt64LE(at));
  return {
    entries: bytes.readUInt32LE(AT.entries),
    highestUid: bytes.readUInt32LE(AT.highestUid),
    highestGid: bytes.readUInt32LE(AT.highestGid),
    contentBytes: long(AT.contentBytes),
    indexBytes: long(AT.indexBytes),
    imageBytes: long(AT.imageBytes),
    digest: `sha256:${bytes.toString('hex', AT.digest, AT.digest + 32)}`,
  };
}
