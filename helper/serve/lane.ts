// The lanes: sockets beside gRPC that carry descriptors. A lane's owner is who the kernel says connected; a ticket is looked for only among the
// lanes of the asking uid, so nobody can use, or wait for, somebody else's descriptors. A lane that is not read, or is fed tickets nobody asks
// for, is cut off. What was sent is never closed by us: its sender may have seen to it that closing waits for him.
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { closeAside } from '../launch/aside.ts';
import { isQuiet } from '../ops/seen.ts';
import { duplicate } from '../sys/descriptors.ts';
import { type Received, receiveDescriptors, sendDescriptors } from '../sys/sockets.ts';
import { outsideIds } from './rootless.ts';

const TICKET_BYTES = 16;
const LANES_MAX = 8;
const WAITING_MAX = 64;
const FDS_PER_MESSAGE = 200;
const FDS_WAITING_MAX = 2048;
/** Descriptors of a uid that are still being closed; over it he has no lane. */
const CLOSING_MAX = 16;

type Message = { readonly fds: readonly number[]; readonly strange: boolean };
type Lane = {
  readonly uid: number;
  readonly fd: number;
  readonly socket: Socket;
  readonly waiting: Map<string, Message>;
};
/** A ticket that arrived: what came with it (nothing, where one of it is such that we do not hold it), and the way back. */
export type Ticket = Message & {
  readonly answer: (fds: readonly number[]) => void;
  /** To be called once, when the request is done. */
  readonly close: () => void;
};

export type Lanes = {
  readonly add: (uid: number, fd: number, socket: Socket) => void;
  /** The ticket's message, once. Undefined where it has not arrived. */
  readonly take: (uid: number, ticket: Uint8Array) => Ticket | undefined;
  readonly close: () => void;
};

export function newLanes(): Lanes {
  const lanes = new Map<number, Lane[]>();
  const closings = openClosings();
  const cut = (lane: Lane): void => {
    const { uid } = lane;
    lanes.set(
      uid,
      (lanes.get(uid) ?? []).filter((one) => one !== lane),
    );
    for (const { fds } of lane.waiting.values()) closeQuiet(fds);
    lane.waiting.clear();
    // Not the last one of the lane: with that go the messages nobody took.
    const last = duplicate(lane.fd);
    lane.socket.destroy();
    closings.close(uid, last);
  };
  const sweep = (uid: number): Lane[] => {
    for (const lane of lanes.get(uid) ?? []) if (!drain(lane, closings)) cut(lane);
    return lanes.get(uid) ?? [];
  };
  return {
    add(uid, fd, socket) {
      const own = sweep(uid);
      if (closings.areMany(uid)) return void socket.destroy();
      const oldest = own[0];
      if (own.length >= LANES_MAX && oldest !== undefined) cut(oldest);
      lanes.set(uid, [...(lanes.get(uid) ?? []), { uid, fd, socket, waiting: new Map() }]);
    },
    take(uid, ticket) {
      const key = Buffer.from(ticket).toString('hex');
      for (const lane of sweep(uid)) {
        const message = lane.waiting.get(key);
        if (message === undefined) continue;
        lane.waiting.delete(key);
        return {
          ...message,
          answer: (back) => answer(lane, ticket, back),
          close: () => closeQuiet(message.fds),
        };
      }
      return undefined;
    },
    close() {
      for (const own of lanes.values()) for (const lane of own) cut(lane);
    },
  };
}

type Closings = {
  readonly close: (uid: number, fd: number) => void;
  readonly areMany: (uid: number) => boolean;
};

/** What is being closed that can wait for its sender, by whose it is. Nobody waits for it. */
function openClosings(): Closings {
  const counts = new Map<number, number>();
  const count = (uid: number, by: number): void => void counts.set(uid, (counts.get(uid) ?? 0) + by);
  return {
    close(uid, fd) {
      count(uid, 1);
      closeAside([fd]).then(
        () => count(uid, -1),
        () => undefined, // no process to be had: they stay open, and count
      );
    },
    areMany: (uid) => (counts.get(uid) ?? 0) >= CLOSING_MAX,
  };
}

/** What isQuiet has seen: it can take a while, but nobody's word. */
function closeQuiet(fds: readonly number[]): void {
  closeAside(fds).catch(() => {
    for (const fd of fds) closeSync(fd);
  });
}

/** Takes every message that waits; false when the lane is to be cut off. */
function drain(lane: Lane, closings: Closings): boolean {
  try {
    while (!closings.areMany(lane.uid)) {
      const message = receiveDescriptors(lane.fd, TICKET_BYTES);
      if (message === undefined) return true;
      if (!keep(lane, message, closings)) return false;
    }
  } catch {
    // the other end was reset, or sent more descriptors than we may hold
  }
  return false;
}

function keep({ uid, waiting }: Lane, { bytes, descriptors }: Received, closings: Closings): boolean {
  // Rootless, all comes from the user's own mount namespace, which is not ours.
  const strangers = outsideIds() === undefined ? descriptors.filter((fd) => !isQuiet(fd)) : [];
  for (const fd of strangers) closings.close(uid, fd);
  const quiet = descriptors.filter((fd) => !strangers.includes(fd));
  const key = bytes.toString('hex');
  const sum = [...waiting.values()].reduce((all, { fds }) => all + fds.length, quiet.length);
  const tooMany = waiting.size >= WAITING_MAX || sum > FDS_WAITING_MAX;
  const broken = bytes.length !== TICKET_BYTES || waiting.has(key) || tooMany;
  const strange = strangers.length > 0;
  if (broken || strange) closeQuiet(quiet);
  if (!broken) waiting.set(key, { fds: strange ? [] : quiet, strange });
  return !broken;
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
