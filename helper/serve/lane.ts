// The lanes: sockets beside gRPC that carry descriptors. A lane's owner is who the kernel says connected; a ticket is looked for only among the
// lanes of the asking uid, so nobody can use, or wait for, somebody else's descriptors. A lane that is not read, or is fed tickets nobody asks
// for, is cut off.
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { receiveDescriptors, sendDescriptors } from '../sys/sockets.ts';

const TICKET_BYTES = 16;
const LANES_MAX = 8;
const WAITING_MAX = 64;
const FDS_PER_MESSAGE = 200;
const FDS_WAITING_MAX = 2048;

type Lane = { readonly fd: number; readonly socket: Socket; readonly waiting: Map<string, number[]> };
/** A ticket that arrived: what came with it, and the way back. */
export type Ticket = { readonly fds: readonly number[]; readonly answer: (fds: readonly number[]) => void };

export type Lanes = {
  readonly add: (uid: number, fd: number, socket: Socket) => void;
  /** The ticket's message, once; its descriptors are the caller's to close. Undefined where it has not arrived. */
  readonly take: (uid: number, ticket: Uint8Array) => Ticket | undefined;
  readonly close: () => void;
};

export function newLanes(): Lanes {
  const lanes = new Map<number, Lane[]>();
  const cut = (uid: number, lane: Lane): void => {
    lanes.set(
      uid,
      (lanes.get(uid) ?? []).filter((one) => one !== lane),
    );
    for (const fds of lane.waiting.values()) for (const fd of fds) closeSync(fd);
    lane.waiting.clear();
    lane.socket.destroy();
  };
  const sweep = (uid: number): Lane[] => {
    for (const lane of lanes.get(uid) ?? []) if (!drain(lane)) cut(uid, lane);
    return lanes.get(uid) ?? [];
  };
  return {
    add(uid, fd, socket) {
      const own = sweep(uid);
      const oldest = own[0];
      if (own.length >= LANES_MAX && oldest !== undefined) cut(uid, oldest);
      lanes.set(uid, [...(lanes.get(uid) ?? []), { fd, socket, waiting: new Map() }]);
    },
    take(uid, ticket) {
      const key = Buffer.from(ticket).toString('hex');
      for (const lane of sweep(uid)) {
        const fds = lane.waiting.get(key);
        if (fds === undefined) continue;
        lane.waiting.delete(key);
        return { fds, answer: (back) => answer(lane, ticket, back) };
      }
      return undefined;
    },
    close() {
      for (const [uid, own] of lanes) for (const lane of own) cut(uid, lane);
    },
  };
}

/** Takes every message that waits; false when the lane is to be cut off. */
function drain(lane: Lane): boolean {
  try {
    for (;;) {
      const message = receiveDescriptors(lane.fd, TICKET_BYTES);
      if (message === undefined) return true;
      const key = message.bytes.toString('hex');
      const waiting = [...lane.waiting.values()].reduce((sum, fds) => sum + fds.length, message.descriptors.length);
      const tooMany = lane.waiting.size >= WAITING_MAX || waiting > FDS_WAITING_MAX;
      const broken = message.bytes.length !== TICKET_BYTES || lane.waiting.has(key) || tooMany;
      if (!broken) lane.waiting.set(key, message.descriptors);
      else for (const fd of message.descriptors) closeSync(fd);
      if (broken) return false;
    }
  } catch {
    return false; // the other end was reset, or sent more descriptors than we may hold
  }
}

/** At least one message, even when there is nothing to give: the other end reads one for each answer. */
function answer(lane: Lane, ticket: Uint8Array, fds: readonly number[]): void {
  let at = 0;
  do {
    const sent = sendDescriptors(lane.fd, ticket, fds.slice(at, at + FDS_PER_MESSAGE));
    if (!sent) throw new Error('the lane is full: its owner does not read it');
    at += FDS_PER_MESSAGE;
  } while (at < fds.length);
}
