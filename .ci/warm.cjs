// Runs a command by the bundle of the command line and keeps what V8 has compiled of it by then, for `berth` to start from: `warm.cjs BUNDLE CACHE WORD …`.
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const { dirname } = require('node:path');
const { Script } = require('node:vm');

const [file, cache] = process.argv.splice(2, 2);
const cachedData = existsSync(cache) ? readFileSync(cache) : undefined;
const script = new Script(readFileSync(file, 'latin1'), { filename: file, cachedData });
process.on('exit', () => writeFileSync(cache, script.createCachedData()));
script.runInThisContext()(require, module, file, dirname(file));
