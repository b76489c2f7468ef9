// Runs the layer worker and reads its result. The helper believes nothing of it but what a second process confirms: the digest of a tar is taken by a
// worker that parses nothing, after the one that parsed is gone.
import { closeSync, openSync, readSync } from 'node:fs';
import { SIGKILL } from '../../proto/abi/signal.gen.ts';
import { Resource } from '../../proto/gen/berth/helper/v1/plan.ts';
import { newUserNamespace } from '../launch/namespaces.ts';
import { reaped } from '../launch/run.ts';
import type { Machine } from '../lower/host.ts';
import { pipe2 } from '../sys/descriptors.ts';
import { pidfdSendSignal } from '../sys/processes.ts';
import { ownIds } from './ids.ts';
import { Failed } from './failed.ts';
import { type Sandboxed, startSandboxed } from './sandbox.ts';

export type WorkerProgram = Pick<Sandboxed, 'directory' | 'script'>;
export type WorkerResult = ReturnType<typeof decodeResult>;
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
const DEADLINE_MS = 30 * 60_000;
const STDERR_BYTES = 1024;
// chown, dac_override, fowner, fsetid within the worker's own user namespace.
const UNPACKING = 0b11011n;

/** Worker processes of this machine; `firstId` is the first of the uids that belong to no one else. */
export function newWorker(machine: Machine, program: WorkerProgram, firstId: number): Worker {
  return async ({ mode, args, descriptors, bytesMax }) => {
    using open = new DisposableStack();
    const keep = (fd: number): number => open.adopt(fd, closeSync);
    const userNamespace = machine.rootless ? undefined : keep(newUserNamespace(ownIds(firstId)));
    const nothing = keep(openSync('/dev/null', 'r+'));
    const [result, resultWrite] = pipe2();
    const [errors, errorsWrite] = pipe2();
    for (const fd of [result, errors]) keep(fd);
    const places = Math.max(descriptors.length, RESULT_AT - 2);
    const passed = Array.from({ length: places }, (_, i) => descriptors[i] ?? nothing);
    passed[RESULT_AT - 3] = resultWrite;
    const started = startSandboxed(machine, {
      ...program,
      userNamespace,
      args: [mode, ...args],
      descriptors: [nothing, nothing, errorsWrite, ...passed],
      id: mode === 'unpack' || machine.rootless ? 0 : 1,
      capabilities: mode === 'unpack' ? UNPACKING : 0n,
      limits: [
        [Resource.RESOURCE_FSIZE, bytesMax],
        [Resource.RESOURCE_NOFILE, 8192],
        [Resource.RESOURCE_CORE, 0],
      ],
    });
    const { pidfd } = await started.finally(() => {
      for (const fd of [resultWrite, errorsWrite]) closeSync(fd);
    });
    const late = setTimeout(() => pidfdSendSignal(pidfd, SIGKILL), DEADLINE_MS);
    const status = await reaped(pidfd).finally(() => clearTimeout(late));
    const bytes = Buffer.alloc(RESULT_BYTES + 1);
    const whole = readSync(result, bytes) === RESULT_BYTES && bytes.toString('latin1', 0, 8) === 'BERTHRES';
    const said = Buffer.alloc(STDERR_BYTES);
    const text = said.toString('utf8', 0, readSync(errors, said)).trim().split('\n').at(-1);
    if (whole && status === 0 && bytes.readUInt32LE(STATUS_AT) === 0) return decodeResult(bytes);
    throw new Failed(`layer worker: ${mode}`, text || `it ended with status ${status} and no result`);
  };
}

/** The worker's word for how it ended, and then its numbers: where core/spec/layer-index.ts puts them. */
const STATUS_AT = 12;

function decodeResult(bytes: Buffer) {
  return {
    entries: bytes.readUInt32LE(20),
    highestUid: bytes.readUInt32LE(24),
    highestGid: bytes.readUInt32LE(28),
    indexBytes: Number(bytes.readBigUInt64LE(48)),
    imageBytes: Number(bytes.readBigUInt64LE(56)),
    digest: `sha256:${bytes.toString('hex', 96, 128)}`,
  };
}
