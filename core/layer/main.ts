// The layer worker: the only program that parses layers. It is started in a sandbox by the helper, with these descriptors and nothing else,
// opens no path by name (unpack loads libc and koffi.node first) and makes no connection. Modes and arguments (argv after the script):
//
//   import MAX_BYTES      3 blob (gzip, zstd or plain tar; file, pipe or socket)   4 tar   5 index   6 result
//   hash                  3 file                                                                     6 result
//   merge N               4 EROFS image   5 merged index   6 result   7 … 6+N layer indexes, bottom layer first
//   unpack N [OPTION…]    4 directory     5 merged index   6 result   7 … 6+N layer indexes, 7+N … 6+2N the layers' tars, bottom first
//
// Outputs 4 and 5 are new, empty regular files (4 of unpack: an empty directory) at position 0; 6 is a pipe or a file; 3 of hash, the
// indexes and the tars are regular files, read with pread(2). MAX_BYTES bounds the uncompressed tar, 0 for no bound. N is 1 to 256.
// Options of unpack: `rootless` records owners other than 0:0 in the extended attribute user.berth.owner ("UID:GID", files and directories)
// instead of chown(2), and implies `nodev`: device nodes are left out (counted in the result, as are file capabilities without CAP_SETFCAP). `top` makes only the top layer, in overlay
// form: whiteouts as character devices 0:0, opaque directories with user.overlay.opaque; directories it only implies are as those beneath.
//
// Memory: 120 MiB and 1 KiB (import) or 2 KiB (merge, unpack) for each file; V8 reserves much address space, so RLIMIT_AS does not fit.
//
// Exit code 0: everything is written and fsynced, and 6 holds a result with status ok (core/spec/layer-index.ts). Exit code 1: 6 holds a
// result with another status and standard error one line of at most 1 KiB; what is in 4 and 5 is to be thrown away. Anything else (a signal,
// another code, no result) is a crash and counts as a failure. Standard output is not used. There is no progress to report: whoever feeds
// descriptor 3 knows how much was taken.
import { writeSync } from 'node:fs';
import { unreachable } from '../base/brand.ts';
import { emptyResult, encodeResult, LIMITS, MODE, type Mode, type WorkerResult } from '../spec/layer-index.ts';
import { FD } from './descriptor.ts';
import { LayerFault, oneLine, statusOf } from './fault.ts';
import { hashFile } from './hash.ts';
import { mergeImage } from './image.ts';
import { importLayer } from './import.ts';

/** The whole number of argv[3] within bounds. */
function argument(most: number, least: number): number {
  const text = process.argv[3] ?? '';
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most))
    throw new LayerFault('internal', `argument "${text}" is not a number from ${least} to ${most}`);
  return value;
}

async function run(mode: Mode): Promise<WorkerResult> {
  switch (mode) {
    case 'hash':
      return hashFile();
    case 'import':
      return await importLayer(argument(Number.MAX_SAFE_INTEGER, 0));
    case 'merge':
      return mergeImage(argument(LIMITS.layers, 1));
    case 'unpack': {
      const { unpackImage, unpackOptions } = await import('./unpack.ts'); // with koffi, which the other modes need not load
      return unpackImage(argument(LIMITS.layers, 1), unpackOptions(process.argv.slice(4)));
    }
    default:
      return unreachable(mode);
  }
}

async function main(): Promise<void> {
  const mode = process.argv[2] as Mode;
  const known = Object.hasOwn(MODE, mode);
  process.exitCode = 1; // until it is known to be otherwise: an event loop that runs dry is no success
  try {
    if (!known) throw new LayerFault('internal', `unknown mode "${mode}"; known are ${Object.keys(MODE).join(', ')}`);
    writeSync(FD.result, encodeResult(await run(mode)));
    process.exitCode = 0;
  } catch (error) {
    const { status, message } = statusOf(error);
    writeSync(2, `berth layer ${mode}: ${oneLine(message)}\n`);
    if (known) writeSync(FD.result, encodeResult(emptyResult(mode, status)));
  }
}

void main().finally(() => process.exit()); // at once: a pipe that goes on is not waited for
