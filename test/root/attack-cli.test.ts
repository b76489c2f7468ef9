// The command line against what others prepare for who uses it: an engine of a user's that lies to root, and texts of images, registries and names that
// would drive a terminal.
import { spawn } from 'node:child_process';
import { chownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rootlessDir } from '../../core/cli/place.ts';
import { dockerSave25, makeImage, busyboxTar } from '../kit/image.ts';
import { built, IMAGE, type Instance, isAlive, loadBusybox, startInstance } from '../kit/instance.ts';
import { busybox, root, suite } from '../kit/need.ts';

const ADA = 41_021;
const ESC = '\u001b[31;5m\u0007\u009b2J\u202e';

suite('the command line', [root, built, busybox], () => {
  let berth: Instance;
  beforeAll(async () => {
    berth = await startInstance();
    await loadBusybox(berth);
  });
  afterAll(async () => {
    await berth[Symbol.asyncDispose]();
  });

  test('an engine that lies about its process has root end nothing else', async () => {
    await berth.ok(['ps'], { uid: ADA });
    await berth.kill(['engine'], ADA);
    const victim = spawn('sleep', ['1000'], { stdio: 'ignore' });
    const socket = join(berth.directory, 'run', `${ADA}`, 'docker.sock');
    const lies = `require('node:fs').rmSync(${JSON.stringify(socket)}, { force: true });
      require('node:http').createServer((request, answer) => answer.end(request.url.includes('status')
        ? JSON.stringify({ pid: ${victim.pid}, uid: ${ADA}, version: 'x' }) : '[]')).listen(${JSON.stringify(socket)}, () => console.log('lies'));`;
    const liar = spawn(process.execPath, ['-e', lies], { uid: ADA, gid: ADA, stdio: ['ignore', 'pipe', 'ignore'] });
    await once(liar.stdout, 'data');
    const helper = berth.pids().helper;
    try {
      const { code, err } = await berth.run(['system', 'down'], { env: { SUDO_UID: `${ADA}`, SUDO_GID: `${ADA}` } });
      expect([code, err]).toEqual([1, expect.stringMatching(/^system down: pid \d+, .* is not of uid 41021: .*\n$/)]);
      expect([isAlive(victim.pid ?? 0), isAlive(helper)]).toEqual([true, false]);
    } finally {
      victim.kill();
      liar.kill();
    }
    await berth.ok(['system', 'up']);
  });

  test("a state directory in /tmp that somebody else has made, or made a link of, is not the user's", () => {
    const uid = 41_000 + (process.pid % 999);
    const place = `/tmp/berth-${uid}`;
    const hers = join(berth.directory, 'hers');
    mkdirSync(hers);
    chownSync(hers, uid, uid);
    const find = (): string => rootlessDir({}, uid);
    expect(find()).toBe(place);
    for (const make of [
      () => symlinkSync(hers, place),
      () => mkdirSync(place, { mode: 0o777 }),
      () => writeFileSync(place, ''),
    ]) {
      make();
      expect(find).toThrow(`${place} belongs to uid 0, not to you`);
      rmSync(place, { recursive: true });
    }
    mkdirSync(place);
    chownSync(place, uid, uid);
    expect(find()).toBe(place);
    rmSync(place, { recursive: true });
  });

  const NOT_PRINTABLE = /[^\P{C}\n\t\r]/u;

  test('texts of images, registries and arguments reach no terminal as they are', async () => {
    const config = { Cmd: [`no-${ESC}-such`], Env: [`A=${ESC}`], Labels: { [`a${ESC}`]: ESC }, WorkingDir: `/w${ESC}` };
    const evil = makeImage({ layers: [busyboxTar()], config });
    const archive = dockerSave25([{ image: evil, tags: ['evil:1'] }]);
    await berth.ok(['load'], { input: archive });
    const registry = createServer((_, response) => {
      response.writeHead(500, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ errors: [{ code: 'UNKNOWN', message: ESC, detail: ESC }] }));
    });
    await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
    const { port } = registry.address() as { port: number };
    await berth.ok(['run', '-d', '--name', 'stays', '--label', `a=${ESC}`, IMAGE, 'sh', '-c', `sleep 1000 # ${ESC}`]);
    const commands = [
      ['run', '--rm', 'evil:1'],
      ['explain', 'run', 'evil:1'],
      ['inspect', 'evil:1', 'stays'],
      ['pull', `127.0.0.1:${port}/x:1`],
      ['ps', '-a', '--no-trunc'],
      ['events', '--since', '1h', '--until', '1s'],
      ['run', '--name', ESC, IMAGE, 'true'],
      ['run', '--rm', '-v', `/no${ESC}:/x`, IMAGE, 'true'],
      ['run', '--rm', `--${ESC}`, IMAGE],
      ['run', `im${ESC}`],
      ['exec', 'stays', `/no${ESC}`],
      ['exec', '-u', ESC, 'stays', 'true'],
      ['logs', ESC],
      ['--host', `unix:///no${ESC}`, 'ps'],
      ['ps', '--format', `{{.${ESC}}}`],
      ['load', '-i', `/no${ESC}`],
      [ESC],
    ];
    for (const words of commands) {
      const { out, err } = await berth.run(words);
      expect(out + err, words.join(' ')).not.toBe('');
      expect(out + err, words.join(' ')).not.toMatch(NOT_PRINTABLE);
    }
    registry.close();
    // What a program prints is its own affair, as with Docker.
    expect(await berth.ok(['run', '--rm', IMAGE, 'printf', ESC])).toBe(ESC);
    await berth.ok(['rm', '-f', 'stays']);
  }, 120_000);
});
