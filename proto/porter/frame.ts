// What the porter (core/porter) and the helper say to each other: frames on a stream socket, and descriptors on a socket beside it.
//
// A frame is a header of 16 bytes, little-endian, and a body: kind (1 byte), flag (1), number of descriptors (2), id (4), the id it is of (4), length
// of the body (4). Descriptors lie in the other socket before the frame is sent: messages of the frame's id (4 bytes) with at most DESCRIPTORS_AT_ONCE
// each, the porter's for a frame always in one. Ids are the porter's choice, of connections and of calls each.

export const KIND = {
  /** A connection, with its descriptor: who is that? The answer is `peer`, its uid as `of`. */
  opened: 1,
  closed: 2,
  /** Calls, each of a connection. Of `hello` there is no body, of `watch` it is the envelope, of `do` the ticket's 16 bytes, if any, and the envelope. */
  hello: 3,
  do: 4,
  watch: 5,
  /** Nobody waits for this call any more. */
  cancel: 6,
  /** The porter listens. */
  ready: 7,
  peer: 16,
  /** The answer to a call; its descriptors are for the lane of the ticket. */
  reply: 17,
  event: 18,
  /** The call ends without an answer: gRPC's status as `of`, why as the body. */
  end: 19,
} as const;

/** Flag of `do`: no ticket came; one came, with these descriptors; one came with such as nobody should hold, and without descriptors. Of `reply`: something is for the lane. */
export const TICKET = { none: 0, whole: 1, strange: 2 } as const;
export const GIVEN = 1;

/** gRPC's numbers. */
export const STATUS = { permissionDenied: 7, resourceExhausted: 8, internal: 13, unavailable: 14 } as const;

export const TICKET_BYTES = 16;
export const ENVELOPE_BYTES_MAX = 128 * 1024;
export const DESCRIPTORS_AT_ONCE = 200;
/** Calls under way and connections open, of all users together: the porter refuses what is above, and is ended where it does not. */
export const CALLS_MAX = 4096;
export const CONNECTIONS_MAX = 8192;

export type Frame = {
  readonly kind: number;
  readonly flag: number;
  readonly descriptors: number;
  readonly id: number;
  readonly of: number;
  readonly body: Buffer;
};

const HEADER_BYTES = 16;
const BODY_BYTES_MAX = TICKET_BYTES + ENVELOPE_BYTES_MAX;

/** The frame's bytes; what is not said is zero or empty. */
export function encodeFrame(
  frame: Pick<Frame, 'kind' | 'id'> & { body?: Uint8Array } & Partial<Omit<Frame, 'body'>>,
): Buffer {
  const body = frame.body ?? new Uint8Array(0);
  const bytes = Buffer.alloc(HEADER_BYTES + body.length);
  bytes.writeUInt8(frame.kind, 0);
  bytes.writeUInt8(frame.flag ?? 0, 1);
  bytes.writeUInt16LE(frame.descriptors ?? 0, 2);
  bytes.writeUInt32LE(frame.id, 4);
  bytes.writeUInt32LE(frame.of ?? 0, 8);
  bytes.writeUInt32LE(body.length, 12);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** A function that takes what comes on the stream and calls back with each whole frame. It throws for one that is too long. */
export function frameReader(take: (frame: Frame) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= HEADER_BYTES) {
      const length = rest.readUInt32LE(12);
      if (length > BODY_BYTES_MAX) throw new Error(`a frame of ${length} bytes`);
      if (rest.length < HEADER_BYTES + length) return;
      const header = rest;
      rest = header.subarray(HEADER_BYTES + length);
      take({
        kind: header.readUInt8(0),
        flag: header.readUInt8(1),
        descriptors: header.readUInt16LE(2),
        id: header.readUInt32LE(4),
        of: header.readUInt32LE(8),
        body: header.subarray(HEADER_BYTES, HEADER_BYTES + length),
      });
    }
  };
}
