// The two sockets. Every connection is accepted here, the helper is asked whose it is, it is counted, and only then given on.
import { createServer, type Socket } from 'node:net';
import { openBuckets } from '../base/rate.ts';
import { newCounts } from './counts.ts';
import type { Root } from './root.ts';

const CONNECTIONS_PER_UID = 32;
/** An engine has two; one that comes again and again for more costs everybody. */
const PACE = { burst: 200, perSecond: 20 };
/** Connections of which is not known yet whose they are. */
const ASKED_MAX = 128;

export type Accepted = {
  /** The connection's number at the helper. */
  readonly connection: number;
  readonly uid: number;
  readonly fd: number;
  readonly socket: Socket;
};

/** Takes connections of a listening socket; those over the limit of a uid are closed at once. */
export function accept(listening: number, root: Root, take: (accepted: Accepted) => void): void {
  const open = newCounts();
  const mayCome = openBuckets(PACE, () => performance.now());
  let asked = 0;
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    const connection = asked < ASKED_MAX ? root.opened(fd, whose) : undefined;
    if (connection === undefined) return void socket.destroy();
    let known = false;
    asked++;
    socket.on('close', () => {
      if (!known) asked--;
      root.closed(connection);
    });
    function whose(uid: number): void {
      known = true;
      asked--;
      if (connection === undefined || open.of(uid) >= CONNECTIONS_PER_UID || !mayCome(uid))
        return void socket.destroy();
      open.add(uid);
      socket.on('close', () => open.remove(uid));
      take({ connection, uid, fd, socket });
    }
  });
  server.listen({ fd: listening });
}
