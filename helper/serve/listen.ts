// The helper's two sockets. Every connection is accepted here, asked of the kernel who it is, counted, and only then given to gRPC, which learns
// the peer as the connection's address; what comes later on it is bounded in size, number and time.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import {
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from '@grpc/grpc-js';
import type { Peer } from '../gate/verdict.ts';
import { peerOf, refuseDescriptors } from '../sys/sockets.ts';
import { outsideIds } from './rootless.ts';

const CONNECTIONS_PER_UID = 32;
const STREAMS_PER_CONNECTION = 128;
const MESSAGE_BYTES_MAX = 128 * 1024;
const BODY_MS = 10_000;

export type Accepted = { readonly peer: Peer & { readonly gid: number }; readonly fd: number; readonly socket: Socket };

/** A gRPC server whose calls know their peer; `inject` gives it a connection. */
export function newGrpc(): { server: Server; inject: (accepted: Accepted) => void } {
  const server = new Server({
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION,
    interceptors: [deadline],
  });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return {
    server,
    inject({ peer, socket }) {
      Object.defineProperty(socket, 'remoteAddress', { value: `${peer.uid}/${peer.gid}/${peer.pid}` });
      injector.injectConnection(socket);
      socket.resume();
    },
  };
}

/** The peer as `inject` noted it. */
export function peerOfCall(address: string): Peer & { readonly gid: number } {
  const [, uid, gid, pid] = /^(\d+)\/(\d+)\/(\d+)/.exec(address) ?? [];
  if (uid === undefined) throw new Error(`a call from no peer of ours: ${address}`);
  return { uid: Number(uid), gid: Number(gid), pid: Number(pid) };
}

/** Ends a call whose request is not whole within ten seconds of its first byte. */
const deadline: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start(next) {
      const details = `the request was not whole within ${BODY_MS} ms`;
      const timer = setTimeout(() => call.sendStatus({ code: status.DEADLINE_EXCEEDED, details }), BODY_MS);
      const stop = new ServerListenerBuilder().withOnCancel(() => clearTimeout(timer));
      const whole = stop.withOnReceiveHalfClose((proceed) => {
        clearTimeout(timer);
        proceed();
      });
      next(whole.build());
    },
  });

/** In a user namespace of one id that is the user himself; everybody else has the id of nobody. */
function outsidePeer(peer: Accepted['peer']): Accepted['peer'] {
  const outside = outsideIds();
  return outside !== undefined && peer.uid === 0 ? { pid: peer.pid, ...outside } : peer;
}

type Listening = { readonly take: (accepted: Accepted) => void; readonly descriptors: boolean };

/** Listens on the path for everybody; connections over the limit of a uid are closed at once. */
export function listen(path: string, { take, descriptors }: Listening): Promise<NetServer> {
  const open = new Map<number, number>();
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    const fd = fdOf(socket);
    const { pid, uid, gid } = outsidePeer(peerOf(fd));
    const count = (open.get(uid) ?? 0) + 1;
    if (count > CONNECTIONS_PER_UID) {
      socket.destroy();
      return;
    }
    open.set(uid, count);
    socket.on('close', () => open.set(uid, (open.get(uid) ?? 1) - 1));
    take({ peer: { pid, uid, gid }, fd, socket });
  });
  rmSync(path, { force: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      if (!descriptors) refuseDescriptors(fdOf(server));
      chmodSync(path, 0o666);
      resolve(server);
    });
  });
}

function fdOf(socket: object): number {
  return (socket as { _handle: { fd: number } })._handle.fd;
}
