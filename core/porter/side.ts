// The socket beside the frames, for descriptors: those of a frame come before it, but not in the frames' order.
import { receiveFds, trySendFds } from '../sys/socket.ts';
import { SysError } from '../sys/libc.ts';

export type Side = {
  /** Sends them for the frame that follows; false where there is no room, or the kernel does not let them pass. */
  readonly send: (id: number, fds: readonly number[]) => boolean;
  /** Those that came for this id. */
  readonly take: (id: number) => readonly number[];
};
export type SideParts = {
  readonly fd: number;
  /** Whether something of this id is waited for. */
  readonly isAwaited: (id: number) => boolean;
  /** Takes what nobody waits for: it was meant for an earlier porter, or came late. */
  readonly drop: (fd: number) => void;
};

export function openSide({ fd: socket, isAwaited, drop }: SideParts): Side {
  const come = new Map<number, readonly number[]>();
  return {
    send(id, fds) {
      try {
        return trySendFds(socket, Buffer.from(new Uint32Array([id]).buffer), fds);
      } catch (error) {
        if (error instanceof SysError) return false;
        throw error;
      }
    },
    take(id) {
      for (let one = receiveFds(socket, 4); one !== undefined; one = receiveFds(socket, 4)) {
        const of = Buffer.from(one.bytes).readUInt32LE(0);
        if (isAwaited(of)) come.set(of, [...(come.get(of) ?? []), ...one.fds]);
        else for (const fd of one.fds) drop(fd);
      }
      const fds = come.get(id) ?? [];
      come.delete(id);
      return fds;
    },
  };
}
