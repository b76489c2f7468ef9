// `npm run bench`: installs and builds what is needed, then measures beside the peers that are installed.
import { spawnSync } from 'node:child_process';
import { enter, node, root } from './ensure.mjs';
import { buildAll } from './build.mjs';

enter(import.meta.url);
await buildAll();
const done = spawnSync(node, ['test/bench/main.ts', ...process.argv.slice(2)], { cwd: root, stdio: 'inherit' });
process.exit(done.status ?? 1);
