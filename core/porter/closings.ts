// Closes what users have sent. What lies behind a descriptor can keep close(2) waiting for as long as its sender likes (a file of a FUSE file system of
// his, a socket that lingers) or for a while (a huge file that was removed): so all of it is closed on threads of libuv, which nothing else here uses.
import { close } from 'node:fs';
import { newCounts } from './counts.ts';

/** Threads that may wait for ever. The others (UV_THREADPOOL_SIZE, which the helper sets) are for what ends by itself. */
const STRANGERS_AT_ONCE = 48;
/** Descriptors of a uid that are still being closed; over it he has no lane. */
const CLOSING_MAX = 16;

export type Closings = {
  /** Closes what may wait for its sender, of this uid. */
  readonly closeStranger: (uid: number, fd: number) => void;
  /** Closes what waits for nobody (quiet.ts); settled when that is done. */
  readonly closeQuiet: (fds: readonly number[]) => Promise<unknown>;
  readonly areMany: (uid: number) => boolean;
  /** Descriptors given here that are still open. */
  readonly open: () => number;
};

export function openClosings(): Closings {
  const counts = newCounts();
  const waiting: (readonly [uid: number, fd: number])[] = [];
  let [strangers, open] = [0, 0];
  const next = (): void => {
    while (strangers < STRANGERS_AT_ONCE) {
      const [uid, fd] = waiting.shift() ?? [];
      if (uid === undefined || fd === undefined) return;
      strangers++;
      // An error of close(2) says nothing: the descriptor is gone all the same.
      close(fd, () => {
        strangers--;
        open--;
        counts.remove(uid);
        next();
      });
    }
  };
  return {
    closeStranger(uid, fd) {
      open++;
      counts.add(uid);
      waiting.push([uid, fd]);
      next();
    },
    closeQuiet(fds) {
      open += fds.length;
      return Promise.all(fds.map((fd) => new Promise((resolve) => close(fd, resolve)).then(() => open--)));
    },
    areMany: (uid) => counts.of(uid) >= CLOSING_MAX,
    open: () => open,
  };
}
