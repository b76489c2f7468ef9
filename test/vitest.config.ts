// Test runner settings. Suites that start instances run one file after another (two cores, real kernel objects); pure ones side by side.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  cacheDir: join(tmpdir(), `berth-vitest-${process.getuid?.() ?? 0}`),
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: process.env['BERTH_SERIAL'] ? 1 : 2,
    fileParallelism: !process.env['BERTH_SERIAL'],
  },
});
