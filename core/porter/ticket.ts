// The ticket in a request that nobody has looked at yet: field 6 of the payload, which is field 2 of the envelope. What is no envelope has none; the
// helper, who verifies it all, then says what is wrong with it.
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { TICKET_BYTES } from '../../proto/porter/frame.ts';

const PAYLOAD_FIELD = 2;
const TICKET_FIELD = 6;

/** The 16 bytes; undefined where there are none. */
export function ticketOf(envelope: Uint8Array): Uint8Array | undefined {
  try {
    const payload = fieldOf(envelope, PAYLOAD_FIELD);
    const ticket = payload && fieldOf(payload, TICKET_FIELD);
    return ticket?.length === TICKET_BYTES ? ticket : undefined;
  } catch {
    return undefined;
  }
}

/** The bytes of the first field of this number; fields ascend. */
function fieldOf(message: Uint8Array, wanted: number): Uint8Array | undefined {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === wanted && type === WireType.LengthDelimited) return reader.bytes();
    if (field >= wanted) return undefined;
    reader.skip(type, field);
  }
  return undefined;
}
