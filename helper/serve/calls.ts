// What one porter sends, frame by frame: connections, and calls with their descriptors. Whatever is not as proto/porter/frame.ts says is thrown, which is
// that porter's end.
import { closeSync } from 'node:fs';
import * as wire from '../../proto/porter/frame.ts';
import { type Peer, peerOf } from '../sys/sockets.ts';
import { outsideIds } from './rootless.ts';
import type { Service } from './serve.ts';
import type { Side } from './side.ts';

/** What came with a request over its lane; `strange` and nothing, where a descriptor was none that anybody should hold. */
export type Ticket = {
  readonly id: Uint8Array;
  readonly fds: readonly number[];
  readonly strange: boolean;
  /** Sends these to the lane, before the call is answered; they stay open here. */
  readonly answer: (fds: readonly number[]) => void;
};
/** A call that ends without an answer, with gRPC's status. */
export class CallEnds extends Error {
  readonly status: number;
  constructor(status: number, why: string) {
    super(why);
    this.status = status;
  }
}
type Answer = Parameters<typeof wire.encodeFrame>[0];
type Answered = Promise<Answer | undefined>;
export type Send = (frame: Answer) => void;
type Parts = {
  readonly side: Side;
  readonly send: Send;
  readonly service: Service;
  readonly ready: () => void;
  readonly log: (line: string) => void;
};

const { KIND } = wire;
const BUG = new CallEnds(wire.STATUS.internal, 'the helper has a bug; its log says more');

/** The calls of one porter; `stop` lets everybody go who listens. */
export function newCalls({ side, send, service, ready, log }: Parts) {
  const peers = new Map<number, Peer>();
  const calls = new Map<number, () => void>();
  const finish: Send = (frame) => {
    if (calls.delete(frame.id)) send(frame);
  };
  /** By the time the call is answered its descriptors are closed. A call without an answer goes on. */
  const call = (frame: wire.Frame, work: (peer: Peer, fds: readonly number[]) => Answered): void => {
    const { id, of } = frame;
    const peer = peers.get(of);
    if (peer === undefined || calls.has(id) || calls.size >= wire.CALLS_MAX) throw new Error(`call ${id} of ${of}`);
    const fds = side.receive(frame);
    calls.set(id, () => undefined);
    const done = async (): Promise<void> => {
      const answer = await work(peer, fds).catch((error: unknown) => endOf(id, error, log));
      for (const fd of fds) closeSync(fd);
      if (answer !== undefined) finish(answer);
    };
    void done();
  };
  const on: Readonly<Record<number, (frame: wire.Frame) => void>> = {
    [KIND.opened](frame) {
      const { id } = frame;
      const fds = side.receive(frame);
      try {
        if (fds.length !== 1 || peers.has(id) || peers.size >= wire.CONNECTIONS_MAX)
          throw new Error(`connection ${id}`);
        peers.set(id, outsidePeer(peerOf(fds[0] ?? -1)));
      } finally {
        side.giveBack(id, fds);
      }
      send({ kind: KIND.peer, id, of: peers.get(id)?.uid ?? 0, descriptors: 1 });
    },
    [KIND.ready]: ready,
    [KIND.closed]: ({ id }) => void peers.delete(id),
    [KIND.hello]: (frame) =>
      call(frame, async (peer) => ({ kind: KIND.reply, id: frame.id, body: service.hello(peer) })),
    [KIND.do]: (frame) => call(frame, (peer, fds) => performed({ side, service }, frame, { peer, fds })),
    [KIND.watch]: (frame) =>
      call(frame, async (peer) => {
        const { id } = frame;
        const event = (body: Uint8Array): void => send({ kind: KIND.event, id, body });
        const end = (): void => finish({ kind: KIND.end, id });
        calls.set(id, service.watch({ envelope: frame.body, peer, ticket: undefined }, { event, end }));
        return undefined;
      }),
    [KIND.cancel]({ id }) {
      calls.get(id)?.();
      finish({ kind: KIND.end, id });
    },
  };
  return {
    take(frame: wire.Frame): void {
      const handle = on[frame.kind];
      if (handle === undefined) throw new Error(`a frame of kind ${frame.kind}`);
      handle(frame);
    },
    stop(): void {
      for (const stop of calls.values()) stop();
      calls.clear();
    },
  };
}

/** The answer to a `do`. */
async function performed(
  { side, service }: Pick<Parts, 'side' | 'service'>,
  { id, flag, body }: wire.Frame,
  { peer, fds }: { peer: Peer; fds: readonly number[] },
): Promise<Answer> {
  const given = { flag: 0, descriptors: 0 };
  const answer: Ticket['answer'] = (back) => {
    given.flag = wire.GIVEN;
    given.descriptors += side.send(id, back);
  };
  const split = flag === wire.TICKET.none ? 0 : wire.TICKET_BYTES;
  const ticket = { id: body.subarray(0, split), fds, strange: flag === wire.TICKET.strange, answer };
  const bytes = await service.do({ envelope: body.subarray(split), peer, ticket: split === 0 ? undefined : ticket });
  return { kind: KIND.reply, id, ...given, body: bytes };
}

/** The answer to a call that has none. */
function endOf(id: number, error: unknown, log: Parts['log']): Answer {
  if (!(error instanceof CallEnds)) log(`a bug: ${error instanceof Error ? error.stack : String(error)}`);
  const { status, message } = error instanceof CallEnds ? error : BUG;
  return { kind: KIND.end, id, of: status, body: Buffer.from(message) };
}

/** In a user namespace of one id that is the user himself; everybody else has the id of nobody. */
function outsidePeer(peer: Peer): Peer {
  const outside = outsideIds();
  return outside !== undefined && peer.uid === 0 ? { pid: peer.pid, ...outside } : peer;
}
