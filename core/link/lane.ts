// The lane: descriptors beside gRPC. A message is the 16 bytes of a ticket with descriptors; the helper's come before its answer, so
// nothing here ever waits.
import { closeFd } from '../sys/fd.ts';
import { connectUnix, receiveFds, sendFds } from '../sys/socket.ts';

export const TICKET_BYTES = 16;
/** The lane's messages carry fewer than the kernel's 253, so that both sides agree on where one ends. */
const FDS_MAX = 200;

export type Lane = {
  readonly send: (ticket: Uint8Array, fds: readonly number[]) => void;
  /** All descriptors that came for a ticket; the caller closes them. Throws when the helper has closed the lane. */
  readonly take: (ticket: Uint8Array) => number[];
  /** Closes the lane and whatever was not taken. */
  readonly close: () => void;
};

/** Connects the lane. */
export function openLane(path: string): Lane {
  const fd = connectUnix(path);
  const waiting = new Map<string, number[]>();
  const readAll = (): void => {
    for (;;) {
      const message = receiveFds(fd, TICKET_BYTES);
      if (message === undefined) return;
      if (message.bytes.length === 0) throw new Error(`${path}: the helper closed the lane`);
      const name = Buffer.from(message.bytes).toString('hex');
      waiting.set(name, [...(waiting.get(name) ?? []), ...message.fds]);
    }
  };
  return {
    send: (ticket, fds) => {
      for (let at = 0; at === 0 || at < fds.length; at += FDS_MAX) sendFds(fd, ticket, fds.slice(at, at + FDS_MAX));
    },
    take: (ticket) => {
      readAll();
      const name = Buffer.from(ticket).toString('hex');
      const fds = waiting.get(name) ?? [];
      waiting.delete(name);
      return fds;
    },
    close: () => {
      for (const fds of waiting.values()) for (const one of fds) closeFd(one);
      waiting.clear();
      closeFd(fd);
    },
  };
}
