// A blob's bytes, decompressed while they are read: gzip (several members too), zstd (several frames too) or a plain tar.
// Big chunks: gunzip makes 340 MB/s with chunks from 128 KiB on, half of that with Node's default; it runs in a thread of its own, ahead of us.
import { createReadStream, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import { CHUNK_BYTES, FD } from './descriptor.ts';
import { LayerFault } from './fault.ts';
import { zstdFrames } from './zstd-frames.ts';

const INFLATE = { chunkSize: 1 << 18, readableHighWaterMark: 4 << 20 };

type Form = 'gzip' | 'zstd' | 'tar';
type Chunks = AsyncIterable<Uint8Array>;

/** What the first bytes say. Throws LayerFault for forms that are known but not read. */
export function sniff(head: Uint8Array): Form {
  const is = (...magic: number[]): boolean => magic.every((byte, i) => head[i] === byte);
  if (is(0x1f, 0x8b)) return 'gzip';
  if (is(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  if ((head[0] ?? 0) >> 4 === 5 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18) return 'zstd'; // a skippable frame first
  const other = is(0x42, 0x5a, 0x68) ? 'bzip2' : is(0xfd, 0x37, 0x7a, 0x58) ? 'xz' : undefined;
  if (other !== undefined)
    throw new LayerFault('input', `the layer is compressed with ${other}; gzip, zstd and plain tars can be read`);
  return 'tar';
}

/** Hands the blob's uncompressed bytes to `sink`, which may throw; gives how many bytes the blob has. */
export async function decompress(sink: (chunk: Uint8Array) => void): Promise<number> {
  const source = counted(withHead(blob()));
  const { form, chunks } = await source.open();
  if (form === 'tar') for await (const chunk of chunks) sink(chunk);
  else if (form === 'gzip') await inflate({ z: createGunzip(INFLATE), chunks, form }, sink);
  else await inflate({ z: createZstdDecompress(INFLATE), chunks: zstdFrames(chunks), form }, sink);
  return source.bytes();
}

/** Descriptor 3: a file from its beginning, or a pipe or socket in either mode, which only a Socket reads well. */
function blob(): Chunks {
  if (fstatSync(FD.blob).isFile())
    return createReadStream('', { fd: FD.blob, start: 0, autoClose: false, highWaterMark: CHUNK_BYTES });
  return new Socket({ fd: FD.blob, readable: true, writable: false });
}

/** Joins the first chunks until there is enough to sniff. */
async function* withHead(chunks: Chunks): Chunks {
  let head: Uint8Array | undefined = new Uint8Array(0);
  for await (const chunk of chunks) {
    if (head === undefined) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < 4) continue;
    yield head;
    head = undefined;
  }
  if (head !== undefined) yield head;
}

function counted(chunks: Chunks) {
  let bytes = 0;
  const iterator = chunks[Symbol.asyncIterator]();
  return {
    bytes: () => bytes,
    async open(): Promise<{ form: Form; chunks: Chunks }> {
      const first = await iterator.next();
      const head = first.done ? new Uint8Array(0) : first.value;
      async function* all(): Chunks {
        bytes += head.length;
        yield head;
        for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
          bytes += next.value.length;
          yield next.value;
        }
      }
      return { form: sniff(head), chunks: all() };
    },
  };
}

type Inflation = { z: Gunzip | ZstdDecompress; chunks: Chunks; form: Form };

async function inflate(inflation: Inflation, sink: (chunk: Uint8Array) => void): Promise<void> {
  const { z, form } = inflation;
  const failed: unknown[] = [];
  const feeding = feed(inflation).catch((error: unknown) => {
    failed.push(error);
    z.destroy(error as Error);
  });
  const output = z[Symbol.asyncIterator]();
  for (;;) {
    const next = await output.next().catch((error: unknown) => {
      throw damage(error, form, z.bytesWritten);
    });
    if (next.done) break;
    sink(next.value);
  }
  await feeding;
  if (failed.length > 0) throw failed[0];
}

function damage(error: unknown, form: Form, at: number): unknown {
  const { code = '', message = '' } = error as { code?: string; message?: string };
  if (code === 'Z_BUF_ERROR') return new LayerFault('input', `the layer's ${form} data are cut short`);
  if (code.startsWith('Z_') || code.startsWith('ZSTD_')) {
    return new LayerFault('input', `the layer's ${form} data are damaged near byte ${at}: ${message}`);
  }
  return error;
}

/** Writes the input; what the decompressor leaves after its end may only be zeros, the padding of tapes. */
async function feed(inflation: Inflation): Promise<void> {
  const { z, chunks, form } = inflation;
  const over = new Promise<void>((resolve) => void z.once('close', resolve).once('end', resolve));
  let fed = 0;
  let ended = false;
  for await (const chunk of chunks) {
    fed += chunk.length;
    if (!ended) await Promise.race([new Promise<void>((resolve) => void z.write(chunk, () => resolve())), over]);
    if (z.destroyed && z.errored !== null) return; // its error is the output's
    ended ||= z.bytesWritten < fed;
    if (!ended) continue;
    const rest = chunk.subarray(Math.max(0, chunk.length - (fed - z.bytesWritten)));
    if (rest.some((byte) => byte !== 0)) {
      throw new LayerFault(
        'input',
        `there are bytes after the end of the layer's ${form} data, from byte ${z.bytesWritten} on`,
      );
    }
  }
  if (!ended) z.end();
}
