// Standard input, output and error of a process. The helper keeps a duplicate of every end that is read, so that no byte and no writer is lost while
// no engine runs; of standard input it keeps the reading end, from which a writing end can be made again. Descriptors go to the lane of the uid
// that launched, by the kernel's word, and to nobody else.
import { closeSync, openSync } from 'node:fs';
import { F_SETPIPE_SZ, O_WRONLY } from '../../proto/abi/fcntl.gen.ts';
import { SOCK_STREAM } from '../../proto/abi/socket.gen.ts';
import type { Stdio } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { StdioHost } from '../lower/host.ts';
import { fcntl, pipe2 } from '../sys/descriptors.ts';
import { openPath } from '../sys/files.ts';
import { receiveDescriptors, socketpair } from '../sys/sockets.ts';
import { Failed, unless } from './failed.ts';

const PIPE_BYTES = 1 << 20;

/** What the helper keeps. Pipes: standard output and error, then standard input's reading end if there is one. A tty: master, relay's read and write end. */
export type Held = { readonly tty: boolean; readonly fds: readonly number[] };

/** Ends for a process that is about to be started: `host` is for lowering; `started` is called once it runs and gives what is kept. */
export type OpenedStdio = { readonly host: StdioHost; readonly started: () => Held };
/** `open` is closed in any case when the start is over, `undo` only if it failed. */
export type Stacks = { readonly open: DisposableStack; readonly undo: DisposableStack };

export function openStdio(stdio: Stdio, { open, undo }: Stacks): OpenedStdio {
  const closing = (stack: DisposableStack, fds: readonly number[]): void => {
    for (const fd of fds) stack.defer(() => closeSync(fd));
  };
  if (stdio.tty) {
    const sockets = socketpair(SOCK_STREAM);
    const relay = bigPipe();
    closing(open, sockets);
    closing(undo, relay);
    return {
      host: { kind: 'tty', socket: sockets[1] },
      started: () => ({ tty: true, fds: [receiveMaster(sockets[0]), ...relay] }),
    };
  }
  const [outRead, outWrite] = bigPipe();
  const [errRead, errWrite] = bigPipe();
  const [inRead, inWrite] = stdio.stdin ? pipe2() : [openSync('/dev/null', 'r')];
  // The first writing end of standard input is closed after the engine has its own: a program that finds no writer reads the end of its input.
  closing(open, [outWrite, errWrite, inWrite ?? inRead]);
  const held = [outRead, errRead, ...(inWrite === undefined ? [] : [inRead])];
  closing(undo, held);
  return {
    host: { kind: 'pipes', descriptors: [inRead, outWrite, errWrite] },
    started: () => ({ tty: false, fds: held }),
  };
}

/** A pipe that takes much before its writer waits; smaller where the system's limit for all pipes is reached. */
function bigPipe(): [read: number, write: number] {
  const ends = pipe2();
  unless(['EPERM'], () => fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES));
  return ends;
}

function receiveMaster(socket: number): number {
  const master = receiveDescriptors(socket, 1)?.descriptors[0];
  if (master === undefined) throw new Failed('take terminal', 'the process sent no terminal');
  return master;
}

/** What the engine gets, in the lane's order; the caller closes `made` after sending. */
export function forLane({ tty, fds }: Held): { fds: number[]; made: number[] } {
  const [first = -1, second = -1, third] = fds;
  if (tty || third === undefined) return { fds: [...fds], made: [] };
  const input = openPath(`/proc/self/fd/${third}`, O_WRONLY);
  return { fds: [input, first, second], made: [input] };
}
