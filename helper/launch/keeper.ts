// The helper's side of the keeper: giving it descriptors, taking them back after a restart, and becoming it. Numbers of kept descriptors stay the same
// from keeper to keeper, so what is written down about them stays true.
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { EAGAIN } from '../../proto/abi/errno.gen.ts';
import { AT_EMPTY_PATH, F_DUPFD_CLOEXEC, F_SETFD, FD_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import { SOCK_SEQPACKET } from '../../proto/abi/socket.gen.ts';
import { encodeProgram } from '../lower/encode.ts';
import { u32 } from '../lower/program.ts';
import { dup3, fcntl } from '../sys/descriptors.ts';
import { SysError } from '../sys/error.ts';
import { closeRange, executeDescriptor, pidfdGetfd, pidfdOpen } from '../sys/processes.ts';
import { sendDescriptors, socketpair } from '../sys/sockets.ts';
import { ARCH, sealedMemfd, theLauncher } from './child.ts';
import { type KeeperPlan, keeperProgram } from './keeper-program.ts';

export type Keeper = {
  readonly pid: number;
  /** Readable when the keeper has ended: then become it. */
  readonly pidfd: number;
  /** Keeps a duplicate of the descriptor; gives its number in the keeper. */
  readonly keep: (descriptor: number) => number;
  /** Closes a kept descriptor. */
  readonly release: (number: number) => void;
  /** A duplicate of a kept descriptor. Throws SysError (EBADF) for a number under which nothing is kept. */
  readonly fetch: (number: number) => number;
};

/** Kept descriptors have numbers from here on, above what the keeper itself has. */
const FIRST_KEPT = 1024;
const KEEPER_SOCKET = 3;
/** What a helper started by the keeper finds open: its end of the keeper's socket, and the file of exits. */
export const KEPT_SOCKET = 4;
export const KEPT_EXITS = 5;

/** Connects to the keeper, our parent, which has started us; `used`: numbers of what it keeps by what is written down. */
export function connectKeeper(used: Iterable<number>): Keeper {
  for (const inherited of [KEPT_SOCKET, KEPT_EXITS]) fcntl(inherited, F_SETFD, FD_CLOEXEC);
  const pid = process.ppid;
  const pidfd = pidfdOpen(pid);
  const numbers = new Set(used);
  const send = (number: number, descriptors: readonly number[]): void => {
    if (!sendDescriptors(KEPT_SOCKET, u32(number), descriptors))
      throw new SysError('sendmsg', 'the keeper does not answer', EAGAIN);
  };
  return {
    pid,
    pidfd,
    keep(descriptor) {
      let number = FIRST_KEPT;
      while (numbers.has(number)) number++;
      send(number, [descriptor]);
      numbers.add(number);
      return number;
    },
    release(number) {
      if (numbers.delete(number)) send(number, []);
    },
    fetch: (number) => pidfdGetfd(pidfd, number),
  };
}

export type Becoming = Pick<KeeperPlan, 'file' | 'argv' | 'env'> & {
  /** Our descriptor of the file of exits. */
  readonly exits: number;
  /** What is to be kept: our descriptor by its number in the keeper. */
  readonly held: ReadonlyMap<number, number>;
};

/**
 * Executes the keeper's program in our own place: children and what is held stay, a new helper is started. For the first start and after the keeper
 * was killed. Does not return; where it throws, the process is no longer fit for anything and must end.
 */
export function becomeKeeper({ file, argv, env, exits, held }: Becoming): never {
  const sockets = socketpair(SOCK_SEQPACKET);
  const plan = {
    file,
    argv,
    env,
    sockets: [KEEPER_SOCKET, KEPT_SOCKET],
    exits: KEPT_EXITS,
    held: [...held.keys()],
  } as const;
  const program = keeperProgram(plan);
  const memfd = sealedMemfd('berth-keeper', encodeProgram(program, { arch: ARCH }), 0);
  const places = new Map([
    ...held,
    [0, memfd],
    [KEEPER_SOCKET, sockets[0]],
    [KEPT_SOCKET, sockets[1]],
    [KEPT_EXITS, exits],
  ]);
  // All are moved above every place first: none is overwritten on the way to its own.
  const above = Math.max(FIRST_KEPT, ...places.keys()) + 1;
  const moved = [...places].map(([number, fd]) => [number, fcntl(fd, F_DUPFD_CLOEXEC, above)] as const);
  const launcher = fcntl(theLauncher().fd, F_DUPFD_CLOEXEC, above);
  closeRange(1, 0xffffffff, CLOSE_RANGE_CLOEXEC);
  for (const [number, fd] of moved) dup3(fd, number, 0);
  for (const standard of [1, 2]) fcntl(standard, F_SETFD, 0);
  return executeDescriptor(launcher, AT_EMPTY_PATH);
}
