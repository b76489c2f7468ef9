// Starts the layer worker as the helper does: descriptors, no paths.
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { decodeResult, type WorkerResult } from '../../core/spec/layer-index.ts';

export type WorkerRun = { code: number | null; error: string; result: WorkerResult | undefined; ms: number };

/** Runs a mode. `files` gives a path and an open flag by descriptor; `scratch` is a directory for the result. BERTH_WORKER names a bundle to test instead of the sources. */
export function runWorker(
  args: readonly string[],
  files: Record<number, [path: string, flag: string]>,
  scratch: string,
): WorkerRun {
  const resultPath = join(scratch, `result.${process.pid}.${Math.random()}`);
  const wanted: Record<number, [string, string]> = { ...files, 6: [resultPath, 'w'] };
  const last = Math.max(...Object.keys(wanted).map(Number));
  const fds: number[] = [];
  const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'ignore', 'pipe'];
  for (let fd = 3; fd <= last; fd++) {
    const [path, flag] = wanted[fd] ?? ['/dev/null', 'r'];
    fds.push(openSync(path, flag));
    stdio.push(fds.at(-1) ?? 'ignore');
  }
  const started = performance.now();
  const program = process.env['BERTH_WORKER'] ?? 'core/layer/main.ts';
  const run = spawnSync(process.execPath, [program, ...args], { stdio, encoding: 'utf8', timeout: 100_000 });
  const ms = performance.now() - started;
  for (const fd of fds) closeSync(fd);
  const result = decodeResult(readFileSync(resultPath));
  rmSync(resultPath);
  return { code: run.status, error: run.stderr, result, ms };
}

/** A layer that import made: its tar and its index. */
export type LayerFiles = { tar: string; index: string };

/** Imports a blob into new files `at`.tar and `at`.idx. */
export function importBlob(blob: string, at: string, maxBytes = 0): WorkerRun & LayerFiles {
  const made = { tar: `${at}.tar`, index: `${at}.idx` };
  const run = runWorker(
    ['import', String(maxBytes)],
    { 3: [blob, 'r'], 4: [made.tar, 'w+'], 5: [made.index, 'w+'] },
    dirname(at),
  );
  return { ...run, ...made };
}

/** Merges layers, bottom first, into `at`.erofs and `at`.idx. */
export function mergeFiles(layers: readonly LayerFiles[], at: string): WorkerRun & { image: string; index: string } {
  const made = { image: `${at}.erofs`, index: `${at}.idx` };
  const indexes = Object.fromEntries(layers.map((layer, i) => [7 + i, [layer.index, 'r']]));
  const run = runWorker(
    ['merge', String(layers.length)],
    { 4: [made.image, 'w+'], 5: [made.index, 'w+'], ...indexes },
    dirname(at),
  );
  return { ...run, ...made };
}

/** Unpacks layers, bottom first, into the directory `at`, their merged index beside it. */
export function unpackFiles(
  layers: readonly LayerFiles[],
  at: string,
  options: readonly string[] = [],
): WorkerRun & { index: string } {
  const index = `${at}.unpacked.idx`;
  const inputs = [...layers.map((layer) => layer.index), ...layers.map((layer) => layer.tar)];
  const fds = Object.fromEntries(inputs.map((path, i) => [7 + i, [path, 'r']]));
  const run = runWorker(
    ['unpack', String(layers.length), ...options],
    { 4: [at, 'r'], 5: [index, 'w+'], ...fds },
    dirname(at),
  );
  return { ...run, index };
}
