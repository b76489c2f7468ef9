// What is needed runs out: the disk of the state directory, the engine's descriptors, processes. Every failure is one line that says what and why,
// nothing is half made, what runs goes on, and when there is room again everything works, with every byte.
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fake, startFake } from '../kit/fake-registry.ts';
import { busyboxTar, dockerSave25, makeImage } from '../kit/image.ts';
import {
  built,
  IMAGE,
  type Instance,
  isAlive,
  type Leftovers,
  loadBusybox,
  publicFile,
  type Ran,
  settled,
  startInstance,
} from '../kit/instance.ts';
import { busybox, root, suite, tool } from '../kit/need.ts';
import { COUNTING_ON, expectCount } from '../kit/survival.ts';
import { tarOf } from '../kit/tar.ts';

const POLL = { timeout: 20_000, interval: 100 };
const DISK_MB = 64;
const ROOMY = ['--log-opt', 'max-size=500m'];

/** One sentence, no stack, and these words in it. */
function expectSentence({ code, err }: Ran, words: RegExp): void {
  expect(code, err).not.toBe(0);
  const text = err.replace(/\n\nRun 'berth .*/s, '').trim();
  expect(text).toMatch(words);
  expect(text.split('\n').length, text).toBe(1);
  expect(text).not.toMatch(/a bug|undefined|\[object/);
}

suite('a full disk', [root, built, busybox, tool('mkfs.ext4', 'e2fsprogs')], () => {
  const scratch = mkdtempSync(join(tmpdir(), 'berth-disk-'));
  const disk = join(scratch, 'd');
  const filler = join(disk, 'filler');
  let berth: Instance;
  let registry: Fake;
  let before: Leftovers;

  // Not compressible, so that it is as large in every form.
  const content = Buffer.from(Array.from({ length: 3 << 20 }, () => Math.random().toString(36).slice(2, 14)).join(''));
  const large = makeImage({ layers: [tarOf([{ name: 'large', content }])], compress: 'none' });
  const small = makeImage({ layers: [busyboxTar(), tarOf([{ name: 'small', content: 'x'.repeat(100_000) }])] });

  beforeAll(async () => {
    const image = join(scratch, 'disk.img');
    execFileSync('truncate', ['-s', `${DISK_MB}M`, image]);
    // No blocks that are root's alone: full is full for everybody.
    execFileSync('mkfs.ext4', ['-q', '-m', '0', image]);
    mkdirSync(disk);
    execFileSync('mount', ['-o', 'loop', image, disk]);
    execFileSync('chmod', ['755', scratch]);
    berth = await startInstance({ directory: disk, programs: join(scratch, 'dist') });
    await loadBusybox(berth);
    registry = await startFake({ 'large:1': large, 'small:1': small });
    await berth.ok(['run', '-d', '--name', 'witness', '--cpus', '0.15', ...ROOMY, IMAGE, 'sh', '-c', COUNTING_ON]);
    before = berth.leftovers();
  });
  afterAll(async () => {
    rmSync(filler, { force: true });
    await registry.close();
    await berth[Symbol.asyncDispose]();
    execFileSync('umount', ['-l', disk]);
    rmSync(scratch, { recursive: true });
  });

  /** Leaves no block. */
  const fill = (): void => {
    const fd = openSync(filler, 'a');
    const bytes = Buffer.alloc(1 << 20);
    for (let size = bytes.length; size >= 512; ) {
      try {
        writeSync(fd, bytes, 0, size);
      } catch {
        size /= 2;
      }
    }
    closeSync(fd);
  };
  const free = (): void => rmSync(filler);
  const freeKb = (): number => (statfsSync(disk).bavail * statfsSync(disk).bsize) / 1024;

  test('an image that does not fit: load and pull say so, and all of it is gone again', async () => {
    const archive = publicFile(scratch, 'large.tar', dockerSave25([{ image: large, tags: ['large:1'] }]));
    const had = freeKb();
    for (const words of [
      ['load', '-i', archive],
      ['pull', `${registry.host}/large:1`],
    ]) {
      expectSentence(await berth.run(words), /no space left on device/);
      expect(await settled(berth, before)).toEqual([]);
      // The witness prints on, and the audit grows.
      expect(had - freeKb(), words[0]).toBeLessThan(6000);
    }
    await berth.ok(['pull', `${registry.host}/small:1`]);
    await berth.ok(['rmi', `${registry.host}/small:1`]);
    expect(await settled(berth, before)).toEqual([]);
  });

  test('no block is free: nothing is begun, what runs goes on and can be stopped, and afterwards no byte is missing', async () => {
    const pid = Number(await berth.ok(['inspect', '-f', '{{.State.Pid}}', 'witness']));
    await berth.ok(['run', '-d', '--name', 'other', IMAGE, 'sleep', '1000']);
    fill();
    for (const words of [
      ['run', '-d', '--name', 'late', IMAGE, 'true'],
      ['create', '--name', 'late', IMAGE, 'true'],
      ['pull', `${registry.host}/small:1`],
    ])
      expectSentence(await berth.run(words), /no space left on device/);
    expect(await berth.ok(['ps', '-a', '--format', '{{.Names}}'])).toBe('other\nwitness');
    // Stopping works on a full disk.
    await berth.ok(['kill', 'other']);
    expect(await berth.ok(['wait', 'other'])).toBe('137');
    await berth.kill(['engine', 'helper']);
    const answered = await berth.run(['ps', '--format', '{{.Names}}']);
    if (answered.code === 0) expect(answered.out).toBe('witness\n');
    else expectSentence(answered, /no space left on device/);
    expect(isAlive(pid)).toBe(true);
    free();
    const names = (): Promise<string> => berth.run(['ps', '--format', '{{.Names}}']).then(({ out }) => out);
    await expect.poll(names, POLL).toBe('witness\n');
    expect(await berth.ok(['inspect', '-f', '{{.State.ExitCode}}', 'other'])).toBe('137');
    await berth.ok(['rm', 'other']);
    expect(await settled(berth, before)).toEqual([]);
    await berth.ok(['run', '--rm', IMAGE, 'true']);
    await berth.run(['exec', 'witness', 'touch', '/stop']);
    expect(await berth.ok(['wait', 'witness'])).toBe('42');
    expect(expectCount(await berth.ok(['logs', 'witness']))).toBeGreaterThan(1000);
    await berth.ok(['rm', 'witness']);
  }, 120_000);
});

suite('descriptors and processes', [root, built, busybox, tool('prlimit', 'util-linux')], () => {
  let berth: Instance;
  let before: Leftovers;
  beforeAll(async () => {
    berth = await startInstance();
    await loadBusybox(berth);
    await berth.ok(['run', '--rm', IMAGE, 'true']);
    before = berth.leftovers();
  });
  afterAll(async () => {
    await berth[Symbol.asyncDispose]();
  });
  const names = async (): Promise<string[]> => (await berth.ok(['ps', '-a', '--format', '{{.Names}}'])).split('\n');

  test('the engine has no descriptor left: what is over the limit fails with a sentence, the others run', async () => {
    await berth.kill(['engine']);
    await berth.ok(['ps'], { through: ['prlimit', '--nofile=52:52'] });
    const { engine } = berth.pids();
    const made: string[] = [];
    const failures: Ran[] = [];
    for (let i = 0; i < 14; i++) {
      const ran = await berth.run(['run', '-d', '--name', `fd-${i}`, IMAGE, 'sleep', '1000']);
      if (ran.code === 0) made.push(`fd-${i}`);
      else failures.push(ran);
    }
    expect(made.length).toBeGreaterThan(0);
    expect(failures.length).toBeGreaterThan(0);
    for (const ran of failures) expectSentence(ran, /too many open files|descriptor|closed the connection/);
    for (const name of made) expect(await berth.ok(['inspect', '-f', '{{.State.Running}}', name])).toBe('true');
    expect(berth.pids().engine).toBe(engine);
    // One after the other: several names are several connections at once.
    for (const name of made.slice(0, 4)) await berth.ok(['rm', '-f', name]);
    await berth.ok(['run', '--rm', IMAGE, 'true']);
    await berth.kill(['engine']);
    await berth.ok(['rm', '-f', ...(await names())]);
    expect(await settled(berth, before)).toEqual([]);
  }, 60_000);

  test('--pids-limit: the program inside is told, an exec fails with a sentence, and the container can be stopped', async () => {
    const fork = 'for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all; wait';
    await berth.ok(['run', '-d', '--name', 'forks', '--pids-limit', '5', IMAGE, 'sh', '-c', fork]);
    await expect.poll(async () => (await berth.run(['logs', 'forks'])).err, POLL).toMatch(/can't fork/);
    await berth.ok(['rm', '-f', 'forks']);
    await berth.ok(['run', '-d', '--name', 'full', '--pids-limit', '2', IMAGE, 'sleep', '1000']);
    expectSentence(await berth.run(['exec', 'full', 'true']), /limit of processes|resource|EAGAIN/i);
    await berth.ok(['rm', '-f', 'full']);
    expect(await settled(berth, before)).toEqual([]);
  });

  test('no process is free for the instance: nothing is half made, and later it works', async () => {
    const pidsMax = `/sys/fs/cgroup/pids/berth-${berth.slot()}/pids.max`;
    await berth.ok(['run', '-d', '--name', 'one', IMAGE, 'sleep', '1000']);
    writeFileSync(pidsMax, '1');
    try {
      expectSentence(await berth.run(['run', '-d', '--name', 'two', IMAGE, 'true']), /limit of processes/);
      expect(readFileSync(pidsMax, 'utf8')).toBe('1\n');
    } finally {
      writeFileSync(pidsMax, 'max');
    }
    expect(await names()).toEqual(['two', 'one']);
    expect(await berth.ok(['inspect', '-f', '{{.State.Status}}', 'two'])).toBe('created');
    await berth.ok(['start', 'two']);
    expect(await berth.ok(['wait', 'two'])).toBe('0');
    await berth.ok(['rm', '-f', 'one', 'two']);
    expect(await settled(berth, before)).toEqual([]);
  });
});
