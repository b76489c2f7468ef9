// A layer on its way to the helper while it is still downloaded: inflating it takes as long as downloading it, and both can be done at once. What goes
// through the pipe is a second reading of bytes that are on disk, too; where anything is odd the stream is given up and the file is read.
import { Socket } from 'node:net';
import type { Sink } from '../registry/pull.ts';

/** `taken`: resolves when the helper has the layer; rejects where it does not, for whatever reason. */
export type LayerStream = Sink & { readonly taken: Promise<void> };

/** Feeds the pipe's write end, which it closes. `taken` tells how its reader ended. */
export function openLayerStream(pipe: number, taken: Promise<void>): LayerStream {
  const socket = new Socket({ fd: pipe, readable: false, writable: true });
  socket.on('error', () => socket.destroy()); // nobody reads any more: `taken` says why
  const done = (): void => void socket.destroy();
  taken.then(done, done);
  let fed = 0;
  let flushed = Promise.resolve();
  return {
    taken,
    write: async (bytes, at) => {
      await flushed; // one part on its way, the next one being downloaded
      if (socket.destroyed || at + bytes.length <= fed) return;
      const fresh = bytes.subarray(fed - at);
      fed = at + bytes.length;
      flushed = new Promise((resolve) => socket.write(fresh, () => resolve()));
    },
    end: (whole) => void (whole ? socket.end() : socket.destroy()),
  };
}
