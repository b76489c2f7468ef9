// Unified cgroups and an old kernel: guest.sh in a virtual machine with Debian's 6.1 kernel, under emulation.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busyboxImage, dockerSave20 } from '../kit/image.ts';
import { busybox, root, suite, tool } from '../kit/need.ts';

const checkout = new URL('../..', import.meta.url).pathname;
const cache = '/var/cache/berth-test/vm';
const CHECKS = 19;

suite(
  'cgroup v2 and Linux 6.1',
  [root, tool('qemu-system-x86_64', 'qemu-system-x86'), busybox, tool('mke2fs', 'e2fsprogs'), tool('cpio')],
  () => {
    const extra = mkdtempSync(join(tmpdir(), 'berth-vm-'));
    let lines: string[] = [];
    beforeAll(() => {
      mkdirSync(cache, { recursive: true });
      writeFileSync(join(extra, 'bench.tar'), dockerSave20([{ image: busyboxImage(), tags: ['bench:1'] }]));
      const built = spawnSync(join(checkout, 'test/vm/build.sh'), [cache, join(checkout, 'dist'), extra], {
        encoding: 'utf8',
      });
      expect(built.status, built.stdout + built.stderr).toBe(0);
      const ran = spawnSync(join(checkout, 'test/vm/boot.sh'), [cache], {
        encoding: 'utf8',
        env: { ...process.env, VM_SECONDS: '400' },
      });
      lines = ran.stdout.split(/\r?\n/);
    }, 600_000);
    afterAll(() => rmSync(extra, { recursive: true, force: true }));

    test('every check in the guest passes', () => {
      const text = lines.join('\n');
      expect(text).toMatch(/UP .* controllers: .*memory/);
      expect(
        lines.filter((line) => line.startsWith('not ok')),
        text.slice(-6000),
      ).toEqual([]);
      expect(lines.filter((line) => line.startsWith('ok ')).length, text.slice(-6000)).toBeGreaterThanOrEqual(CHECKS);
      expect(text).toMatch(/^EXIT 0 /m);
    });
  },
);
