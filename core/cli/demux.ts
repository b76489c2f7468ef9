// Takes apart a stream of frames: 8 bytes (stream number, three zeros, length big-endian), then the piece. Pieces go on as they arrive, not frame by frame.

export type Piece = { readonly stream: number; readonly bytes: Buffer };

/** Gives the pieces of each arriving buffer; heads may be cut anywhere. Throws on a stream number that no server sends. */
export function makeDemux(): (arrived: Buffer) => readonly Piece[] {
  let head = Buffer.alloc(0);
  let stream = 0;
  let left = 0;
  return (arrived) => {
    const pieces: Piece[] = [];
    let rest = arrived;
    while (rest.length > 0) {
      if (left > 0) {
        const bytes = rest.subarray(0, left);
        pieces.push({ stream, bytes });
        left -= bytes.length;
        rest = rest.subarray(bytes.length);
        continue;
      }
      const missing = 8 - head.length;
      head = Buffer.concat([head, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (head.length < 8) break;
      stream = head.readUInt8(0);
      left = head.readUInt32BE(4);
      if (stream > 3) throw new Error(`Unrecognized input header: ${stream}`);
      head = Buffer.alloc(0);
    }
    return pieces;
  };
}
