// Descriptors and messages that a user sends on his lane to hurt whoever takes them: what waits when it is closed, what is no ticket, what nobody reads. The
// other user is served meanwhile.
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { closeFd } from '../../core/sys/fd.ts';
import { connectUnix, sendFds } from '../../core/sys/socket.ts';
import { pidfdGetfd, pidfdOpen } from '../../helper/sys/processes.ts';
import { ADA, bindMount, compile, type Lab, MOUNTS, openLab, openOutside } from '../kit/attack.ts';
import { type Client, launchOf } from '../kit/helper.ts';
import { root, suite, tool } from '../kit/need.ts';

const WAIT_MS = 4000;

/** Sends, unless the lane was cut off. */
function send(lane: number, bytes: Uint8Array, fds: readonly number[]): void {
  try {
    sendFds(lane, bytes, fds);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EPIPE') throw error;
  }
}

suite('the lane', [root, tool('gcc')], () => {
  let lab: Lab;
  let layer: string;
  /** A connection of hers for each test: what she does to her lanes is her own loss. */
  let ada: Client;
  const outsider = compile('attack-outside');
  beforeAll(async () => {
    lab = await openLab();
    layer = await lab.layer();
  });
  beforeEach(async () => {
    ada = await lab.helper.client(ADA);
  });
  afterAll(async () => {
    outsider.remove();
    await lab[Symbol.asyncDispose]();
  });

  /** The other user is served, at once. */
  const expectServed = async (): Promise<void> => {
    const begun = performance.now();
    expect(await lab.inside(['uid'], { client: lab.bob })).toEqual(['uid=0:0']);
    expect(performance.now() - begun).toBeLessThan(WAIT_MS);
  };
  /** A lane of ADA's. The kernel notes the ids of the moment. */
  const laneOf = (uid: number): number => {
    process.setegid?.(uid);
    process.seteuid?.(uid);
    try {
      return connectUnix(join(lab.helper.directory, 'run/lane.sock'));
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
    }
  };
  const within = <T>(asked: Promise<T>): Promise<T | 'no answer'> =>
    Promise.race([asked, sleep(WAIT_MS).then(() => 'no answer' as const)]);
  /** Rules of the refusal of a request of ADA's that takes these descriptors. */
  const asked = async (fds: readonly number[]): Promise<unknown> => {
    const change = { mounts: [...MOUNTS, bindMount('/x')] };
    const value = launchOf([layer], ['/inside', 'uid'], change);
    return await within(ada.ask({ $case: 'launch', value }, { fds }).then(({ result }) => result.reasons[0]?.field));
  };

  test('a file that waits when it is closed: of one request, of many, of a lane that is left', async () => {
    const his = await openOutside(lab.helper, outsider.path);
    const pidfd = pidfdOpen(his.pid);
    const file = pidfdGetfd(pidfd, 41);
    try {
      await his.silence();
      for (let i = 0; i < 5; i++) expect(await asked([file])).toMatch(/^ticket/);
      await expectServed();
      for (let i = 0; i < 12; i++) {
        const lane = laneOf(ADA);
        for (let n = 0; n < 8; n++) send(lane, randomBytes(16), [file, file, file, file]);
        closeFd(lane);
      }
      await sleep(200);
      await expectServed();
    } finally {
      his.end();
      closeSync(pidfd);
      expect(() => closeSync(file)).toThrow(/ECONNABORTED|ENOTCONN/);
    }
    // When it is over she has a lane as before.
    const source = openSync('/usr/share', 'r');
    const allowed = async (): Promise<boolean> => {
      const again = await lab.helper.client(ADA);
      const change = { mounts: [...MOUNTS, bindMount('/x')] };
      const value = launchOf([layer], ['/inside', 'uid'], change);
      try {
        return (await again.ask({ $case: 'launch', value }, { fds: [source], dryRun: true })).result.allowed;
      } catch {
        return false; // the lane was cut off: too much is still being closed
      } finally {
        again.close();
      }
    };
    await expect.poll(allowed, { timeout: 10_000 }).toBe(true);
    closeSync(source);
  }, 60_000);

  test('sockets, the lane itself, pipes that are full, terminals, devices', async () => {
    const lane = laneOf(ADA);
    send(lane, randomBytes(16), [lane, lane]); // a circle
    closeFd(lane);
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const devices = ['/dev/null', '/dev/ptmx', '/dev/fuse'].map((path) => openSync(path, 'r+'));
    for (const one of [fd, ...devices]) expect(await asked([one])).toMatch(/^ticket\.descriptors/);
    for (const one of devices) closeSync(one);
    server.close();
    await expectServed();
  });

  test.each([
    ['nothing but descriptors', (lane: number, fd: number) => send(lane, Buffer.from('x'), [fd])],
    ['less than a ticket', (lane: number, fd: number) => send(lane, randomBytes(15), [fd])],
    ['more than a ticket', (lane: number, fd: number) => send(lane, randomBytes(4000), [fd])],
    [
      'the same ticket twice',
      (lane: number, fd: number) => {
        for (let i = 0; i < 2; i++) send(lane, Buffer.alloc(16, 7), [fd]);
      },
    ],
    [
      'as many tickets as it takes',
      (lane: number, fd: number) => {
        for (let i = 0; i < 100; i++) send(lane, randomBytes(16), [fd]);
      },
    ],
  ])('%s: the lane is cut off or not, and the next one works', async (_, attack) => {
    const fd = openSync('/usr/share', 'r');
    const lane = laneOf(ADA);
    attack(lane, fd);
    expect(await asked([fd])).toBe(undefined);
    await expectServed();
    closeFd(lane);
    closeSync(fd);
  });
});
