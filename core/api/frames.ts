// Standard output and error in one stream: 8 bytes (stream number, three zeros, length big-endian) before each piece.
// Source: moby api/swagger.yaml, ContainerAttach, "Stream format".
import type { Chunk, StreamNumber } from '../engine/engine.ts';

export const RAW_STREAM = 'application/vnd.docker.raw-stream';
export const MULTIPLEXED_STREAM = 'application/vnd.docker.multiplexed-stream';

/** A piece with its head, in one buffer. */
export function frame(stream: StreamNumber, bytes: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(8 + bytes.length);
  framed.writeUInt32BE(stream << 24, 0);
  framed.writeUInt32BE(bytes.length, 4);
  framed.set(bytes, 8);
  return framed;
}

/** The bytes of one chunk as they go to the client: raw with a tty, framed without. */
export function onWire(chunk: Chunk, tty: boolean): Uint8Array {
  return tty ? chunk.bytes : frame(chunk.stream, chunk.bytes);
}

/** The type of a stream's answer. Clients before 1.42 know only the raw one. */
export function streamType(tty: boolean, minor: number): string {
  return tty || minor < 42 ? RAW_STREAM : MULTIPLEXED_STREAM;
}
