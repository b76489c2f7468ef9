// `npm test`: installs and builds what is needed, then runs every suite that can run here; the others say why not. Arguments choose suites.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enter, node, root } from './ensure.mjs';
import { buildAll } from './build.mjs';

// Side by side where nothing but memory is touched; one file after another where instances are started.
const suites = {
  quick: ['test/tidy', 'test/unit', 'test/golden', 'test/fuzz'],
  kernel: ['test/root', 'test/rootless'],
};

function vitest(folders, serial, report) {
  const present = folders.filter((folder) => existsSync(join(root, folder)));
  if (!present.length) return { passed: 0, failed: 0, skipped: 0 };
  const env = { ...process.env, CI: '1', ...(serial ? { BERTH_SERIAL: '1' } : {}) };
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    'test/vitest.config.ts',
    '--configLoader=runner', // the other one writes into node_modules, which may be somebody else's
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...present.map((f) => (f.endsWith('.ts') ? f : `${f}/`)),
  ];
  const done = spawnSync(node, args, { cwd: root, env, stdio: 'inherit' });
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: 0 };
  const result = JSON.parse(readFileSync(report, 'utf8'));
  rmSync(report);
  const brokenFiles = result.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((t) => t.status === 'failed'),
  ).length;
  const failed = result.numFailedTests + brokenFiles;
  return {
    passed: result.numPassedTests,
    failed: failed || (done.status === 0 ? 0 : 1),
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

enter(import.meta.url);
await buildAll();
const asked = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), 'berth-test-'));
const runs = asked.length
  ? [vitest(asked, true, join(scratch, 'report.json'))]
  : Object.entries(suites).map(([name, folders]) => vitest(folders, name === 'kernel', join(scratch, `${name}.json`)));
rmSync(scratch, { recursive: true });
const sum = (key) => runs.reduce((total, run) => total + run[key], 0);
process.stdout.write(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped\n`);
process.exit(sum('failed') || !sum('passed') ? 1 : 0);
