// Readiness of any number of descriptors as one callback on Node's loop, without threads. An epoll descriptor is itself pollable, so a
// libuv Pipe handle opened on a duplicate of it becomes "readable" when anything in it is ready. Reading an epoll descriptor fails, which
// ends the handle: it serves once, and is made anew after each round.
import { Socket } from 'node:net';
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN } from '../../proto/abi/eventpoll.gen.ts';
import { closeFd, duplicate } from './fd.ts';
import { checked, E, orErrno, raw, SysError } from './libc.ts';
import { makePipe } from './pipe.ts';

type PipeHandle = {
  open: (fd: number) => number;
  readStart: () => number;
  close: () => void;
  onread: (() => void) | undefined;
  unref: () => void;
};
type PipeClass = new (type: number) => PipeHandle;

/** `error`: EPOLLERR or EPOLLHUP beside or instead of EPOLLIN: the other end is closed. */
export type Ready = { readonly fd: number; readonly readable: boolean; readonly hangup: boolean };

export type Poller = {
  /** The callback runs with this descriptor as long as it has something to read (level-triggered). */
  readonly add: (fd: number) => void;
  /** Before the descriptor is closed. */
  readonly drop: (fd: number) => void;
  /** What is ready now, without waiting. */
  readonly ready: () => Ready[];
  readonly close: () => void;
};

// struct epoll_event is packed on x86-64 only.
const EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
const DATA_AT = process.arch === 'x64' ? 4 : 8;
const BATCH = 256;
const RETRY_MS = 50;

let pipeClass: PipeClass | undefined;

/** Node does not export libuv's Pipe; a socket made on a pipe has one. */
function pipeHandle(): PipeHandle {
  if (pipeClass === undefined) {
    const pipe = makePipe();
    const socket = new Socket({ fd: pipe.read, readable: true, writable: false });
    pipeClass = (socket as unknown as { _handle: PipeHandle })._handle.constructor as PipeClass;
    socket.destroy();
    closeFd(pipe.write);
  }
  return new pipeClass(0);
}

/** Calls back once when the descriptor has something to read (a pidfd: when the process has ended). Gives a function that gives up. */
export function onceReadable(fd: number, then: () => void): () => void {
  const handle = pipeHandle();
  checked('uv_pipe_open', `descriptor ${fd}`, handle.open(duplicate(fd)) === 0 ? 0 : -1);
  let open = true;
  const stop = (): void => {
    if (open) handle.close();
    open = false;
  };
  handle.onread = () => {
    if (!open) return;
    stop();
    then();
  };
  handle.readStart();
  return stop;
}

/** Makes a poller whose callback runs whenever something in it is ready. */
export function makePoller(wake: () => void): Poller {
  const epoll = checked('epoll_create1', 'poller', raw.epollCreate1(EPOLL_CLOEXEC));
  const events = Buffer.alloc(EVENT_BYTES * BATCH);
  const event = Buffer.alloc(EVENT_BYTES);
  let closed = false;
  let stop: (() => void) | undefined;
  const arm = (): void => {
    if (closed) return;
    try {
      stop = onceReadable(epoll, () => {
        wake();
        arm();
      });
    } catch (error) {
      if (!(error instanceof SysError && error.code === 'EMFILE')) throw error;
      setTimeout(arm, RETRY_MS); // no descriptor is free: what is ready waits
    }
  };
  arm();
  return {
    add: (fd) => {
      event.writeUInt32LE(EPOLLIN, 0);
      event.writeInt32LE(fd, DATA_AT);
      checked('epoll_ctl', `add ${fd}`, raw.epollCtl(epoll, EPOLL_CTL_ADD, fd, event));
    },
    drop: (fd) => {
      const result = orErrno(raw.epollCtl(epoll, EPOLL_CTL_DEL, fd, event));
      if (result < 0 && result !== -E.ENOENT) checked('epoll_ctl', `drop ${fd}`, -1);
    },
    ready: () => {
      const count = orErrno(raw.epollWait(epoll, events, BATCH, 0));
      const found: Ready[] = [];
      for (let i = 0; i < count; i++) {
        const mask = events.readUInt32LE(i * EVENT_BYTES);
        found.push({
          fd: events.readInt32LE(i * EVENT_BYTES + DATA_AT),
          readable: (mask & EPOLLIN) !== 0,
          hangup: (mask & ~EPOLLIN) !== 0,
        });
      }
      return found;
    },
    close: () => {
      closed = true;
      stop?.();
      closeFd(epoll);
    },
  };
}
