// The public gRPC server of one user, on a unix socket: who may connect, which services.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { Server, ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { EngineServiceService } from '../../proto/gen/berth/v1/engine.ts';
import { FILES } from '../../proto/gen/descriptors.ts';
import { HealthService } from '../../proto/gen/grpc/health/v1/health.ts';
import { ServerReflectionService } from '../../proto/gen/grpc/reflection/v1/reflection.ts';
import type { Engine } from '../engine/engine.ts';
import { healthService } from './health.ts';
import { reflectionService, reflectionV1Alpha } from './reflection.ts';
import { engineService } from './service.ts';

export type RpcOptions = {
  readonly engine: Engine;
  /** Where to listen. A socket left there by a process that is gone is replaced. */
  readonly path: string;
  /** The only uid beside 0 that may connect. */
  readonly uid: number;
  /** The uid at the other end of a connection, as the kernel knows it. */
  readonly peerUid: (fd: number) => number;
  readonly log: (line: string) => void;
};
export type RpcServer = { readonly close: () => Promise<void> };

const MESSAGE_BYTES_MAX = 1024 * 1024;
const STREAMS_PER_CONNECTION = 256;
const CLOSE_MS = 500;

/** Listens; gives back when clients can connect. Throws what listen(2) says. */
export async function serveRpc(options: RpcOptions): Promise<RpcServer> {
  const grpc = new Server({
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION,
  });
  grpc.addService(EngineServiceService, engineService(options.engine, options.log));
  grpc.addService(HealthService, healthService(FILES.flatMap((file) => file.services)));
  grpc.addService(ServerReflectionService, reflectionService);
  grpc.addService(reflectionV1Alpha, reflectionService as UntypedServiceImplementation);
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const open = new Set<Socket>();
  const net = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    const refusal = refusePeer(socket, options);
    if (refusal !== undefined) {
      options.log(refusal);
      socket.destroy();
      return;
    }
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    injector.injectConnection(socket);
  });
  rmSync(options.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    net.once('error', reject);
    net.listen(options.path, resolve);
  });
  chmodSync(options.path, 0o600);
  return { close: () => close({ grpc, net, open }) };
}

function refusePeer(socket: Socket, { uid, peerUid }: RpcOptions): string | undefined {
  const fd = (socket as unknown as { _handle: { fd: number } | null })._handle?.fd ?? -1;
  if (fd < 0) return 'gRPC connection refused: it was gone before its peer was known';
  const peer = peerUid(fd);
  return peer === uid || peer === 0 ? undefined : `gRPC connection refused: uid ${peer} is not uid ${uid}`;
}

type Serving = { readonly grpc: Server; readonly net: NetServer; readonly open: Set<Socket> };

/** Calls in progress get a moment; streams without an end are cut. */
async function close({ grpc, net, open }: Serving): Promise<void> {
  const closed = new Promise<void>((resolve) => net.close(() => resolve()));
  const cut = setTimeout(() => {
    grpc.forceShutdown();
    for (const socket of open) socket.destroy();
  }, CLOSE_MS);
  await closed;
  clearTimeout(cut);
  grpc.forceShutdown();
}
