// The gRPC server over an engine that only notes what it is asked: every call over a real socket, with the generated client.
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClientReadableStream, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ContainerId } from '../../../core/base/brand.ts';
import { BerthError, type Code } from '../../../core/base/errors.ts';
import type { Chunk, Engine, EngineEvent } from '../../../core/engine/engine.ts';
import { makeFeed } from '../../../core/engine/feed.ts';
import { type RpcServer, serveRpc } from '../../../core/rpc/server.ts';
import { nanoseconds } from '../../../core/rpc/spec.ts';
import { STATUS } from '../../../core/rpc/status.ts';
import { containerInspect, containerSummary, systemVersion } from '../../../core/spec/docker-api.ts';
import { ContainerSpec, EngineServiceClient } from '../../../proto/gen/berth/v1/engine.ts';
import { HealthClient } from '../../../proto/gen/grpc/health/v1/health.ts';
import {
  type ServerReflectionRequest,
  ServerReflectionClient,
  type ServerReflectionResponse,
} from '../../../proto/gen/grpc/reflection/v1/reflection.ts';

const ID = 'ab'.repeat(32) as ContainerId;
const asked: unknown[] = [];
let failWith: unknown;
let chunkFeed = makeFeed<Chunk>();
let ended: string[] = [];

function verb<T>(name: string, value: T): (...args: unknown[]) => Promise<T> {
  return (...args) => {
    asked.push([name, ...args]);
    return failWith === undefined ? Promise.resolve(value) : Promise.reject(failWith);
  };
}

const inspect = {
  ...containerInspect.zero(),
  Id: ID,
  Name: '/web',
  Created: '2024-05-06T07:08:09.123456789Z',
  State: { ...containerInspect.zero().State, Status: 'exited', ExitCode: 3 },
  Config: { ...containerInspect.zero().Config, Image: 'busybox', Labels: { a: 'b' } },
};
const event: EngineEvent = { type: 'container', action: 'start', id: ID, attributes: { name: 'web' }, timeNs: 5n };

/** Only the verbs that gRPC uses. */
const engine = {
  containers: {
    create: verb('create', { id: ID, warnings: ['careful'] }),
    start: verb('start', true),
    stop: verb('stop', true),
    remove: verb('remove', undefined),
    wait: verb('wait', { id: ID, exit: Promise.resolve({ code: 137, outOfMemory: true, error: undefined }) }),
    list: verb('list', [
      { ...containerSummary.zero(), Id: ID },
      { ...containerSummary.zero(), Id: 'gone' },
    ]),
    inspect: (id: string) =>
      id === 'gone' ? Promise.reject(new BerthError('container_not_found', 'gone')) : Promise.resolve(inspect),
    logs: (...args: unknown[]) => {
      asked.push(['logs', ...args]);
      return Promise.resolve({ tty: false, chunks: chunkFeed.iterable });
    },
  },
  system: {
    version: verb('version', { ...systemVersion.zero(), Version: '0.1.0' }),
    whoami: verb('whoami', { uid: 7, principal: 'me', profile: 'default' }),
  },
  explain: verb('explain', {
    text: 'the plan\n',
    json: '{}',
    warnings: [],
    decision: { allowed: false, reasons: [{ rule: 'bind', field: 'mounts[0]', asked: '/etc', allowed: '/home' }] },
  }),
  events: {
    subscribe: (query: unknown) => {
      asked.push(['subscribe', query]);
      const feed = makeFeed<EngineEvent>({ onEnd: () => ended.push('events') });
      feed.push(event);
      return feed.iterable;
    },
  },
} as unknown as Engine;

const folder = mkdtempSync(join(tmpdir(), 'berth-rpc-'));
const path = join(folder, 'rpc.sock');
const logged: string[] = [];
let peer = 7;
let server: RpcServer;
let client: EngineServiceClient;

