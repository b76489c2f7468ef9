// The socket beside the frames, for descriptors. Both ends stay open here from one porter to the next, so that what lies in it is never closed by the end
// of one. What a user could have us wait for as we close it (a connection of his: with the last of it goes what he sent over it and nobody took) goes
// back to the porter, and as long as it lies in the socket ours is not the last: closing is the porter's, in threads that may wait.
import { closeSync } from 'node:fs';
import { SOCK_SEQPACKET } from '../../proto/abi/socket.gen.ts';
import { DESCRIPTORS_AT_ONCE, type Frame } from '../../proto/porter/frame.ts';
import { u32 } from '../lower/program.ts';
import { SysError } from '../sys/error.ts';
import { receiveDescriptors, sendDescriptors, socketpair } from '../sys/sockets.ts';

export type Side = {
  /** The porter's end. */
  readonly end: number;
  /** The frame's descriptors. Throws where they are not there as announced. */
  readonly receive: (frame: Frame) => readonly number[];
  /** Sends them for the frame of this id that follows; they stay open here. Throws where there is no room. Gives how many. */
  readonly send: (id: number, descriptors: readonly number[]) => number;
  /** Sends them and closes them here, as soon as there is room. */
  readonly giveBack: (id: number, descriptors: readonly number[]) => void;
  /** Gives back all that a porter has sent and did not live to announce. */
  readonly clear: () => void;
};

const AGAIN_MS = 100;

export function openSide(): Side {
  const [own, end] = socketpair(SOCK_SEQPACKET);
  const giveBack: Side['giveBack'] = (id, descriptors) => {
    try {
      if (descriptors.length > 0 && !sendDescriptors(own, u32(id), descriptors)) return later(id, descriptors);
      for (const fd of descriptors) closeSync(fd);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      later(id, descriptors); // too many sockets within sockets, by the sender's doing
    }
  };
  const later = (id: number, descriptors: readonly number[]): void =>
    void setTimeout(giveBack, AGAIN_MS, id, descriptors);
  return {
    end,
    receive({ id, descriptors: count }) {
      if (count === 0) return [];
      const { bytes, descriptors } = receiveDescriptors(own, 4) ?? { bytes: Buffer.alloc(0), descriptors: [] };
      if (bytes.equals(u32(id)) && descriptors.length === count) return descriptors;
      giveBack(id, descriptors);
      throw new Error(`${descriptors.length} descriptors where ${count} were announced`);
    },
    send(id, descriptors) {
      for (let at = 0; at < descriptors.length; at += DESCRIPTORS_AT_ONCE)
        if (!sendDescriptors(own, u32(id), descriptors.slice(at, at + DESCRIPTORS_AT_ONCE)))
          throw new Error('the porter takes no more descriptors');
      return descriptors.length;
    },
    giveBack,
    clear() {
      for (let one = receiveDescriptors(own, 4); one !== undefined; one = receiveDescriptors(own, 4))
        giveBack(0, one.descriptors);
    },
  };
}
