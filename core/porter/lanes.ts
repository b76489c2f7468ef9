// The lanes: sockets beside gRPC that carry descriptors. A lane's owner is who the helper says connected; a ticket is looked for only among the
// lanes of the asking uid, so nobody can use, or wait for, somebody else's descriptors. A lane that is not read, or is fed tickets nobody asks
// for, is cut off. Nothing that was sent is closed in the loop: its sender may have seen to it that closing waits for him.
import type { Socket } from 'node:net';
import { DESCRIPTORS_AT_ONCE, TICKET_BYTES } from '../../proto/porter/frame.ts';
import { duplicate } from '../sys/fd.ts';
import { receiveFds, trySendFds } from '../sys/socket.ts';
import type { Closings } from './closings.ts';
import type { IsQuiet } from './quiet.ts';

const LANES_MAX = 8;
const WAITING_MAX = 64;
const FDS_WAITING_MAX = 2048;
const SWEEP_MS = 1000;

/** What came with a ticket: nothing, where one of it is such that nobody should hold it. */
export type Message = { readonly fds: readonly number[]; readonly strange: boolean };
type Lane = {
  readonly uid: number;
  readonly fd: number;
  readonly socket: Socket;
  readonly waiting: Map<string, Message>;
  open: boolean;
};
export type Ticket = Message & {
  /** Sends them back; false where the owner does not read his lane, or has closed it. */
  readonly answer: (fds: readonly number[]) => boolean;
  /** To be called once, when the request is done; settled when what came is closed. */
  readonly close: () => Promise<unknown>;
};

export type Lanes = {
  readonly add: (uid: number, lane: { readonly fd: number; readonly socket: Socket }) => void;
  /** The ticket's message, once. Undefined where it has not arrived. */
  readonly take: (uid: number, ticket: Uint8Array) => Ticket | undefined;
};
export type LaneParts = {
  readonly closings: Closings;
  readonly isQuiet: IsQuiet;
  /** Of all users, under the limit of open files: the kernel must never drop one for us, which could wait for its sender. */
  readonly fdsMax: number;
};

export function newLanes(parts: LaneParts): Lanes {
  const { closings } = parts;
  const lanes = new Map<number, Lane[]>();
  const state: State = { ...parts, held: 0 };
  const cut = (lane: Lane): void => {
    const { uid } = lane;
    const others = (lanes.get(uid) ?? []).filter((one) => one !== lane);
    if (others.length > 0) lanes.set(uid, others);
    else lanes.delete(uid);
    lane.open = false;
    for (const { fds } of lane.waiting.values()) void letGo(state, fds);
    lane.waiting.clear();
    if (lane.socket.destroyed) return; // its number may be somebody else's by now
    // Not the last one of the lane: with that go the messages nobody took.
    const last = duplicate(lane.fd);
    lane.socket.destroy();
    closings.closeStranger(uid, last);
  };
  const sweep = (uid: number): Lane[] => {
    for (const lane of lanes.get(uid) ?? []) if (lane.socket.destroyed || !drain(lane, state)) cut(lane);
    return lanes.get(uid) ?? [];
  };
  // Of a lane that is closed at its other end nothing is heard otherwise.
  setInterval(() => {
    for (const uid of lanes.keys()) sweep(uid);
  }, SWEEP_MS).unref();
  return {
    add(uid, { fd, socket }) {
      const own = sweep(uid);
      if (closings.areMany(uid)) return void socket.destroy();
      const oldest = own[0];
      if (own.length >= LANES_MAX && oldest !== undefined) cut(oldest);
      lanes.set(uid, [...(lanes.get(uid) ?? []), { uid, fd, socket, waiting: new Map(), open: true }]);
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
          close: () => letGo(state, message.fds),
        };
      }
      return undefined;
    },
  };
}

/** `held`: descriptors of all lanes that are not being closed yet. */
type State = LaneParts & { held: number };

function letGo(state: State, fds: readonly number[]): Promise<unknown> {
  state.held -= fds.length;
  return state.closings.closeQuiet(fds);
}

/** Takes every message that waits; false when the lane is to be cut off. */
function drain(lane: Lane, state: State): boolean {
  const { closings, fdsMax } = state;
  try {
    while (!closings.areMany(lane.uid) && state.held + closings.open() < fdsMax) {
      const message = receiveFds(lane.fd, TICKET_BYTES, (fd) => closings.closeStranger(lane.uid, fd));
      if (message === undefined) return true;
      if (!keep(lane, state, message)) return false;
    }
  } catch {
    // the other end was reset, or sent more descriptors than we may hold
  }
  return false;
}

type Received = { readonly bytes: Uint8Array; readonly fds: readonly number[] };

function keep({ uid, waiting }: Lane, state: State, { bytes, fds }: Received): boolean {
  const strangers = fds.filter((fd) => !state.isQuiet(fd));
  for (const fd of strangers) state.closings.closeStranger(uid, fd);
  const quiet = fds.filter((fd) => !strangers.includes(fd));
  const key = Buffer.from(bytes).toString('hex');
  const sum = [...waiting.values()].reduce((all, one) => all + one.fds.length, quiet.length);
  const tooMany = waiting.size >= WAITING_MAX || sum > FDS_WAITING_MAX;
  const broken = bytes.length !== TICKET_BYTES || waiting.has(key) || tooMany;
  const strange = strangers.length > 0;
  state.held += quiet.length;
  if (broken || strange) void letGo(state, quiet);
  if (!broken) waiting.set(key, { fds: strange ? [] : quiet, strange });
  return !broken;
}

/** At least one message, even when there is nothing to give: the other end reads one for each answer. */
function answer(lane: Lane, ticket: Uint8Array, fds: readonly number[]): boolean {
  for (let at = 0; at === 0 || at < fds.length; at += DESCRIPTORS_AT_ONCE) {
    try {
      if (!lane.open || lane.socket.destroyed || !trySendFds(lane.fd, ticket, fds.slice(at, at + DESCRIPTORS_AT_ONCE)))
        return false;
    } catch {
      return false; // its other end is closed
    }
  }
  return true;
}