beforeAll(async () => {
  server = await serveRpc({ engine, path, uid: 7, peerUid: () => peer, log: (line) => logged.push(line) });
  client = new EngineServiceClient(`unix:${path}`, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await server.close();
  expect(existsSync(path)).toBe(false);
  rmSync(folder, { recursive: true });
});

type Method = (request: never, answer: (error: ServiceError | null, value: never) => void) => unknown;
/** A call of one answer as a promise; `asked` holds what the engine heard of it alone. */
function call<Answer>(of: { [name: string]: unknown }, name: string, request: unknown): Promise<Answer> {
  asked.length = 0;
  return new Promise((resolve, reject) => {
    const answer = (error: ServiceError | null, value: Answer): void =>
      error === null ? resolve(value) : reject(error);
    (of[name] as Method).call(of, request as never, answer as never);
  });
}
const spec = (over: Partial<ContainerSpec>): ContainerSpec => ({ ...ContainerSpec.fromPartial({}), ...over });
const ask = <Answer>(name: string, request: unknown = {}): Promise<Answer> => call(client as never, name, request);
const failure = (name: string, request: unknown): Promise<ServiceError> =>
  ask(name, request).then(
    () => {
      throw new Error('it answered');
    },
    (error: ServiceError) => error,
  );

async function collect<T>(stream: ClientReadableStream<T>, most: number): Promise<T[]> {
  const found: T[] = [];
  for await (const value of stream) {
    found.push(value as T);
    if (found.length === most) break;
  }
  return found;
}

describe('engineService', () => {
  test('hello', async () => {
    expect(await ask('hello')).toEqual({ version: '0.1.0', uid: 7, principal: 'me', profile: 'default' });
  });

  test('create gives the engine Docker’s words for every field', async () => {
    const whole = spec({
      image: 'busybox',
      name: 'web',
      command: ['a'],
      entrypoint: ['b'],
      env: ['C=1'],
      workingDir: '/w',
      user: 'u',
      hostname: 'h',
      tty: true,
      stdinOpen: true,
      binds: ['/a:/b'],
      labels: { k: 'v' },
      memoryBytes: 1n << 26n,
      nanoCpus: 5n,
      pidsLimit: 6n,
      network: 'none',
      capAdd: ['X'],
      capDrop: ['Y'],
      readOnly: true,
      privileged: true,
      autoRemove: true,
      init: true,
    });
    expect(await ask('create', { spec: whole })).toEqual({ id: ID, warnings: ['careful'] });
    expect(asked).toEqual([
      [
        'create',
        expect.objectContaining({
          Image: 'busybox',
          Cmd: ['a'],
          Entrypoint: ['b'],
          Env: ['C=1'],
          WorkingDir: '/w',
          User: 'u',
          Hostname: 'h',
          Tty: true,
          OpenStdin: true,
          Labels: { k: 'v' },
          HostConfig: expect.objectContaining({
            Binds: ['/a:/b'],
            Memory: 67_108_864,
            NanoCpus: 5,
            PidsLimit: 6,
            NetworkMode: 'none',
            CapAdd: ['X'],
            CapDrop: ['Y'],
            ReadonlyRootfs: true,
            Privileged: true,
            AutoRemove: true,
            Init: true,
          }),
        }),
        'web',
      ],
    ]);
  });

  test('create of little asks for little', async () => {
    await ask('create', { spec: spec({ image: 'x' }) });
    expect(asked).toEqual([
      [
        'create',
        expect.objectContaining({
          Cmd: null,
          Entrypoint: null,
          HostConfig: expect.objectContaining({
            NetworkMode: 'default',
            PidsLimit: null,
            Binds: null,
            Init: undefined,
          }),
        }),
        undefined,
      ],
    ]);
    expect((await failure('create', {})).details).toBe('spec must be given');
    expect((await failure('create', { spec: spec({ memoryBytes: 1n << 60n }) })).code).toBe(status.INVALID_ARGUMENT);
  });

  test('start, stop, remove, wait', async () => {
    expect(await ask('start', { container: 'web' })).toEqual({});
    expect(asked).toEqual([['start', 'web']]);
    await ask('stop', { container: 'web', timeoutSeconds: 0 });
    expect(asked).toEqual([['stop', 'web', { timeoutS: 0 }]]);
    await ask('stop', { container: 'web', timeoutSeconds: undefined });
    expect(asked).toEqual([['stop', 'web', { timeoutS: undefined }]]);
    await ask('remove', { container: 'web', force: true });
    expect(asked).toEqual([['remove', 'web', { force: true, volumes: false }]]);
    expect(await ask('wait', { container: 'web' })).toEqual({ exitCode: 137, outOfMemory: true });
    expect((await failure('start', { container: '' })).details).toBe('container must be given');
  });

  test('list tells what is known and passes over what is gone', async () => {
    expect(await ask('list', { all: true })).toEqual({
      containers: [
        {
          id: ID,
          name: 'web',
          image: 'busybox',
          state: 'exited',
          pid: 0,
          exitCode: 3,
          labels: { a: 'b' },
          createdNs: 1_714_979_289_123_456_789n,
        },
      ],
    });
  });

  test('explain adds the helper’s answer', async () => {
    const request = { spec: spec({ image: 'x' }), dryRun: true };
    expect(await ask('explain', request)).toEqual({
      text: 'the plan\nthe helper would refuse it\n  refused by bind: mounts[0] is /etc, at most /home\n',
      json: '{}',
      allowed: false,
    });
  });

  test('logs end when the container’s do', async () => {
    chunkFeed = makeFeed();
    for (const [stream, text] of [
      [1, 'out'],
      [2, 'err'],
    ] as const)
      chunkFeed.push({ stream, timeNs: 9n, bytes: Buffer.from(text) });
    chunkFeed.end();
    const found = await collect(client.logs({ container: 'web', follow: true, tail: 0 }), 10);
    expect(found.map(({ stream, data, timeNs }) => [stream, data.toString(), timeNs])).toEqual([
      [1, 'out', 9n],
      [2, 'err', 9n],
    ]);
    expect(asked.at(-1)).toEqual([
      'logs',
      'web',
      expect.objectContaining({ follow: true, tail: undefined, stdout: true, stderr: true }),
    ]);
  });

  test('a client that goes ends the reading, also while nothing comes', async () => {
    ended = [];
    chunkFeed = makeFeed({ onEnd: () => ended.push('logs') });
    const logs = client.logs({ container: 'web', follow: true, tail: 5 });
    logs.on('error', () => undefined);
    const events = client.events({ sinceNs: 3n });
    expect(await collect(events, 1)).toEqual([
      { type: 'container', action: 'start', id: ID, attributes: { name: 'web' }, timeNs: 5n },
    ]);
    expect(asked.at(-1)).toEqual(['subscribe', { sinceNs: 3n, untilNs: undefined, filters: {} }]);
    events.cancel();
    logs.cancel();
    await expect.poll(() => [...ended].sort()).toEqual(['events', 'logs']);
  });

  test('a slow client gets every chunk, and the engine is not read ahead of it without bound', async () => {
    chunkFeed = makeFeed();
    const total = 400;
    for (let i = 0; i < total; i++)
      chunkFeed.push({ stream: 1, timeNs: BigInt(i + 1), bytes: Buffer.alloc(16_384, i & 0xff) });
    chunkFeed.end();
    const stream = client.logs({ container: 'web', follow: false, tail: 0 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const found = await collect(stream, total + 1);
    expect(found.map(({ timeNs }) => Number(timeNs))).toEqual(Array.from({ length: total }, (_, i) => i + 1));
  });

  test.each(Object.entries(STATUS) as [Code, status][])('%s ends with status %i', async (code, expected) => {
    failWith = new BerthError(code, 'what was wrong', { hint: 'what to do – now' });
    try {
      const error = await failure('start', { container: 'web' });
      expect([error.code, error.details]).toEqual([expected, 'what was wrong: what to do – now']);
      expect(error.metadata.get('berth-code')).toEqual([code]);
      expect(error.metadata.get('berth-hint')).toEqual(['what to do ? now']);
    } finally {
      failWith = undefined;
    }
  });

  test('a bug is logged and tells the client nothing', async () => {
    failWith = new TypeError('secret');
    try {
      const error = await failure('start', { container: 'web' });
      expect([error.code, error.details]).toEqual([status.INTERNAL, 'a bug in the engine: see its log']);
      expect(logged.at(-1)).toContain('TypeError: secret');
    } finally {
      failWith = undefined;
    }
  });

  test('a stream that fails says why', async () => {
    chunkFeed = makeFeed();
    chunkFeed.end(new BerthError('container_not_found', 'No such container: x'));
    const error = await collect(client.logs({ container: 'x', follow: false, tail: 0 }), 1).catch(
      (thrown: ServiceError) => thrown,
    );
    expect(error).toMatchObject({ code: status.NOT_FOUND, details: 'No such container: x' });
  });
});

describe('health and reflection', () => {
  test('the server and its services are serving', async () => {
    const health = new HealthClient(`unix:${path}`, credentials.createInsecure());
    const check = (service: string): Promise<{ status: number }> => call(health as never, 'check', { service });
    expect([(await check('')).status, (await check('berth.v1.EngineService')).status]).toEqual([1, 1]);
    await expect(check('nope')).rejects.toMatchObject({ code: status.NOT_FOUND });
    const { statuses } = await call<{ statuses: object }>(health as never, 'list', {});
    expect(Object.keys(statuses)).toContain('berth.v1.EngineService');
    expect(await collect(health.watch({ service: 'nope' }), 1)).toEqual([{ status: 3 }]);
    health.close();
  });

  test.each(['v1', 'v1alpha'])('%s lists the services and gives their files', async (version) => {
    const reflection = new ServerReflectionClient(`unix:${path}`, credentials.createInsecure());
    const { serverReflectionInfo: method } = ServerReflectionClient.service;
    const stream = reflection.makeBidiStreamRequest<ServerReflectionRequest, ServerReflectionResponse>(
      method.path.replace('.v1.', `.${version}.`),
      method.requestSerialize,
      method.responseDeserialize,
    );
    const questions = [
      { $case: 'listServices', value: '' },
      { $case: 'fileContainingSymbol', value: 'berth.v1.EngineService.Create' },
      { $case: 'fileContainingSymbol', value: '.berth.v1.ContainerSpec.image' },
      { $case: 'fileByFilename', value: 'grpc/health/v1/health.proto' },
      { $case: 'fileContainingSymbol', value: 'berth.helper.v1.Launch' },
      { $case: 'allExtensionNumbersOfType', value: 'x' },
    ] as const;
    for (const messageRequest of questions) stream.write({ host: 'h', messageRequest });
    stream.end();
    const answers: ServerReflectionResponse['messageResponse'][] = [];
    for await (const answer of stream) answers.push((answer as ServerReflectionResponse).messageResponse);
    expect(answers.map((answer) => answer?.$case)).toEqual([
      'listServicesResponse',
      'fileDescriptorResponse',
      'fileDescriptorResponse',
      'fileDescriptorResponse',
      'errorResponse',
      'errorResponse',
    ]);
    const [services, engineFile] = answers;
    const names = services?.$case === 'listServicesResponse' ? services.value.service.map((one) => one.name) : [];
    expect(names).toEqual(['berth.v1.EngineService', 'grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection']);
    const bytes =
      engineFile?.$case === 'fileDescriptorResponse'
        ? (engineFile.value.fileDescriptorProto[0] ?? Buffer.alloc(0))
        : Buffer.alloc(0);
    expect(bytes.includes('berth/v1/engine.proto')).toBe(true);
    reflection.close();
  });
});

describe('serveRpc()', () => {
  test('the socket is the user’s alone', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('somebody else’s connection is refused and logged, root’s is not', async () => {
    peer = 8;
    const stranger = new EngineServiceClient(`unix:${path}`, credentials.createInsecure(), {
      'grpc.enable_retries': 0,
      'grpc.use_local_subchannel_pool': 1,
    });
    await expect(call(stranger as never, 'hello', {})).rejects.toMatchObject({ code: status.UNAVAILABLE });
    stranger.close();
    expect(logged.some((line) => line.includes('uid 8 is not uid 7'))).toBe(true);
    peer = 0;
    const root = new EngineServiceClient(`unix:${path}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    expect(await call(root as never, 'hello', {})).toMatchObject({ uid: 7 });
    root.close();
    peer = 7;
  });

  test('close() ends streams that have no end', async () => {
    const other = join(folder, 'other.sock');
    const second = await serveRpc({ engine, path: other, uid: 7, peerUid: () => 7, log: () => undefined });
    const one = new EngineServiceClient(`unix:${other}`, credentials.createInsecure());
    const events = one.events({ sinceNs: 0n });
    const failed = new Promise<ServiceError>((resolve) => events.on('error', resolve));
    await new Promise((resolve) => events.once('data', resolve));
    await second.close();
    expect([status.UNAVAILABLE, status.CANCELLED]).toContain((await failed).code);
    one.close();
  });
});

test('nanoseconds() reads RFC 3339', () => {
  expect(nanoseconds('1970-01-01T00:00:01Z')).toBe(1_000_000_000n);
  expect(nanoseconds('1970-01-01T01:00:01.5+01:00')).toBe(1_500_000_000n);
  expect([nanoseconds(''), nanoseconds('0001-01-01T00:00:00Z'), nanoseconds('yesterday')]).toEqual([0n, 0n, 0n]);
});
