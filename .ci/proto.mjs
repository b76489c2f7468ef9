// Lints proto/berth and generates proto/gen; `--check` compares instead of writing, `--breaking REV` compares with an older revision.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { enter, node, root } from './ensure.mjs';

enter(import.meta.url);
const env = {
  ...process.env,
  PATH: `${join(root, 'node_modules/.bin')}:${dirname(node)}:${process.env.PATH}`,
  HOME: process.env.HOME ?? '/tmp',
};
const buf = (args) => {
  const done = spawnSync(join(root, 'node_modules/.bin/buf'), args, {
    cwd: join(root, 'proto'),
    env,
    stdio: 'inherit',
  });
  if (done.status !== 0) process.exit(done.status ?? 1);
};
const at = process.argv.indexOf('--output');
buf(['lint']);
buf(['generate', ...(at > 0 ? ['--output', process.argv[at + 1]] : [])]);
