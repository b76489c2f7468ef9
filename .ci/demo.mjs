// `npm run demo`: installs and builds what is needed, starts a private instance, runs a container from an image made on the spot, explains it, and
// leaves nothing behind. As root through the helper, else rootless; where the kernel allows neither, the plan and what to change, and exit code 1.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enter } from './ensure.mjs';
import { buildAll } from './build.mjs';

const begun = performance.now();
const phases = [];

/** Runs a phase and notes how long it took. */
async function phase(name, run) {
  const from = performance.now();
  try {
    return await run();
  } finally {
    phases.push([name, performance.now() - from]);
  }
}

function title(text) {
  process.stdout.write(`\n== ${text}\n`);
}

enter(import.meta.url);
const dist = await phase('build', buildAll);
const state = mkdtempSync(join(tmpdir(), 'berth-demo-'));
chmodSync(state, process.getuid() === 0 ? 0o755 : 0o700);
const env = { ...process.env, BERTH_STATE_DIR: state };
delete env.BERTH_ENTERED;
const berth = (...args) => spawnSync(join(dist, 'berth'), args, { env, encoding: 'utf8', timeout: 60_000 });
const { demoArchive } = await import('./demo/image.ts');
const archive = join(state, 'demo.tar');
writeFileSync(archive, demoArchive(process.arch, 'berth-demo:1'));
const flags = ['--network', 'none', '--hostname', 'demo', '--read-only'];
let code = 0;

/** What can be shown where no container can run: the plan a usual machine would give, and what stands in the way. */
async function withoutContainer(up) {
  process.stdout.write(`${up.stdout}${up.stderr}`);
  title('the plan (not run: this kernel does not allow it here)');
  const { demoPlan } = await import('./demo/plan.ts');
  process.stdout.write(demoPlan());
  title('berth doctor');
  const doctor = berth('doctor');
  process.stdout.write(`${doctor.stdout}${doctor.stderr}`);
  return 1;
}

try {
  title('start keeper, helper and engine');
  const up = await phase('start', () => berth('system', 'up'));
  const hello = up.status === 0 ? JSON.parse(berth('system', 'status', '--json').stdout || '{}') : {};
  if (up.status !== 0) code = await withoutContainer(up);
  else {
    const rootless = process.getuid() !== 0;
    process.stdout.write(
      rootless
        ? 'rootless: the helper runs inside a user namespace of yours, without any privilege of root\n'
        : 'the helper runs as root, the engine as an ordinary user\n',
    );
    process.stdout.write(`keeper ${hello.keeper?.pid}, helper ${hello.helper?.pid}, engine ${hello.engine?.pid}\n`);
    const limits = rootless ? [] : ['--memory', '64m', '--pids-limit', '50'];
    const load = await phase('load the image', () => berth('load', '-i', archive));
    process.stdout.write(load.stdout + load.stderr);
    title('the plan');
    const explained = await phase('explain', () => berth('explain', 'run', ...flags, ...limits, 'berth-demo:1'));
    process.stdout.write(explained.stdout + explained.stderr);
    title("the container's own view");
    const run = await phase('run --rm', () => berth('run', '--rm', ...flags, ...limits, 'berth-demo:1'));
    process.stdout.write(run.stdout + run.stderr);
    if (load.status || explained.status || run.status) code = 1;
  }
} finally {
  const down = await phase('stop', () => berth('system', 'down'));
  if (down.status) process.stdout.write(down.stderr);
  rmSync(state, { recursive: true, force: true });
}
title('time');
for (const [name, ms] of phases) process.stdout.write(`${name.padEnd(16)} ${ms.toFixed(0).padStart(6)} ms\n`);
process.stdout.write(`${'all'.padEnd(16)} ${(performance.now() - begun).toFixed(0).padStart(6)} ms\n`);
if (code) process.stdout.write('\nthe container was not run: see above\n');
process.exitCode = code;
