// How a porter is started: the sandbox of the layer worker over uids of its own, with the listening sockets, which outlive it, and its ends of the door.
import { closeSync, openSync, readFileSync, renameSync } from 'node:fs';
import { createServer } from 'node:net';
import { Resource } from '../../proto/gen/berth/helper/v1/plan.ts';
import { newUserNamespace } from '../launch/namespaces.ts';
import { ownIds } from '../ops/ids.ts';
import type { World } from '../ops/order.ts';
import { startSandboxed } from '../ops/sandbox.ts';
import { duplicate } from '../sys/descriptors.ts';
import type { DoorParts } from './door.ts';
import { programOf } from './world.ts';

/** No principal can have this name. */
const PORTER = '(porter)';
/** Closing what users have sent takes threads: core/porter/closings.ts. */
const THREADS = 64;
const FILES_MAX = 65_536;

/** A socket that listens at the path for everybody; whoever connects waits until a porter accepts. Nothing is accepted here. */
export function listeningSocket(path: string): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path: `${path}.new`, readableAll: true, writableAll: true }, () => {
      const fd = duplicate((server as unknown as { _handle: { fd: number } })._handle.fd);
      renameSync(`${path}.new`, path);
      server.close(); // removes what has the first name
      resolve(fd);
    });
  });
}

/** What starts a porter of this machine on these sockets; all descriptors that are given stay open here. */
export function porterOf({ machine, blocks }: World, listening: { service: number; lane: number }): DoorParts['start'] {
  const { rootless } = machine;
  const hard = /^Max open files +\S+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  const files = Math.min(FILES_MAX, Number(hard ?? FILES_MAX));
  const ids = ownIds(blocks.take(PORTER, 1));
  return async ({ errors, stream, side }) => {
    using open = new DisposableStack();
    const keep = (fd: number): number => open.adopt(fd, closeSync);
    const nothing = keep(openSync('/dev/null', 'r+'));
    const mounts = keep(openSync('/proc/self/mountinfo', 'r'));
    return await startSandboxed(machine, {
      ...programOf('porter', 'core/porter/main.ts'),
      userNamespace: rootless ? undefined : keep(newUserNamespace(ids)),
      args: [String(files), ...(rootless ? ['rootless'] : [])],
      env: [`UV_THREADPOOL_SIZE=${THREADS}`],
      descriptors: [nothing, nothing, errors, listening.service, listening.lane, stream, side, mounts],
      id: rootless ? 0 : 1,
      capabilities: 0n,
      limits: [
        [Resource.RESOURCE_FSIZE, 0],
        [Resource.RESOURCE_NOFILE, files],
        [Resource.RESOURCE_CORE, 0],
      ],
    });
  };
}
