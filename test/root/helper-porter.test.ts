// The porter: what it is and cannot do, what the helper does when it dies, breaks the rules or is attacked, and that a user who sends what can be waited
// for keeps nobody waiting.
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { connect, createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { raw } from '../../core/sys/libc.ts';
import { connectUnix, trySendFds } from '../../core/sys/socket.ts';
import { pidfdGetfd, pidfdOpen } from '../../helper/sys/processes.ts';
import { SOL_SOCKET } from '../../proto/abi/socket.gen.ts';
import { encodeFrame, KIND } from '../../proto/porter/frame.ts';
import {
  type Client,
  descriptorsOf,
  importTar,
  launchedOf,
  launchOf,
  newId,
  type PrivateHelper,
  readAll,
  startHelper,
} from '../kit/helper.ts';
import { busyboxTar } from '../kit/image.ts';
import { uidsOf } from '../kit/instance.ts';
import { busybox, root, suite } from '../kit/need.ts';

const ADA = 41_021;
/** Its descriptors. Source: core/porter/main.ts. */
const STREAM = 5;
const SIDE = 6;
/** man 7 socket. */
const SO_LINGER = 13;

function fdOf(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}

suite('the porter', [root, busybox], () => {
  let helper: PrivateHelper;
  let client: Client;
  let layer: string;
  beforeAll(async () => {
    helper = await startHelper();
    client = await helper.client();
    layer = await importTar(client, busyboxTar(), helper.directory);
  });
  afterAll(async () => {
    if (process.env['BERTH_SHOW_LOG']) console.log(helper.log());
    await helper[Symbol.asyncDispose]();
  });

  const porter = (): number => helper.pids().porter;
  const status = (pid: number): string => readFileSync(`/proc/${pid}/status`, 'utf8');
  /** Waits for another porter and connects to it. */
  const another = async (than: number): Promise<number> => {
    await expect.poll(porter, { timeout: 15_000, interval: 20 }).not.toBe(than);
    client = await helper.client();
    return porter();
  };
  const works = async (): Promise<void> => {
    const launch = launchOf([layer], ['/bin/echo', 'works']);
    const { fds } = await client.done({ $case: 'launch', value: launch }, { wantFds: true });
    await client.exited(launch.id);
    await client.done({ $case: 'remove', value: { container: launch.id } });
    expect(await readAll(fds[0] ?? -1)).toBe('works\n');
    for (const fd of fds.slice(1)) closeSync(fd);
  };
  /** A duplicate of a descriptor of the porter's, as if it had been taken over. */
  const stolen = (number: number): number => {
    const pidfd = pidfdOpen(porter());
    try {
      return pidfdGetfd(pidfd, number);
    } finally {
      closeSync(pidfd);
    }
  };

  test('it has uids of nobody, no capability, the filter, namespaces of its own, and sees no files', () => {
    const facts = status(porter());
    const [first, end] = uidsOf(helper.slot());
    const uids = /^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$/m.exec(facts)?.slice(1).map(Number) ?? [];
    expect(uids.length).toBe(4);
    for (const uid of uids) expect(uid > first && uid < end).toBe(true);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(facts).toMatch(new RegExp(`^${set}:\t0+$`, 'm'));
    expect(facts).toMatch(/^NoNewPrivs:\t1$/m);
    expect(facts).toMatch(/^Seccomp:\t2$/m);
    for (const name of ['user', 'mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup'])
      expect(readlinkSync(`/proc/${porter()}/ns/${name}`), name).not.toBe(readlinkSync(`/proc/self/ns/${name}`));
    const seen = readdirSync(`/proc/${porter()}/root/`);
    expect(seen.filter((name) => !['berth', 'lib', 'lib64', 'node', 'usr'].includes(name))).toEqual([]);
    expect(readdirSync(`/proc/${porter()}/root/usr`).filter((name) => !['lib', 'lib64'].includes(name))).toEqual([]);
    const mounts = readFileSync(`/proc/${porter()}/mountinfo`, 'utf8').trim().split('\n');
    for (const line of mounts) expect(line.split(' ')[5], line).toMatch(/^ro,nosuid,nodev|^rw,nosuid,nodev/);
    expect(readFileSync(`/proc/${porter()}/net/dev`, 'utf8').trim().split('\n').length).toBe(3);
  });

  test('killed at any moment: another one serves, what was asked is done, the helper is the same', async () => {
    const before = helper.pids();
    const open = descriptorsOf(before.helper).length;
    for (let round = 0; round < 6; round++) {
      const pid = porter();
      const launch = launchOf([layer], ['/bin/sleep', '100']);
      const asked = client.ask({ $case: 'launch', value: launch }, { wantFds: true }).catch(() => undefined);
      await sleep(round * 3);
      process.kill(pid, 'SIGKILL');
      await another(pid);
      for (const fd of (await asked)?.fds ?? []) closeSync(fd);
      const again = await client.done({ $case: 'launch', value: launch }, { wantFds: true });
      expect(launchedOf(again).pid).toBeGreaterThan(0);
      for (const fd of again.fds) closeSync(fd);
      await client.done({ $case: 'signal', value: { container: launch.id, exec: '', signal: 9, all: true } });
      expect(await client.exited(launch.id)).toMatchObject({ status: 9 });
      await client.done({ $case: 'remove', value: { container: launch.id } });
    }
    expect(helper.pids()).toMatchObject({ helper: before.helper, keeper: before.keeper });
    expect(client.session.hello.helperPid).toBe(before.helper);
    await expect.poll(() => descriptorsOf(before.helper).length).toBeLessThanOrEqual(open);
    await works();
  }, 120_000);

  const header = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = encodeFrame({ kind: KIND.do, id: 1 << 30, of: 1 << 30 });
    change(bytes);
    return bytes;
  };
  test.each([
    ['a kind that there is not', encodeFrame({ kind: 99, id: 1 })],
    ['a body of two gigabytes', header((bytes) => bytes.writeUInt32LE(0x7fffffff, 12))],
    ['a call of a connection that there is not', encodeFrame({ kind: KIND.do, id: 1 << 30, of: 1 << 30 })],
    ['a watch of a connection that there is not', encodeFrame({ kind: KIND.watch, id: 1 << 30, of: 1 << 30 })],
    ['a connection without its descriptor', encodeFrame({ kind: KIND.opened, id: 1 << 30, descriptors: 1 })],
    ['a connection with none announced', encodeFrame({ kind: KIND.opened, id: 1 << 30 })],
    ['noise', Buffer.alloc(200_000, 0x5a)],
  ])('%s from a porter that was taken over is its end, and nobody else notices', async (_, bytes) => {
    const { helper: pid, porter: bad } = helper.pids();
    const open = descriptorsOf(pid).length;
    const stream = new Socket({ fd: stolen(STREAM), readable: false, writable: true });
    stream.on('error', () => undefined);
    stream.write(bytes);
    await another(bad);
    stream.destroy();
    expect(existsSync(`/proc/${bad}`)).toBe(false);
    expect(helper.pids().helper).toBe(pid);
    await expect.poll(() => descriptorsOf(pid).length).toBeLessThanOrEqual(open);
    await works();
  });

  test('a file in the place of a connection is the end of the porter that sent it', async () => {
    const { helper: pid, porter: bad } = helper.pids();
    const [file, side] = [openSync('/etc/passwd', 'r'), stolen(SIDE)];
    const id = 1 << 30;
    expect(trySendFds(side, Buffer.from(new Uint32Array([id]).buffer), [file])).toBe(true);
    const stream = stolen(STREAM);
    writeSync(stream, encodeFrame({ kind: KIND.opened, id, descriptors: 1 }));
    await another(bad);
    for (const fd of [file, side, stream]) closeSync(fd);
    expect(helper.pids().helper).toBe(pid);
    await works();
  });

  test('a connection of somebody else does not lend his uid to a request that he has not signed', async () => {
    const his = await helper.client(ADA);
    expect(his.session.hello.uid).toBe(ADA);
    expect(client.session.hello.uid).toBe(0);
    const { reasons } = (await his.ask({ $case: 'remove', value: { container: newId() } })).result;
    expect(reasons.map(({ rule }) => rule)).toEqual(['state']);
  });

  test('what a user has given is closed when he is answered', async () => {
    const file = openSync(join(helper.directory, 'given'), 'w');
    const held = (): number =>
      [porter(), helper.pids().helper].flatMap(descriptorsOf).filter((link) => link.endsWith('/given')).length;
    for (let i = 0; i < 20; i++) {
      const verb = { $case: 'importLayer' as const, value: { diffId: `sha256:${newId()}`, sizeBytesMax: 1n << 20n } };
      await client.ask(verb, { fds: [file, file, file] });
      expect(held()).toBe(0);
    }
    closeSync(file);
  }, 60_000);

  /** The last close of this socket waits for a minute: it lingers, and nobody reads what was sent. */
  const lingering = async (port: number): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    expect(raw.setsockopt(fdOf(socket), SOL_SOCKET, SO_LINGER, Buffer.from(new Int32Array([1, 60]).buffer), 8)).toBe(0);
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(8 << 20));
    return socket;
  };

  test('descriptors that nobody should hold keep nobody waiting, and cost their sender his lanes', async () => {
    const server = createServer((socket) => socket.pause()).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const ada = await helper.client(ADA);
    for (let i = 0; i < 4; i++) {
      const sockets = await Promise.all(Array.from({ length: 5 }, () => lingering(port)));
      const verb = { $case: 'importLayer' as const, value: { diffId: `sha256:${newId()}`, sizeBytesMax: 1n << 20n } };
      const answer = ada.ask(verb, { fds: sockets.map(fdOf) }).then(
        ({ result }) => result.reasons.map(({ field }) => field),
        () => ['cut off'],
      );
      for (const socket of sockets) socket.destroy();
      expect(await answer).toEqual(i < 3 ? ['ticket.descriptors'] : ['cut off']);
      await Promise.race([works(), sleep(5000).then(() => expect.unreachable('nobody was served'))]);
    }
    const closing = descriptorsOf(porter()).filter((link) => link.startsWith('socket:')).length;
    await expect(ada.ask({ $case: 'remove', value: { container: newId() } }, { wantFds: true })).rejects.toThrow(
      /lane/,
    );
    await works();
    expect(closing).toBeGreaterThan(0);
    server.close();
  }, 60_000);

  test('tickets that nobody asks for and lanes that nobody reads are cut off', async () => {
    const before = descriptorsOf(porter()).length;
    const lane = connectUnix(join(helper.directory, 'run/lane.sock'));
    const file = openSync('/etc/passwd', 'r');
    for (let i = 0; i < 80; i++) trySendFds(lane, Buffer.alloc(16, i + 1), [file, file, file, file]);
    await works(); // looks at all lanes of this uid
    await expect.poll(() => descriptorsOf(porter()).length).toBeLessThanOrEqual(before);
    for (const fd of [lane, file]) closeSync(fd);
    await works();
  });

  test('it ends with the helper', async () => {
    const { helper: pid, porter: last } = helper.pids();
    process.kill(pid, 'SIGKILL');
    await helper.another(pid);
    await expect.poll(() => existsSync(`/proc/${last}`)).toBe(false);
    client = await helper.client();
    await works();
  });
});
