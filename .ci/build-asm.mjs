// Builds asm/build/tar.wasm from asm/*.ts. Does nothing when sources, compiler and options are those of the last build.
// Run by itself, or import buildAsm() and tarWasmDefine() (what esbuild needs to put the module into dist/worker.cjs).
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'asm/build/tar.wasm');
const stamp = join(root, 'asm/build/tar.stamp');
const options = ['-O3', '--runtime', 'stub', '--enable', 'simd', '--noAssert', '--maximumMemory', '256'];

function wanted() {
  const hash = createHash('sha256').update(options.join(' '));
  hash.update(JSON.parse(readFileSync(join(root, 'node_modules/assemblyscript/package.json'), 'utf8')).version);
  for (const name of readdirSync(join(root, 'asm')).sort()) {
    if (name.endsWith('.ts')) hash.update(`\0${name}\0`).update(readFileSync(join(root, 'asm', name)));
  }
  return hash.digest('hex');
}

function read(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  }
}

/** Builds when needed; true if something was built. */
export function buildAsm() {
  const key = wanted();
  const built = read(out);
  if (built !== undefined && String(read(stamp)) === `${key} ${createHash('sha256').update(built).digest('hex')}`)
    return false;
  mkdirSync(join(root, 'asm/build'), { recursive: true });
  const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
  const temporary = `${out}.${process.pid}`;
  const done = spawnSync(process.execPath, [asc, 'asm/tar.ts', '-o', temporary, ...options], {
    cwd: root,
    encoding: 'utf8',
  });
  if (done.status !== 0) throw new Error(`asc failed:\n${done.stdout}${done.stderr}`);
  const bytes = readFileSync(temporary);
  writeFileSync(`${stamp}.${process.pid}`, `${key} ${createHash('sha256').update(bytes).digest('hex')}`);
  renameSync(temporary, out);
  renameSync(`${stamp}.${process.pid}`, stamp);
  return true;
}

/** esbuild's `define` for core/hot/wasm.ts: with it the bundle holds the module and opens no file. */
export function tarWasmDefine() {
  buildAsm();
  return { TAR_WASM_BASE64: JSON.stringify(readFileSync(out).toString('base64')) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(buildAsm() ? 'asm: built tar.wasm\n' : 'asm: up to date\n');
}
