// Cuts zstd data at the ends of its frames. Node's decompressor stops silently when a frame ends within what it is given, and images in
// the zstd:chunked form have a frame per file. Source: RFC 8878, sections 3.1.1 and 3.1.2.
import { LayerFault } from './fault.ts';

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;

/** What the next bytes are, how many are needed to know, and how many to pass over first. */
type State = {
  pass: number;
  next: 'magic' | 'skip' | 'header' | 'block';
  checksum: boolean;
  ends: boolean;
  need: number;
  held: number[];
};

/** The same bytes, in chunks of which none goes on after a frame's end. Throws LayerFault when no frame begins where one should. */
export async function* zstdFrames(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const state: State = { pass: 0, next: 'magic', checksum: false, ends: false, need: 4, held: [] };
  let done = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = 0; at < chunk.length; ) {
      if (state.pass > 0) {
        const step = Math.min(state.pass, chunk.length - at);
        state.pass -= step;
        at += step;
      } else {
        state.held.push(chunk[at] ?? 0);
        at++;
        if (state.held.length === state.need) advance(state, done + at);
      }
      if (state.pass === 0 && state.ends) {
        state.ends = false;
        yield chunk.subarray(from, at);
        from = at;
      }
    }
    if (from < chunk.length) yield chunk.subarray(from);
    done += chunk.length;
  }
}

function advance(state: State, at: number): void {
  const value = state.held.reduceRight((sum, byte) => sum * 256 + byte, 0);
  state.held = [];
  if (state.next === 'magic') magic(state, value, at);
  else if (state.next === 'skip') frameEnd(state, value);
  else if (state.next === 'header') header(state, value);
  else block(state, value);
}

function magic(state: State, value: number, at: number): void {
  const skippable = value - (value % 16) === SKIPPABLE;
  if (value !== MAGIC && !skippable) {
    throw new LayerFault('input', `there are bytes after the end of the layer's zstd data, near byte ${at}`);
  }
  state.next = skippable ? 'skip' : 'header';
  state.need = skippable ? 4 : 1;
}

function header(state: State, value: number): void {
  const single = (value & 0x20) !== 0;
  const dictionary = [0, 1, 2, 4][value & 3] ?? 0;
  const content = [single ? 1 : 0, 2, 4, 8][value >> 6] ?? 0;
  state.checksum = (value & 4) !== 0;
  state.pass = (single ? 0 : 1) + dictionary + content;
  state.next = 'block';
  state.need = 3;
}

function block(state: State, value: number): void {
  const size = (value >> 1) % 4 === 1 ? 1 : value >> 3; // a run is one byte, however long
  if (value & 1) frameEnd(state, size + (state.checksum ? 4 : 0));
  else state.pass = size;
}

function frameEnd(state: State, pass: number): void {
  state.pass = pass;
  state.ends = true;
  state.next = 'magic';
  state.need = 4;
}
