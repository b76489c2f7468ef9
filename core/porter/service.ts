// The helper's service as engines see it: gRPC with limits on sizes, streams, calls and time. Bytes go to the helper and come back as they are; only the
// ticket is looked for in them.
import type { Socket } from 'node:net';
import {
  type MethodDefinition,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { ENVELOPE_BYTES_MAX, KIND, STATUS, TICKET } from '../../proto/porter/frame.ts';
import { openBuckets, type Take } from '../base/rate.ts';
import { closeFd } from '../sys/fd.ts';
import type { Accepted } from './connections.ts';
import { newCounts } from './counts.ts';
import type { Lanes, Ticket } from './lanes.ts';
import type { Asked, Ended, Reply, Root } from './root.ts';
import { ticketOf } from './ticket.ts';

const STREAMS_PER_CONNECTION = 128;
const BODY_MS = 10_000;
/** More than the helper would judge. Who calls faster, or begins calls only to reset them (CVE-2023-44487), loses his connection. */
const PACE = { burst: 2000, perSecond: 1000 };
const PENDING_PER_UID = 64;
const WAITING_EVENTS = 1024;

type Unary = ServerUnaryCall<Buffer, Buffer>;
type Answer = sendUnaryData<Buffer>;

const same = (bytes: Buffer): Buffer => bytes;
const rpc = (name: string, responseStream = false): MethodDefinition<Buffer, Buffer> => ({
  path: `/berth.helper.v1.HelperService/${name}`,
  requestStream: false,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
/** Source: proto/berth/helper/v1/helper.proto. */
const SERVICE = { hello: rpc('Hello'), do: rpc('Do'), watch: rpc('Watch', true) };

/** A gRPC server in front of the helper; gives the function that gives it a connection. */
export function newService(root: Root, lanes: Lanes): (accepted: Accepted) => void {
  const mayCall = openBuckets(PACE, () => performance.now());
  const sockets = new Map<number, Socket>();
  const cut = (connection: number): void => {
    const socket = sockets.get(connection);
    if (sockets.delete(connection)) setImmediate(() => socket?.destroy()); // not in the middle of one of its frames
  };
  const server = new Server({
    'grpc.max_receive_message_length': ENVELOPE_BYTES_MAX,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION,
    interceptors: [limits(mayCall, cut)],
  });
  server.addService(SERVICE, handlers(root, lanes));
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return ({ connection, uid, socket }) => {
    Object.defineProperty(socket, 'remoteAddress', { value: `${connection}/${uid}` });
    sockets.set(connection, socket);
    socket.once('close', () => sockets.delete(connection));
    injector.injectConnection(socket);
    socket.resume();
  };
}

/** Connection and uid as they were noted when it was given to gRPC. */
function callerOf(call: { getPeer: () => string }): { connection: number; uid: number } {
  const [connection = Number.NaN, uid = Number.NaN] = call.getPeer().split(/[/:]/).map(Number);
  return { connection, uid };
}

/** Cuts the connection of a uid that calls too fast; ends a call whose request is not whole within ten seconds of its first byte. */
function limits(mayCall: Take, cut: (connection: number) => void): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start(next) {
        const { connection, uid } = callerOf(call);
        if (!mayCall(uid)) cut(connection);
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
}

function handlers(root: Root, lanes: Lanes) {
  const pending = newCounts();
  /** Passes a call on that has one answer, and calls back with it. */
  const ask = (asked: Asked, answer: Answer, then: (reply: Reply) => void): void => {
    const end = (ended: Ended): void => answer(asError(ended));
    root.call(asked, { reply: then, event: () => undefined, end });
  };
  return {
    hello(call: Unary, answer: Answer): void {
      const { connection } = callerOf(call);
      ask({ kind: KIND.hello, connection }, answer, ({ bytes }) => answer(null, bytes));
    },
    do(call: Unary, respond: Answer): void {
      const { connection, uid } = callerOf(call);
      const count = pending.of(uid);
      if (count >= PENDING_PER_UID) {
        const details = `${count} requests of uid ${uid} are under way`;
        respond({ code: status.RESOURCE_EXHAUSTED, details });
        return;
      }
      pending.add(uid);
      const id = ticketOf(call.request);
      const ticket = id && lanes.take(uid, id);
      const answer: Answer = (error, bytes) => {
        pending.remove(uid);
        void Promise.resolve(ticket?.close()).then(() => respond(error, bytes));
      };
      const flag = ticket === undefined ? TICKET.none : ticket.strange ? TICKET.strange : TICKET.whole;
      const body = id && ticket ? Buffer.concat([id, call.request]) : call.request;
      const asked = { kind: KIND.do, connection, flag, body, fds: ticket?.fds ?? [] };
      ask(asked, answer, (reply) => {
        if (giveBack(reply, ticket)) answer(null, reply.bytes);
        else answer(asError({ status: STATUS.unavailable, why: 'the lane is closed, or its owner does not read it' }));
      });
    },
    watch(call: ServerWritableStream<Buffer, Buffer>): void {
      const { connection } = callerOf(call);
      const stop = root.call(
        { kind: KIND.watch, connection, body: call.request },
        {
          reply: () => call.end(),
          event(bytes) {
            if (call.write(bytes) || call.writableLength < WAITING_EVENTS) return;
            stop();
            call.end();
          },
          end: (ended) => void (ended.status === status.OK ? call.end() : call.emit('error', asError(ended))),
        },
      );
      call.on('cancelled', stop);
      call.on('close', stop);
    },
  };
}

/** Sends what came back on the ticket's lane, before the call is answered. */
function giveBack({ given, fds }: Reply, ticket: Ticket | undefined): boolean {
  try {
    return !given || ticket?.answer(fds) === true;
  } finally {
    for (const fd of fds) closeFd(fd);
  }
}

function asError({ status: code, why: details }: Ended): { code: status; details: string } {
  return { code, details };
}
