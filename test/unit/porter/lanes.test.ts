// The lanes by themselves, over real sockets, and a `closings` that only counts.
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Lanes, newLanes } from '../../../core/porter/lanes.ts';
import { connectUnix, receiveFds, sendFds } from '../../../core/sys/socket.ts';

const ADA = 1001;
const BOB = 1002;

let directory: string;
let server: Server;
let accepted: { fd: number; socket: Socket }[];
let many: boolean;
let lanes: Lanes;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'berth-lanes-'));
  [accepted, many] = [[], false];
  server = createServer({ pauseOnConnect: true }, (socket) => {
    accepted.push({ fd: (socket as unknown as { _handle: { fd: number } })._handle.fd, socket });
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 's'), resolve));
  const closings = {
    closeStranger: (_: number, fd: number) => closeSync(fd),
    closeQuiet: async (fds: readonly number[]) => {
      for (const fd of fds) closeSync(fd);
    },
    areMany: () => many,
    open: () => 0,
  };
  lanes = newLanes({ closings, isQuiet: () => true, fdsMax: 1000 });
});
afterEach(() => {
  for (const { socket } of accepted) socket.destroy();
  server.close();
  rmSync(directory, { recursive: true });
});

const lane = async (uid: number): Promise<number> => {
  const count = accepted.length;
  const fd = connectUnix(join(directory, 's'));
  while (accepted.length === count) await sleep(1);
  const one = accepted.at(-1);
  if (one !== undefined) lanes.add(uid, one);
  return fd;
};
const ticket = (n: number): Buffer => Buffer.alloc(16, n);
const file = (): number => openSync('/dev/null', 'r');

test('a ticket is found by its own uid only, once, with its descriptors', async () => {
  const [ada] = [await lane(ADA), await lane(BOB)];
  const fd = file();
  sendFds(ada, ticket(1), [fd, fd]);
  expect(lanes.take(BOB, ticket(1))).toBeUndefined();
  const taken = lanes.take(ADA, ticket(1));
  expect(taken?.fds.length).toBe(2);
  await taken?.close();
  expect(lanes.take(ADA, ticket(1))).toBeUndefined();
  closeSync(fd);
  closeSync(ada);
});

test('what comes back is on the lane the ticket came over; none where that was cut off meanwhile', async () => {
  const ada = await lane(ADA);
  sendFds(ada, ticket(1), []);
  sendFds(ada, ticket(2), []);
  const [one, two] = [lanes.take(ADA, ticket(1)), lanes.take(ADA, ticket(2))];
  const fd = file();
  expect(one?.answer([fd])).toBe(true);
  const message = receiveFds(ada, 16);
  expect([Buffer.from(message?.bytes ?? []), message?.fds.length]).toEqual([ticket(1), 1]);
  for (const got of message?.fds ?? []) closeSync(got);
  sendFds(ada, ticket(3), []);
  sendFds(ada, ticket(3), []);
  expect(lanes.take(ADA, ticket(4))).toBeUndefined();
  expect(two?.answer([fd])).toBe(false);
  closeSync(fd);
  closeSync(ada);
});

test.each([
  ['a message that is no ticket', (to: number) => sendFds(to, Buffer.alloc(15), [])],
  [
    'the same ticket twice',
    (to: number) => {
      for (let i = 0; i < 2; i++) sendFds(to, ticket(9), []);
    },
  ],
  [
    'tickets that nobody asks for',
    (to: number) => Array.from({ length: 70 }, (_, i) => sendFds(to, ticket(i + 1), [])),
  ],
  [
    'more descriptors than lanes may hold',
    (to: number) => {
      const fd = file();
      for (let i = 0; i < 8; i++)
        sendFds(
          to,
          ticket(i + 1),
          Array.from({ length: 200 }, () => fd),
        );
      closeSync(fd);
    },
  ],
])('%s: the lane is cut off', async (_, send) => {
  const ada = await lane(ADA);
  send(ada);
  lanes.take(ADA, ticket(200));
  await sleep(10);
  expect(() => sendFds(ada, ticket(1), [])).toThrow(/EPIPE|ECONNRESET/);
  closeSync(ada);
});

test('a lane whose other end is closed is closed, without anybody asking', async () => {
  const ada = await lane(ADA);
  closeSync(ada);
  await expect.poll(() => accepted[0]?.socket.destroyed, { timeout: 5000 }).toBe(true);
});

test('one whose descriptors are still being closed gets no lane', async () => {
  many = true;
  const ada = await lane(ADA);
  await sleep(10);
  expect(() => sendFds(ada, ticket(1), [])).toThrow(/EPIPE|ECONNRESET/);
  closeSync(ada);
});
