// `npm run bench [-- --smoke] [NAME …]`: Berth beside the peers that are installed here, in one run. Prints medians and ratios; gates nothing.
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { benches } from './benches.ts';
import { print } from './kit.ts';
import { openField } from './field.ts';

const words = process.argv.slice(2);
const smoke = words.includes('--smoke');
const names = words.filter((word) => !word.startsWith('-'));
const scratch = mkdtempSync(join(tmpdir(), 'berth-bench-'));
let [passed, failed, skipped] = [0, 0, 0];

const field = await openField(scratch);
process.stdout.write(`${availableParallelism()} processors; peers: ${field.peers.join(', ') || 'none'}\n\n`);
try {
  for (const [name, bench] of Object.entries(benches)) {
    if (names.length && !names.includes(name)) continue;
    try {
      const outcomes = await bench(field, smoke);
      for (const outcome of outcomes) process.stdout.write(`${print(outcome)}\n`);
      if (outcomes.length) passed++;
      else skipped++;
    } catch (error) {
      failed++;
      process.stdout.write(`${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    }
  }
} finally {
  await field.close();
  rmSync(scratch, { recursive: true, force: true });
}
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
process.exitCode = failed ? 1 : 0;
