// What the helper takes from outside before it looks at anything: connections, sizes, bytes that are no request.
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as GrpcClient, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PrivateHelper, startHelper } from '../kit/helper.ts';
import { root, suite } from '../kit/need.ts';

suite('helper gates', [root], () => {
  let helper: PrivateHelper;
  beforeAll(async () => {
    helper = await startHelper();
  });
  afterAll(async () => {
    if (process.env['BERTH_SHOW_LOG']) console.log(helper.log());
    await helper[Symbol.asyncDispose]();
  });

  const path = (name: string): string => join(helper.directory, 'run', name);
  const call = (method: string, bytes: Buffer): Promise<ServiceError | null> =>
    new Promise((resolve) => {
      const client = new GrpcClient(`unix:${path('helper.sock')}`, credentials.createInsecure(), {
        'grpc.max_send_message_length': -1,
      });
      const raw = (value: Buffer) => value;
      client.makeUnaryRequest(`/berth.helper.v1.HelperService/${method}`, raw, raw, bytes, (error) => {
        client.close();
        resolve(error);
      });
    });

  test.each(['helper.sock', 'lane.sock'])(
    '%s: connections of one uid over the limit are closed, and the others go on',
    async (name) => {
      const sockets: Socket[] = [];
      let closed = 0;
      for (let i = 0; i < 60; i++) {
        const socket = connect(path(name));
        socket.on('error', () => {});
        socket.on('close', () => closed++);
        sockets.push(socket);
      }
      await expect.poll(() => closed, { timeout: 5000 }).toBeGreaterThanOrEqual(28);
      for (const socket of sockets) socket.destroy();
      await sleep(100);
      const client = await helper.client();
      expect((await client.ask({ $case: 'remove', value: { container: 'a'.repeat(64) } })).result.allowed).toBe(false);
    },
  );

  test('a message over the limit is refused before it is read', async () => {
    expect((await call('Do', Buffer.alloc(1 << 20)))?.code).toBe(status.RESOURCE_EXHAUSTED);
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['zeros', Buffer.alloc(1000)],
    ['a text', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['65,537 bytes', Buffer.alloc(66_100, 1)],
  ])('%s as an envelope is an answer, not an end', async (_, bytes) => {
    expect(await call('Do', bytes)).toBe(null);
    expect((await call('Watch', bytes))?.code).toBeGreaterThan(0);
    expect((await call('Nothing', bytes))?.code).toBe(status.UNIMPLEMENTED);
  });

  test('a request that is never whole is ended after ten seconds', async () => {
    const session = connectHttp2('http://localhost', { createConnection: () => connect(path('helper.sock')) });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/berth.helper.v1.HelperService/Do',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.write(Buffer.from([0, 0, 0, 1, 0, 1, 2, 3]));
    const trailers = await new Promise<IncomingHttpHeaders>((resolve) => {
      stream.on('trailers', resolve);
      stream.on('response', (headers) => headers['grpc-status'] !== undefined && resolve(headers));
      stream.resume();
    });
    expect(trailers['grpc-status']).toBe(String(status.DEADLINE_EXCEEDED));
    session.destroy();
  });

  test('bytes that are no HTTP/2 end their connection alone', async () => {
    const before = helper.pids().helper;
    for (const text of [
      'GET / HTTP/1.1\r\n\r\n',
      '\0'.repeat(100_000),
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff',
    ]) {
      const socket = connect(path('helper.sock'));
      socket.on('error', () => {});
      socket.resume();
      socket.end(Buffer.from(text, 'latin1'));
      await new Promise((resolve) => socket.on('close', resolve));
    }
    expect(helper.pids().helper).toBe(before);
    await helper.client();
  });
});
