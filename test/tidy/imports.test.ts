// Who may import whom: the table in ARCHITECTURE.md, held against every file. Pure folders touch nothing of the outside.
import { expect, test } from 'vitest';
import { files, folderOf, importTable, imports, text } from './tree.ts';

const table = importTable();
const sources = files('.ts', 'core', 'helper', 'proto').filter((file) => !file.startsWith('proto/gen/'));
const PURE = [
  'core/base',
  'core/spec',
  'core/plan',
  'proto/abi',
  'proto/policy',
  'proto/porter',
  'helper/decode',
  'helper/lower',
];
const NPM: Record<string, string[]> = {
  koffi: ['core/sys', 'helper/sys'],
  '@grpc/grpc-js': ['core/link', 'core/rpc', 'core/porter', 'core/daemon'],
  '@bufbuild/protobuf': ['proto/gen', 'core/link', 'core/porter', 'helper/decode', 'proto/sign'],
  yaml: ['core/spec', 'core/cli'],
};

test('the table and the sources were seen', () => {
  expect(table.size).toBeGreaterThan(20);
  expect(sources.length).toBeGreaterThan(50);
  expect(sources.filter((file) => !table.has(folderOf(file)))).toEqual([]);
});

test('every import is allowed by the table', () => {
  const bad: string[] = [];
  for (const file of sources) {
    const folder = folderOf(file);
    const allowed = table.get(folder) ?? [];
    for (const { target, specifier, typeOnly } of imports(file)) {
      if (!target) continue;
      const to = folderOf(target);
      const ok =
        to === folder ||
        allowed.some((name) => name === to || (name.endsWith('/*') && to.startsWith(name.slice(0, -1))));
      if (!ok) bad.push(`${file} imports ${typeOnly ? 'type ' : ''}${specifier}`);
    }
  }
  expect(bad).toEqual([]);
});

test('npm packages are imported only where the list allows', () => {
  const bad: string[] = [];
  for (const file of sources)
    for (const { target, specifier } of imports(file)) {
      if (target || specifier.startsWith('node:')) continue;
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');
      if (!NPM[name]?.includes(folderOf(file))) bad.push(`${file} imports ${specifier}`);
    }
  expect(bad).toEqual([]);
});

test('pure folders use no node: module, no clock, no random, no global of the process', () => {
  const pure = sources.filter((file) => PURE.includes(folderOf(file)));
  expect(pure.length).toBeGreaterThan(20);
  const bad = pure.flatMap((file) => {
    const code = text(file)
      .replace(/\/\*[\s\S]*?\*\//g, '')
      .replace(/\/\/.*$/gm, '');
    const why = [
      /from 'node:(?!buffer)/,
      /\bDate\.now\(/,
      /\bnew Date\(\)/,
      /\bMath\.random\(/,
      /(?<!\/)\bprocess\.(env|pid|ppid|argv|cwd|exit|exitCode|getuid|hrtime|kill|on|once|platform|std\w+|uptime|version\w*)\b/,
      /\bperformance\./,
      /\brequire\(/,
    ].filter((pattern) => pattern.test(code));
    return why.map((pattern) => `${file}: ${pattern}`);
  });
  expect(bad).toEqual([]);
});

test('imports name the defining file with its ending, and no file only re-exports', () => {
  const bad = sources.flatMap((file) => [
    ...imports(file)
      .filter(({ target }) => target && !/\.(ts|wasm|json|cjs)$/.test(target))
      .map(({ specifier }) => `${file} imports ${specifier}`),
    ...(/^\s*export\s+(\*|\{[^}]*\})\s+from/m.test(text(file)) ? [`${file} re-exports`] : []),
    ...(/(^|\/)index\.ts$/.test(file) ? [`${file} is a barrel`] : []),
  ]);
  expect(bad).toEqual([]);
});
