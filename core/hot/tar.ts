// The tar index the worker uses.
import { collectTar, type TarIndexer } from './tar-table.ts';
import { wasmTarCore } from './wasm.ts';

/** A streaming index of one tar; see TarIndexer. */
export function openTarIndex(): TarIndexer {
  return collectTar(wasmTarCore());
}
