// Makes dist/: one minified CommonJS bundle per program, the Node that runs them, koffi's native module. Skips what is up to date.
import { execFileSync } from 'node:child_process';
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
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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
      banner: { js: 'const __berthUrl="file://"+encodeURI(__filename).replace(/[?#]/g,encodeURIComponent);' },
      logLevel: 'error',
      metafile: true,
    }).then((result) => writeFileSync(join(out, `${name}.meta.json`), JSON.stringify(result.metafile)));
  }
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
  writeFileSync(
    join(fresh, 'berth'),
    `#!${join(dist, 'node')} --\nrequire('node:module').enableCompileCache(__dirname + '/cache');\nrequire('./cli.cjs');\n`,
  );
  for (const name of readdirSync(fresh))
    if (statSync(join(fresh, name)).isFile())
      chmodSync(join(fresh, name), name === 'berth' || name === 'node' ? 0o755 : 0o644);
  writeFileSync(join(fresh, '.stamp'), want);
  const old = `${dist}.old.${process.pid}`;
  if (existsSync(dist)) renameSync(dist, old);
  renameSync(fresh, dist);
  rmSync(old, { recursive: true, force: true });
  if (existsSync(join(dist, 'cli.cjs'))) execFileSync(join(dist, 'berth'), ['--version'], { stdio: 'ignore' }); // fills the compile cache
  return dist;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  enter(import.meta.url);
  await buildAll();
  process.stdout.write(`${join(dist, 'berth')}\n`);
}
