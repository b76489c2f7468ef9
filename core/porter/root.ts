// The porter's side of what it shares with the helper: questions and calls go out as frames (proto/porter/frame.ts), answers come back by their number.
// The helper's end closes when the helper ends; there is nothing left to do then.
import { Socket } from 'node:net';
import {
  CALLS_MAX,
  CONNECTIONS_MAX,
  encodeFrame,
  type Frame,
  frameReader,
  GIVEN,
  KIND,
  STATUS,
  TICKET,
} from '../../proto/porter/frame.ts';
import { closeFd } from '../sys/fd.ts';
import { openSide } from './side.ts';

/** What came back: bytes, and for the lane, where `given`, descriptors, which the caller closes. */
export type Reply = { readonly bytes: Buffer; readonly given: boolean; readonly fds: readonly number[] };
/** The call has ended without an answer. */
export type Ended = { readonly status: number; readonly why: string };
export type Waiter = {
  readonly reply: (reply: Reply) => void;
  readonly event: (bytes: Buffer) => void;
  readonly end: (ended: Ended) => void;
};
export type Asked = {
  readonly kind: (typeof KIND)['hello' | 'do' | 'watch'];
  readonly connection: number;
  readonly body?: Uint8Array;
  readonly flag?: number;
  readonly fds?: readonly number[];
};

export type Root = {
  /** Tells the helper that calls are taken. */
  readonly ready: () => void;
  /** Tells the helper of a connection; calls back with whose it is. Gives its number, or undefined where it cannot be told. */
  readonly opened: (fd: number, whose: (uid: number) => void) => number | undefined;
  readonly closed: (connection: number) => void;
  /** Passes a call on; gives the function that gives it up. */
  readonly call: (asked: Asked, waiter: Waiter) => () => void;
};

/** Whose they were is not known any more. */
const NOBODY = -1;
const BUSY: Ended = { status: STATUS.resourceExhausted, why: 'the helper has too many requests under way' };

export type RootParts = {
  readonly stream: number;
  readonly side: number;
  /** Closes what may be the last duplicate of something. */
  readonly closeStranger: (uid: number, fd: number) => void;
  /** Called when the helper's end is closed. */
  readonly gone: () => void;
};

/** Opens both sockets. */
export function connectRoot(parts: RootParts): Root {
  const stream = new Socket({ fd: parts.stream, readable: true, writable: true });
  /** Those whose uid is not known yet have a function. */
  const connections = new Map<number, ((uid: number) => void) | undefined>();
  const waiters = new Map<number, Waiter>();
  const side = openSide({
    fd: parts.side,
    isAwaited: (id) => waiters.has(id) || connections.get(id) !== undefined,
    drop: (fd) => parts.closeStranger(NOBODY, fd),
  });
  let last = 0;
  /** A number that no connection and no call has. */
  const newNumber = (): number => {
    do last = (last + 1) >>> 0;
    while (connections.has(last) || waiters.has(last));
    return last;
  };
  const take = (frame: Frame): void => {
    const { kind, id, of, body } = frame;
    const waiter = waiters.get(id);
    if (kind === KIND.event) waiter?.event(body);
    if (kind === KIND.event) return;
    const fds = side.take(id);
    waiters.delete(id);
    if (kind === KIND.reply) {
      waiter?.reply({ bytes: body, given: frame.flag === GIVEN, fds });
      return;
    }
    for (const fd of fds) closeFd(fd); // of a connection: it is still here itself, so this waits for nobody
    if (kind === KIND.end) waiter?.end({ status: of, why: body.toString('utf8') });
    if (kind !== KIND.peer) return;
    const whose = connections.get(id);
    if (whose !== undefined) connections.set(id, undefined);
    whose?.(of);
  };
  stream.on('data', frameReader(take));
  stream.on('error', parts.gone);
  stream.on('close', parts.gone);
  return {
    ready() {
      side.take(0);
      stream.write(encodeFrame({ kind: KIND.ready, id: 0 }));
    },
    opened(fd, whose) {
      const id = newNumber();
      if (connections.size >= CONNECTIONS_MAX || !side.send(id, [fd])) return undefined;
      connections.set(id, whose);
      stream.write(encodeFrame({ kind: KIND.opened, id, descriptors: 1 }));
      return id;
    },
    closed(id) {
      connections.delete(id);
      stream.write(encodeFrame({ kind: KIND.closed, id }));
    },
    call({ kind, connection, body = new Uint8Array(0), flag = TICKET.none, fds = [] }, waiter) {
      const id = newNumber();
      if (waiters.size >= CALLS_MAX || (fds.length > 0 && !side.send(id, fds))) {
        waiter.end(BUSY);
        return () => undefined;
      }
      waiters.set(id, waiter);
      stream.write(encodeFrame({ kind, id, of: connection, flag, descriptors: fds.length, body }));
      return () => {
        if (waiters.has(id)) stream.write(encodeFrame({ kind: KIND.cancel, id }));
      };
    },
  };
}
