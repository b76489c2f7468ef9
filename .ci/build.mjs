// Makes dist/: one minified CommonJS bundle per program, the Node that runs them, koffi's native module. Skips what is up to date.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { tarWasmDefine } from './build-asm.mjs';
import { enter, fail, node, root, writable } from './ensure.mjs';

const dist = join(root, 'dist');
const entries = {
  cli: 'core/cli/main.ts',
  engine: 'core/daemon/main.ts',
  helper: 'helper/serve/main.ts',
  porter: 'core/porter/main.ts',
  worker: 'core/layer/main.ts',
};

/** Every source file whose change makes dist stale. */
function sources(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && !e.parentPath.includes('asm/build'))
    .map((e) => join(e.parentPath, e.name))
    .sort();
}

function fingerprint() {
  const hash = createHash('sha256').update(dist); // the path is in berth's first line
  const files = [
    ...['core', 'helper', 'proto', 'asm'].flatMap(sources),
    join(root, 'package-lock.json'),
    fileURLToPath(import.meta.url),
    join(root, '.ci/warm.cjs'),
    join(root, 'package.json'),
  ];
  for (const file of files) hash.update(file.slice(root.length)).update('\0').update(readFileSync(file));
  return hash.digest('hex');
}

/** koffi picks its native module at run time by paths that a bundle does not have; ours lies beside the bundle. */
const koffiBeside = {
  name: 'koffi-beside',
  setup(build) {
    build.onResolve({ filter: /^koffi$/ }, () => ({ path: 'koffi', namespace: 'koffi-beside' }));
    build.onLoad({ filter: /.*/, namespace: 'koffi-beside' }, () => ({
      contents: 'module.exports = require("./koffi.node");',
      loader: 'js',
    }));
    build.onResolve({ filter: /koffi\.node$/ }, () => ({ path: './koffi.node', external: true }));
  },
};

function koffiNative() {
  const folder = join(root, 'node_modules', '@koromix', `koffi-linux-${process.arch}`);
  const found = [`linux_${process.arch}`].map((t) => join(folder, t, 'koffi.node')).find((f) => existsSync(f));
  if (!found) fail(`${folder}: no native module of koffi for this machine`);
  return found;
}

async function bundle(out) {
  const { build } = await import('esbuild');
  const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;
  for (const [name, entry] of Object.entries(entries)) {
    if (!existsSync(join(root, entry))) continue;
    const [before, after] = name === 'cli' ? WRAPPER : ['', ''];
    await build({
      entryPoints: [join(root, entry)],
      outfile: join(out, `${name}.cjs`),
      bundle: true,
      minify: true,
      keepNames: name !== 'cli',
      legalComments: 'none',
      platform: 'node',
      format: 'cjs',
      target: 'node24',
      plugins: [koffiBeside],
      define: {
        ...tarWasmDefine(),
        'import.meta.dirname': '__dirname',
        'import.meta.filename': '__filename',
        'import.meta.url': '__berthUrl',
        'process.env.BERTH_BUILD_VERSION': JSON.stringify(version),
      },
      banner: { js: `${before}const __berthUrl="file://"+encodeURI(__filename).replace(/[?#]/g,encodeURIComponent);` },
      footer: { js: after },
      logLevel: 'error',
      metafile: true,
    }).then((result) => writeFileSync(join(out, `${name}.meta.json`), JSON.stringify(result.metafile)));
  }
}

// The command line is one expression, so that a vm.Script can be made of the file as it is.
const WRAPPER = ['(function(require,module,__filename,__dirname){', '})'];

/** `berth`: cli.cjs with what V8 compiled of it beforehand. A Node that does not take that compiles again. Half the start beside Node's own. */
const launcher = (interpreter) => `#!${interpreter} --
const { existsSync, readFileSync } = require('node:fs');
const { Script } = require('node:vm');
const [file, cache] = [__dirname + '/cli.cjs', __dirname + '/cli.cache'];
const cachedData = existsSync(cache) ? readFileSync(cache) : undefined;
new Script(readFileSync(file, 'latin1'), { filename: file, cachedData }).runInThisContext()(require, module, file, __dirname);
`;

/** Runs the most usual commands against an engine that only answers, so that what they need is compiled. */
async function warmUp(dir) {
  const text = readFileSync(join(dir, 'cli.cjs'), 'latin1');
  if (/[\u0080-\uffff]/.test(text)) fail('cli.cjs: must be ASCII: berth reads it so');
  const socket = join(dir, 'warm.sock');
  const server = createServer((request, response) => {
    const isStart = request.url.endsWith('/start') && !request.url.startsWith('/exec');
    response.writeHead(isStart ? 204 : 200, { 'content-type': 'application/json' });
    response.end(
      request.url.startsWith('/containers/json') ? '[]' : '{"Id":"0","Warnings":[],"StatusCode":0,"ExitCode":0}',
    );
  });
  server.on('upgrade', (_, stream) =>
    stream.end('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'),
  );
  await new Promise((resolve) => server.listen(socket, resolve));
  const program = [join(root, '.ci/warm.cjs'), join(dir, 'cli.cjs'), join(dir, 'cli.cache'), '-H', `unix://${socket}`];
  for (const words of [['run', '--rm', 'x', 'true'], ['exec', 'x', 'true'], ['ps']])
    await promisify(execFile)(node, [...program, ...words], { timeout: 20_000 });
  server.close();
}

function linkOrCopy(from, to) {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to); // another file system
  }
}

/** Builds into dist/ and gives its path; does nothing when no source changed since. */
export async function buildAll() {
  const stamp = join(dist, '.stamp');
  const want = fingerprint();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === want) return dist;
  if (!writable(root))
    fail(
      `${dist}: out of date, and this directory is not writable for uid ${process.getuid()}: run npm run build as its owner`,
    );
  const fresh = join(root, `dist.${process.pid}`);
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { mode: 0o755 });
  await bundle(fresh);
  linkOrCopy(node, join(fresh, 'node'));
  copyFileSync(koffiNative(), join(fresh, 'koffi.node'));
  writeFileSync(join(fresh, 'package.json'), '{"type":"commonjs"}\n');
  writeFileSync(join(fresh, 'berth'), launcher(join(dist, 'node')));
  await warmUp(fresh);
  for (const name of readdirSync(fresh))
    if (statSync(join(fresh, name)).isFile())
      chmodSync(join(fresh, name), name === 'berth' || name === 'node' ? 0o755 : 0o644);
  writeFileSync(join(fresh, '.stamp'), want);
  const old = `${dist}.old.${process.pid}`;
  if (existsSync(dist)) renameSync(dist, old);
  renameSync(fresh, dist);
  rmSync(old, { recursive: true, force: true });
  return dist;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  enter(import.meta.url);
  await buildAll();
  process.stdout.write(`${join(dist, 'berth')}\n`);
}
