// What every command of package.json does first, in plain JavaScript for any Node from 18 on: install from the lock file when it changed,
// then go on under the Node that came with the packages. Nothing else needs to be on the machine.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const node = join(root, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
const stamp = join(root, 'node_modules', '.berth-lock');

/** Whether this process may write to a path; false also where it does not exist. */
export function writable(path) {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Ends with one line on standard error. */
export function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** A directory for npm's cache that this uid can write: a made-up uid has no home. */
function npmCache() {
  const home = process.env.HOME;
  if (process.env.npm_config_cache && writable(process.env.npm_config_cache)) return process.env.npm_config_cache;
  if (home && writable(home) && home !== '/') return join(home, '.npm');
  const own = join(tmpdir(), `berth-npm-${process.getuid()}`);
  mkdirSync(own, { recursive: true, mode: 0o700 });
  return own;
}

/** Runs `npm ci` if package-lock.json is not what was installed last. */
export function install() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock && existsSync(node)) return;
  if (!writable(root))
    fail(
      `${root}: packages are not installed and this directory is not writable for uid ${process.getuid()}: run npm ci as its owner`,
    );
  process.stdout.write('installing packages from package-lock.json ...\n');
  const env = { ...process.env, npm_config_cache: npmCache(), npm_config_loglevel: 'error' };
  const done = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (done.status !== 0) fail('npm ci failed: see its message above');
  if (!existsSync(node)) fail(`no Node for linux/${process.arch} among the packages: only x64 and arm64 are supported`);
  writeFileSync(stamp, lock);
}

/** Installs, then runs `script` again under the packaged Node unless it already does; gives back only in the latter case. */
export function enter(scriptUrl) {
  install();
  if (process.env.BERTH_ENTERED === '1' && process.version.startsWith('v24.')) return;
  const done = spawnSync(node, [fileURLToPath(scriptUrl), ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, BERTH_ENTERED: '1' },
  });
  process.exit(done.status ?? 1);
}
