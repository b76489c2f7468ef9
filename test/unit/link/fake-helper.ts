// A helper that only answers: the real protocol on real sockets in a temporary directory, with a lane that carries real descriptors. It checks
// signature, instance and sequence as the real one; what it answers is up to the test.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials, type ServerWritableStream, status } from '@grpc/grpc-js';
import type { Place } from '../../../core/link/session.ts';
import { closeFd } from '../../../core/sys/fd.ts';
import { receiveFds, sendFds } from '../../../core/sys/socket.ts';
import { type HelperServiceServer, HelperServiceService } from '../../../proto/gen/berth/helper/v1/helper.ts';
import { type Envelope, Event, HelloReply, Request, Result } from '../../../proto/gen/berth/helper/v1/request.ts';
import { isSignedBy, keyId, readPublicKey } from '../../../proto/sign/envelope.ts';

/** `fds` came with the ticket; `give` goes back on the lane. Throw Busy to be busy. */
export type Handled = Partial<Result> & { readonly give?: readonly number[] };
export type Handler = (request: Request, fds: readonly number[]) => Handled | Promise<Handled>;
export class Busy extends Error {}

export type FakeHelper = {
  readonly place: Place;
  readonly requests: Request[];
  readonly watches: number;
  readonly tell: (event: Event['event']) => void;
  /** Cuts all connections and answers nothing any more. */
  readonly stop: () => Promise<void>;
  /** Serves again, as another instance. */
  readonly start: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

export const DONE: Handled = { allowed: true, outcome: { $case: 'done', value: {} } };

export async function startFakeHelper(handler: Handler): Promise<FakeHelper> {
  const directory = mkdtempSync(join(tmpdir(), 'berth-fake-'));
  const place = { socket: join(directory, 'h.sock'), lane: join(directory, 'l.sock') };
  const requests: Request[] = [];
  const state = { watches: 0, serving: undefined as Serving | undefined };
  const start = async (): Promise<void> => {
    state.serving = await serve({ place, requests, handler, onWatch: () => state.watches++ });
  };
  const stop = async (): Promise<void> => {
    const { serving } = state;
    state.serving = undefined;
    await serving?.stop();
  };
  await start();
  return {
    place,
    requests,
    get watches() {
      return state.watches;
    },
    tell: (event) => state.serving?.tell(event),
    stop,
    start,
    [Symbol.asyncDispose]: async () => {
      await stop();
      rmSync(directory, { recursive: true });
    },
  };
}

type Serving = { readonly tell: (event: Event['event']) => void; readonly stop: () => Promise<void> };
type Parts = {
  readonly place: Place;
  readonly requests: Request[];
  readonly handler: Handler;
  readonly onWatch: () => void;
};

async function serve({ place, requests, handler, onWatch }: Parts): Promise<Serving> {
  const instance = randomBytes(16);
  const lane = await listenLane(place.lane);
  const watching = new Set<ServerWritableStream<Envelope, Event>>();
  const check = makeCheck(instance);
  const server = new Server();
  const handlers: HelperServiceServer = {
    hello: (_call, answer) =>
      answer(null, {
        ...HelloReply.fromPartial({}),
        instance,
        version: 'fake',
        profiles: ['tester/usual'],
        helperPid: process.pid,
      }),
    do: (call, answer) => {
      const answerDo = async (): Promise<Result> => {
        const request = check(call.request);
        requests.push(request);
        const { give = [], ...result } = await handler(request, lane.take(request.ticket));
        if (request.ticket.length > 0 && !request.dryRun) lane.give(request.ticket, give);
        return Result.fromPartial(result as Result);
      };
      answerDo().then(
        (result) => answer(null, result),
        (error: unknown) => {
          const code = error instanceof Busy ? status.RESOURCE_EXHAUSTED : status.INTERNAL;
          answer({ code, details: String(error) });
        },
      );
    },
    watch: (call) => {
      check(call.request);
      onWatch();
      watching.add(call);
      call.write(Event.fromPartial({ event: { $case: 'ready', value: {} } }));
    },
  };
  server.addService(HelperServiceService, handlers);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${place.socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return {
    tell: (event) => {
      for (const call of watching) call.write({ event });
    },
    stop: async () => {
      server.forceShutdown();
      await lane.close();
      rmSync(place.socket, { force: true });
    },
  };
}

/** Signature over the bytes, the key shown first, this instance, numbers that only grow. */
function makeCheck(instance: Buffer): (envelope: Envelope) => Request {
  let key: Buffer | undefined;
  let last = 0n;
  return (envelope) => {
    if (envelope.publicKey.length > 0) key = envelope.publicKey;
    const known = key && readPublicKey(key);
    if (key === undefined || known === undefined || keyId(key) !== envelope.keyId) throw new Error('unknown key');
    if (!isSignedBy(known, envelope.payload, envelope.signature)) throw new Error('bad signature');
    const request = Request.decode(envelope.payload);
    if (!request.instance.equals(instance)) throw new Error('another instance');
    if (request.sequence <= last) throw new Error(`sequence ${request.sequence} after ${last}`);
    last = request.sequence;
    return request;
  };
}

type FakeLane = {
  readonly take: (ticket: Buffer) => number[];
  readonly give: (ticket: Buffer, fds: readonly number[]) => void;
  readonly close: () => Promise<void>;
};

async function listenLane(path: string): Promise<FakeLane> {
  const sockets = new Set<Socket>();
  const waiting = new Map<string, { fds: number[]; fd: number }>();
  const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;
  const server: NetServer = createServer({ pauseOnConnect: true }, (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const read = (): void => {
    for (const socket of sockets) {
      const fd = fdOf(socket);
      for (
        let message = receiveFds(fd, 16);
        message !== undefined && message.bytes.length > 0;
        message = receiveFds(fd, 16)
      ) {
        waiting.set(Buffer.from(message.bytes).toString('hex'), { fds: message.fds, fd });
      }
    }
  };
  const lanes = new Map<string, number>();
  return {
    take: (ticket) => {
      read();
      const name = ticket.toString('hex');
      const found = waiting.get(name);
      waiting.delete(name);
      if (found !== undefined) lanes.set(name, found.fd);
      if (found === undefined && ticket.length > 0) throw new Error('the ticket did not come before the request');
      return found?.fds ?? [];
    },
    give: (ticket, fds) => {
      const fd = lanes.get(ticket.toString('hex'));
      if (fd === undefined) throw new Error('no lane for the ticket');
      for (let at = 0; at === 0 || at < fds.length; at += 200) sendFds(fd, ticket, fds.slice(at, at + 200));
      for (const one of fds) closeFd(one);
    },
    close: async () => {
      for (const { fds } of waiting.values()) for (const one of fds) closeFd(one);
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
