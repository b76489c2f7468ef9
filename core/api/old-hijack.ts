// Clients of before API 1.15, and some small ones today, attach without asking for an upgrade: they get 200 and the bare streams. Node's HTTP
// server lets go of a connection only after an upgrade, so for these the first request's head gets the missing headers before node reads it.
import type { Socket } from 'node:net';

/** The header that says: answer 200, this client did not ask for 101. */
export const OLD_HIJACK = 'x-berth-old-hijack';

const HEAD_BYTES_MAX = 16_384;
const TAKEN_OVER = /^POST (\/v1\.\d+)?\/(containers\/[^ ?]+\/attach|exec\/[^ ?]+\/start)(\?[^ ]*)? HTTP\/1\.[01]\r\n/;

/** Reads the first head of a connection, puts it back, changed where needed, and calls on. One that ends before its head is whole is closed. */
export function sniffConnection(socket: Socket, then: () => void): void {
  let bytes = Buffer.alloc(0);
  const read = (): void => {
    const chunk: Buffer | null = socket.read();
    if (chunk !== null) bytes = Buffer.concat([bytes, chunk]);
    const whole = bytes.includes('\r\n\r\n') || bytes.length > HEAD_BYTES_MAX || !couldBeTakenOver(bytes);
    if (!whole || bytes.length === 0) return;
    socket.off('readable', read);
    socket.off('end', end);
    socket.unshift(completeHead(bytes));
    then();
  };
  const end = (): void => void socket.destroy();
  socket.on('readable', read);
  socket.on('end', end);
}

function couldBeTakenOver(bytes: Buffer): boolean {
  return 'POST '.startsWith(bytes.toString('latin1', 0, 5));
}

/** The head with upgrade headers, where a taken-over connection is asked for without them; else the same bytes. */
export function completeHead(bytes: Buffer): Buffer {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return bytes;
  const head = bytes.toString('latin1', 0, end + 2);
  const line = TAKEN_OVER.exec(head)?.[0];
  if (line === undefined || /\r\nupgrade[ \t]*:/i.test(head)) return bytes;
  const rest = head.slice(line.length).replace(/^connection[ \t]*:[^\r]*\r\n/gim, '');
  const added = `Connection: Upgrade\r\nUpgrade: tcp\r\n${OLD_HIJACK}: 1\r\n`;
  return Buffer.concat([Buffer.from(line + added + rest, 'latin1'), bytes.subarray(end + 2)]);
}
