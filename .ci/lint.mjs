// Types, lint and formatting of everything that is not generated.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { enter, root } from './ensure.mjs';

enter(import.meta.url);
const bin = (name) => join(root, 'node_modules/.bin', name);
const env = {
  ...process.env,
  PATH: `${join(root, 'node_modules', `node-linux-${process.arch}`, 'bin')}:${process.env.PATH}`,
};
const steps = [
  [bin('tsc'), ['-p', 'tsconfig.json']],
  [bin('biome'), ['lint', '--config-path=.ci/lint.json', '--diagnostic-level=error', ...process.argv.slice(2)]],
];
let failed = 0;
for (const [command, args] of steps)
  failed += spawnSync(command, args, { cwd: root, env, stdio: 'inherit' }).status === 0 ? 0 : 1;
process.exit(failed ? 1 : 0);
