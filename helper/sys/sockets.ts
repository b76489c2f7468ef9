// Unix sockets: passing descriptors, and who the peer is by the kernel's word. What Node's net cannot do.
import { closeSync } from 'node:fs';
import { O_CLOEXEC } from '../../proto/abi/fcntl.gen.ts';
import * as net from '../../proto/abi/socket.gen.ts';
import { EAGAIN } from '../../proto/abi/errno.gen.ts';
import { SysError } from './error.ts';
import { addressOf, checked, orErrno, raw, words } from './libc.ts';

export type Peer = { readonly pid: number; readonly uid: number; readonly gid: number };
export type Received = { readonly bytes: Buffer; readonly descriptors: number[] };

/** man 2 socketpair, unix, close-on-exec. */
export function socketpair(type: number): [number, number] {
  const pair = Buffer.alloc(8);
  checked('socketpair', '', raw.socketpair(net.AF_UNIX, type | O_CLOEXEC, 0, pair));
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}

/** Who is at the other end, as the kernel noted it when the connection was made. */
export function peerOf(fd: number): Peer {
  const value = Buffer.alloc(12);
  const length = Buffer.from([value.length, 0, 0, 0]);
  checked('getsockopt', 'net.SO_PEERCRED', raw.getsockopt(fd, net.SOL_SOCKET, net.SO_PEERCRED, value, length));
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** struct msghdr with one struct iovec, which must stay alive as long as the call. */
function header(data: Uint8Array, control: Uint8Array): { message: Buffer; vector: Buffer } {
  const vector = words(addressOf(data), data.length);
  const where = control.length === 0 ? 0 : addressOf(control);
  return { message: words(0, 0, addressOf(vector), 1, where, control.length, 0), vector };
}

/** Sends bytes with descriptors (at most 253) as one message without waiting; they stay open here. False: the other end's buffer is full. */
export function sendDescriptors(fd: number, bytes: Uint8Array, descriptors: readonly number[]): boolean {
  const length = net.CMSGHDR_BYTES + 4 * descriptors.length;
  const control = new Int32Array(descriptors.length === 0 ? 0 : ((length + 7) & ~7) / 4);
  if (control.length > 0) control.set([length, 0, net.SOL_SOCKET, net.SCM_RIGHTS, ...descriptors]);
  const { message, vector } = header(bytes, new Uint8Array(control.buffer));
  const sent = orErrno(raw.sendmsg(fd, message, net.MSG_NOSIGNAL | net.MSG_DONTWAIT));
  if (sent === -EAGAIN) return false;
  if (sent !== bytes.length || vector.length === 0)
    throw new SysError('sendmsg', `${bytes.length} bytes, ${descriptors.length} descriptors`, Math.max(-sent, 0));
  return true;
}

const received = Buffer.alloc(4096);
const ancillary = Buffer.alloc(net.CMSGHDR_BYTES + 4 * net.SCM_MAX_FD + 8);

/**
 * Takes what waits, up to `bytesMax` (at most 4,096), and the descriptors that came with it, without waiting. Undefined: nothing waits; no bytes: the
 * other end is closed. Descriptors that were cut off are an error, with the rest closed.
 */
export function receiveDescriptors(fd: number, bytesMax: number): Received | undefined {
  const { message, vector } = header(received.subarray(0, bytesMax), ancillary);
  const count = orErrno(raw.recvmsg(fd, message, net.MSG_DONTWAIT | net.MSG_CMSG_CLOEXEC));
  if (count === -EAGAIN) return undefined;
  if (count < 0 || vector.length === 0) throw new SysError('recvmsg', 'descriptors', -count);
  const descriptors: number[] = [];
  const end = Number(message.readBigUInt64LE(40));
  for (let at = 0; at + net.CMSGHDR_BYTES <= end; ) {
    const length = Number(ancillary.readBigUInt64LE(at));
    if (length < net.CMSGHDR_BYTES) break;
    const ours = ancillary.readInt32LE(at + 8) === net.SOL_SOCKET && ancillary.readInt32LE(at + 12) === net.SCM_RIGHTS;
    if (ours)
      for (let i = at + net.CMSGHDR_BYTES; i + 4 <= at + length; i += 4) descriptors.push(ancillary.readInt32LE(i));
    at += (length + 7) & ~7;
  }
  if ((message.readInt32LE(48) & net.MSG_CTRUNC) !== 0) {
    for (const one of descriptors) closeSync(one);
    throw new SysError('recvmsg', 'more descriptors than the limit of open files allows', 24);
  }
  return { bytes: Buffer.from(received.subarray(0, count)), descriptors };
}
