// Loads asm/build/tar.wasm and gives it the interface of a TarCore. In a bundle the module is inside (see .ci/build-asm.mjs), so nothing is
// opened by name; from the sources it is read from asm/build.
import { readFileSync } from 'node:fs';
import { RECORD_BYTES } from '../spec/layer-index.ts';
import { FEED_BYTES, type TarCore } from './tar-table.ts';

declare const TAR_WASM_BASE64: string | undefined;

type Exports = {
  memory: { readonly buffer: ArrayBuffer };
  input(): number;
  recordsAt(): number;
  recordCount(): number;
  poolAt(): number;
  poolBytes(): number;
  taken(): void;
  error(): number;
  errorOffset(): number;
  errorName(): number;
  errorNameBytes(): number;
  feed(length: number): number;
  pass(bytes: number): void;
  finish(): void;
};

// The part of the global that is used here; its types come only with those of a browser.
type Wasm = { Module: new (bytes: Uint8Array) => object; Instance: new (module: object) => { exports: unknown } };
const { Module, Instance } = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly;

let compiled: object | undefined;

function tarModule(): object {
  if (compiled !== undefined) return compiled;
  const bytes =
    typeof TAR_WASM_BASE64 === 'string'
      ? Buffer.from(TAR_WASM_BASE64, 'base64')
      : readFileSync(new URL('../../asm/build/tar.wasm', import.meta.url));
  compiled = new Module(bytes);
  return compiled;
}

/** A fresh instance of the WebAssembly tar index; its memory is fixed, about 13 MiB. */
export function wasmTarCore(): TarCore {
  const wasm = new Instance(tarModule()).exports as Exports;
  const bytes = (at: number, length: number): Uint8Array => new Uint8Array(wasm.memory.buffer, at, length);
  const input = bytes(wasm.input(), FEED_BYTES);
  return {
    feed(chunk) {
      input.set(chunk);
      return wasm.feed(chunk.length);
    },
    pass: (count) => wasm.pass(count),
    finish: () => wasm.finish(),
    take() {
      const records = bytes(wasm.recordsAt(), wasm.recordCount() * RECORD_BYTES).slice();
      const pool = bytes(wasm.poolAt(), wasm.poolBytes()).slice();
      wasm.taken();
      return { records, pool };
    },
    failure() {
      const code = wasm.error();
      if (code === 0) return undefined;
      return { code, offset: wasm.errorOffset(), name: bytes(wasm.errorName(), wasm.errorNameBytes()).slice() };
    },
  };
}
