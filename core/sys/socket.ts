// Unix sockets on raw descriptors: what Node's net cannot do is to pass descriptors and to ask who the peer is.
import { POLLHUP } from '../../proto/abi/poll.gen.ts';
import {
  AF_UNIX,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SCM_MAX_FD,
  SCM_RIGHTS,
  SO_PASSRIGHTS,
  SO_PEERCRED,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SOL_SOCKET,
  UNIX_PATH_MAX,
} from '../../proto/abi/socket.gen.ts';
import { closeFd } from './fd.ts';
import { addressOf, checked, E, orErrno, raw, SysError } from './libc.ts';

export type Peer = { readonly pid: number; readonly uid: number; readonly gid: number };
export type Received = { readonly bytes: Uint8Array; readonly fds: number[] };

// struct msghdr and struct cmsghdr of a 64-bit kernel: man 2 recvmsg, man 3 cmsg.
const MSGHDR_BYTES = 56;
const CMSGHDR_BYTES = 16;
const RECEIVE_BYTES = 4096;

/** Connects a new stream socket (blocking, CLOEXEC) to a path under 108 bytes. */
export function connectUnix(path: string): number {
  const name = Buffer.from(path);
  if (name.length >= UNIX_PATH_MAX)
    throw new SysError('connect', `${path} (${name.length} bytes; a socket's path has at most 107)`, E.ENAMETOOLONG);
  const address = Buffer.alloc(2 + UNIX_PATH_MAX);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = checked('socket', path, raw.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  try {
    checked('connect', path, raw.connect(fd, address, address.length));
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}

/** Who is at the other end, as the kernel noted it when the connection was made. */
export function peerOf(fd: number): Peer {
  const value = Buffer.alloc(12);
  const length = Buffer.from([value.length, 0, 0, 0]);
  checked('getsockopt', 'SO_PEERCRED', raw.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length));
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** Nobody can send descriptors to this socket, or to one accepted on it. Only from Linux 6.16 on; before, they are dropped as the bytes are read. */
export function refuseFds(fd: number): void {
  const no = Buffer.alloc(4);
  const result = orErrno(raw.setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, no, no.length));
  if (result < 0 && result !== -E.ENOPROTOOPT) throw new SysError('setsockopt', 'SO_PASSRIGHTS', -result);
}

/** Whether the other end is closed for good, not only for writing: that, a stream's end does not tell. Does not wait. */
export function isHungUp(fd: number): boolean {
  const asked = Buffer.alloc(8);
  asked.writeInt32LE(fd, 0);
  checked('poll', `descriptor ${fd}`, raw.poll(asked, 1, 0));
  return (asked.readInt16LE(6) & POLLHUP) !== 0;
}

function header(data: Uint8Array, control: Uint8Array): { message: Buffer; vector: Buffer } {
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(addressOf(data), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const message = Buffer.alloc(MSGHDR_BYTES);
  message.writeBigUInt64LE(addressOf(vector), 16);
  message.writeBigUInt64LE(1n, 24);
  if (control.length > 0) {
    message.writeBigUInt64LE(addressOf(control), 32);
    message.writeBigUInt64LE(BigInt(control.length), 40);
  }
  return { message, vector };
}

/** Sends the bytes with the descriptors (at most 253) as one message; the descriptors stay open here. Bytes are small: the socket takes all or fails. */
export function sendFds(fd: number, bytes: Uint8Array, fds: readonly number[]): void {
  checked('sendmsg', `${bytes.length} bytes`, send(fd, { bytes, fds, flags: MSG_NOSIGNAL }));
}

/** The same without waiting; false when the other end's buffer is full. */
export function trySendFds(fd: number, bytes: Uint8Array, fds: readonly number[]): boolean {
  const result = orErrno(send(fd, { bytes, fds, flags: MSG_NOSIGNAL | MSG_DONTWAIT }));
  if (result < 0 && result !== -E.EAGAIN) throw new SysError('sendmsg', `${bytes.length} bytes`, -result);
  return result >= 0;
}

type Sent = { readonly bytes: Uint8Array; readonly fds: readonly number[]; readonly flags: number };

function send(fd: number, { bytes, fds, flags }: Sent): number | bigint {
  if (fds.length > SCM_MAX_FD) throw new SysError('sendmsg', `${fds.length} descriptors`, E.EINVAL);
  const length = CMSGHDR_BYTES + 4 * fds.length;
  const control = Buffer.alloc(fds.length === 0 ? 0 : (length + 7) & ~7);
  if (fds.length > 0) {
    control.writeBigUInt64LE(BigInt(length), 0);
    control.writeInt32LE(SOL_SOCKET, 8);
    control.writeInt32LE(SCM_RIGHTS, 12);
    for (const [i, one] of fds.entries()) control.writeInt32LE(one, CMSGHDR_BYTES + 4 * i);
  }
  const { message, vector } = header(bytes, control);
  const sent = raw.sendmsg(fd, message, flags);
  if (Number(sent) >= 0 && (Number(sent) !== bytes.length || vector.length === 0))
    throw new SysError('sendmsg', `${sent} of ${bytes.length} bytes`, E.EIO);
  return sent;
}

const received = Buffer.alloc(RECEIVE_BYTES);
const ancillary = Buffer.alloc(CMSGHDR_BYTES + 4 * SCM_MAX_FD + 8);

/**
 * Takes what waits on a stream socket, up to `bytesMax` (at most 4,096), and the descriptors that came with it, without waiting. Undefined:
 * nothing waits; no bytes: the other end is closed. Ask for one message's bytes, or descriptors cannot be told to which message they belong.
 * Where the limit of open files cut some off it throws, and the rest is given to `drop`.
 */
export function receiveFds(fd: number, bytesMax: number, drop: (fd: number) => void = closeFd): Received | undefined {
  const { message, vector } = header(received.subarray(0, bytesMax), ancillary);
  const count = orErrno(raw.recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
  if (count === -E.EAGAIN) return undefined;
  if (count < 0 || vector.length === 0) throw new SysError('recvmsg', 'descriptors', -count);
  const fds: number[] = [];
  const end = Number(message.readBigUInt64LE(40));
  for (let at = 0; at + CMSGHDR_BYTES <= end; ) {
    const length = Number(ancillary.readBigUInt64LE(at));
    if (length < CMSGHDR_BYTES) break;
    const ours = ancillary.readInt32LE(at + 8) === SOL_SOCKET && ancillary.readInt32LE(at + 12) === SCM_RIGHTS;
    if (ours) for (let i = at + CMSGHDR_BYTES; i + 4 <= at + length; i += 4) fds.push(ancillary.readInt32LE(i));
    at += (length + 7) & ~7;
  }
  if ((message.readInt32LE(48) & MSG_CTRUNC) !== 0) {
    for (const one of fds) drop(one);
    throw new SysError('recvmsg', 'descriptors were cut off: the limit of open files is reached', E.EMFILE);
  }
  return { bytes: Uint8Array.prototype.slice.call(received, 0, count), fds };
}
