// What is generated or copied from elsewhere equals its source: proto/gen from proto/berth, proto/abi from the kernel's headers, the helper's libc list.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { suite, tool } from '../kit/need.ts';
import { files, root, text } from './tree.ts';

const env = {
  ...process.env,
  PATH: `${join(root, 'node_modules/.bin')}:${dirname(process.execPath)}:${process.env['PATH']}`,
  HOME: tmpdir(),
};

test('proto/gen is what buf generates from proto/berth, and buf lint is content', () => {
  const out = mkdtempSync(join(tmpdir(), 'berth-gen-'));
  try {
    const buf = join(root, 'node_modules/.bin/buf');
    execFileSync(buf, ['lint'], { cwd: join(root, 'proto'), env });
    execFileSync(buf, ['generate', '--output', out], { cwd: join(root, 'proto'), env });
    const made = readdirSync(join(out, 'gen'), { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.ts'),
    );
    expect(made.length).toBeGreaterThanOrEqual(4);
    expect(files('.ts', 'proto/gen').map((file) => file.slice('proto/gen/'.length))).toEqual(made.sort());
    for (const name of made)
      expect(readFileSync(join(out, 'gen', name), 'utf8') === text(`proto/gen/${name}`), name).toBe(true);
  } finally {
    rmSync(out, { recursive: true });
  }
}, 120_000);

suite(
  'kernel numbers',
  [
    tool('cc', 'gcc'),
    {
      reason: 'needs kernel headers (Debian package linux-libc-dev)',
      met: () => existsSync('/usr/include/linux/sched.h'),
    },
  ],
  () => {
    test('proto/abi equals the headers it cites', () => {
      const wanted: [string, bigint][] = [];
      for (const file of files('.ts', 'proto/abi'))
        for (const [, name = '', value = ''] of text(file).matchAll(
          /^export const ([A-Z][A-Z0-9_a-z]*) = (-?(?:0x[0-9a-fA-F_]+|0o[0-7]+|[0-9][0-9_]*)n?);/gm,
        ))
          wanted.push([
            name,
            BigInt(value.replace(/[n_]/g, '').replace(/^-/, '')) * (value.startsWith('-') ? -1n : 1n),
          ]);
      expect(wanted.length).toBeGreaterThan(60);
      const folder = mkdtempSync(join(tmpdir(), 'berth-abi-'));
      try {
        const headers = [
          'linux/sched.h',
          'linux/mount.h',
          'linux/openat2.h',
          'linux/seccomp.h',
          'linux/filter.h',
          'linux/audit.h',
          'linux/prctl.h',
          'linux/capability.h',
          'linux/magic.h',
          'linux/fcntl.h',
          'asm/unistd.h',
          'asm/ioctls.h',
          'linux/close_range.h',
          'linux/memfd.h',
          'linux/wait.h',
          'asm/resource.h',
          'linux/if.h',
          'linux/nsfs.h',
        ].filter(
          (name) =>
            existsSync(`/usr/include/${name}`) ||
            existsSync(`/usr/include/x86_64-linux-gnu/${name}`) ||
            existsSync(`/usr/include/aarch64-linux-gnu/${name}`),
        );
        const source = [
          ...headers.map((name) => `#include <${name}>`),
          '#include <stdio.h>',
          'int main(void) {',
          ...wanted.map(([name]) => `#ifdef ${name}\nprintf("${name} %lld\\n", (long long)(${name}));\n#endif`),
          'return 0; }',
        ].join('\n');
        writeFileSync(join(folder, 'abi.c'), source);
        execFileSync('cc', ['-w', '-o', join(folder, 'abi'), join(folder, 'abi.c')]);
        const known = new Map(
          execFileSync(join(folder, 'abi'), { encoding: 'utf8' })
            .trim()
            .split('\n')
            .map((line) => [line.split(' ')[0] ?? '', BigInt(line.split(' ')[1] ?? 0)]),
        );
        expect(known.size).toBeGreaterThan(40);
        // 32-bit flags print as negative numbers in C; compare modulo 2^64 and 2^32.
        const differs = wanted.filter(
          ([name, value]) =>
            known.has(name) &&
            BigInt.asUintN(64, known.get(name) ?? 0n) !== BigInt.asUintN(64, value) &&
            BigInt.asUintN(32, known.get(name) ?? 0n) !== value,
        );
        expect(differs.filter(([name]) => !name.startsWith('SYS_') || process.arch === 'x64')).toEqual([]);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  },
);

/** The part of ARCHITECTURE.md that lists calls. */
const calls = text('ARCHITECTURE.md').split('## Calls of the helper')[1]?.split('\n## ')[0] ?? '';

test('the libc functions of the helper are those that ARCHITECTURE.md lists', () => {
  const declared = files('.ts', 'helper/sys').flatMap((file) =>
    [...text(file).matchAll(/^\s*(\w+): libc\.func\(/gm)].map(([, name = '']) =>
      name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`),
    ),
  );
  const listed = [...calls.matchAll(/^\| `([a-z_0-9]+)` \|/gm)].map(([, name = '']) => name);
  expect(declared.length).toBeGreaterThan(10);
  expect(declared.sort()).toEqual(listed.sort());
  expect(
    files('.ts', 'helper').filter((file) => !file.startsWith('helper/sys/libc.ts') && /\.func\(/.test(text(file))),
  ).toEqual([]);
});

test("the launcher's calls are those that ARCHITECTURE.md lists", () => {
  const used = files('.ts', 'helper/lower', 'helper/launch').flatMap((file) =>
    [...text(file).matchAll(/\bSYS_([a-z0-9_]+)/g)].map(([, name = '']) => name),
  );
  const listed = [...(calls.split('no others')[1] ?? '').matchAll(/`([a-z0-9_]+)`/g)].map(([, name = '']) => name);
  expect(used.length).toBeGreaterThan(30);
  expect([...new Set(used)].sort()).toEqual(listed.sort());
});

test('types and lint', () => {
  const done = spawnSync(process.execPath, [join(root, '.ci/lint.mjs')], {
    cwd: root,
    encoding: 'utf8',
    env: { ...env, BERTH_ENTERED: '1' },
  });
  expect(done.status, `${done.stdout}${done.stderr}`.slice(-4000)).toBe(0);
}, 180_000);
