// The REST server over a real socket with an engine of child processes: statuses and messages, framing, both hijacks, half close, bounds.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JSON_BYTES_MAX } from '../../../core/api/body.ts';
import { type ApiServer, serveApi } from '../../../core/api/server.ts';
import { type FakeEngine, fakeEngine } from './fake-engine.ts';

const dir = mkdtempSync(join(tmpdir(), 'berth-api-'));
const path = join(dir, 'docker.sock');
let engine: FakeEngine;
let server: ApiServer;
const logged: string[] = [];

beforeAll(async () => {
  engine = fakeEngine();
  server = await serveApi({ engine, path, uid: process.getuid?.() ?? 0, log: (line) => logged.push(line) });
});
afterAll(async () => {
  await engine.close();
  await server.close();
  rmSync(dir, { recursive: true });
});

/** Everything the server sends for these bytes; `half` ends our side after them. */
async function raw(
  text: string | Buffer,
  more: { half?: boolean; during?: (write: (bytes: string) => void, end: () => void) => Promise<void> } = {},
): Promise<string> {
  const socket = connect({ path, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  const ended = new Promise<void>((resolve) => socket.once('end', resolve).once('close', () => resolve()));
  socket.write(text);
  if (more.half) socket.end();
  await more.during?.(
    (bytes) => socket.write(bytes),
    () => socket.end(),
  );
  await Promise.race([ended, sleep(5000).then(() => Promise.reject(new Error(`no end: ${Buffer.concat(chunks)}`)))]);
  socket.destroy();
  return Buffer.concat(chunks).toString('latin1');
}

/** What tests read of answers. */
type Value = { Id: string; message: string; code: string; principal: string; decision: unknown; 0: { topic: string } };

async function ask(
  method: string,
  target: string,
  body?: unknown,
  type = 'application/json',
): Promise<{ status: number; head: string; value: Value }> {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await raw(
    `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${text === '' ? '' : `Content-Type: ${type}\r\n`}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  const [head = '', rest = ''] = [
    answer.slice(0, answer.indexOf('\r\n\r\n')),
    answer.slice(answer.indexOf('\r\n\r\n') + 4),
  ];
  const plain = /transfer-encoding: chunked/i.test(head)
    ? rest.replace(/[0-9a-f]+\r\n([\s\S]*?)\r\n(?=[0-9a-f]+\r\n)/g, '$1').replace(/0\r\n\r\n$/, '')
    : rest;
  let value: unknown = plain;
  if (/application\/json/.test(head) && plain.trim().split('\n').length === 1) value = JSON.parse(plain);
  return { status: Number(head.slice(9, 12)), head, value: value as Value };
}

async function made(command: readonly string[], more: object = {}): Promise<string> {
  const { status, value } = await ask('POST', '/v1.41/containers/create', { Image: 'bb:1', Cmd: command, ...more });
  expect(status).toBe(201);
  return value.Id;
}

test('ping tells the version, with and without a body', async () => {
  const { status, head, value } = await ask('GET', '/_ping');
  expect([status, value]).toEqual([200, 'OK']);
  expect(head).toMatch(/Api-Version: 1\.51/i);
  expect(head).toMatch(/Ostype: linux/i);
  expect((await ask('HEAD', '/v1.24/_ping')).value).toBe('');
});

test.each([
  ['GET', '/nope', 404, 'page not found'],
  ['POST', '/version', 404, 'page not found'],
  ['GET', '/v1.99/version', 400, 'client version 1.99 is too new. Maximum supported API version is 1.51'],
  [
    'GET',
    '/v1.12/version',
    400,
    'client version 1.12 is too old. Minimum supported API version is 1.21, please upgrade your client to a newer version',
  ],
  ['GET', '/v2.0/version', 400, 'client version 2.0 is too new. Maximum supported API version is 1.51'],
  ['GET', '/containers/nope/json', 404, 'No such container: nope'],
  ['GET', '/containers/%zz/json', 400, 'malformed path "/containers/%zz/json"'],
  ['POST', '/containers/nope/start', 404, 'No such container: nope'],
  ['POST', '/containers/nope/attach?stream=1', 404, 'No such container: nope'],
  ['POST', '/containers/nope/wait?condition=x', 400, 'invalid condition: "x"'],
  ['GET', '/containers/nope/logs', 400, 'Bad parameters: you must choose at least one stream'],
  ['POST', '/containers/nope/resize?h=x&w=1', 400, 'invalid value for h: "x" is not a whole number'],
  ['POST', '/containers/nope/resize?h=1', 400, 'resize needs h (rows) and w (columns), each from 0 to 65535'],
  ['GET', '/containers/json?filters=x', 400, 'invalid filter: x is not an object of lists of texts'],
  [
    'GET',
    '/containers/json?filters=%7B%22a%22%3A1%7D',
    400,
    'invalid filter: {"a":1} is not an object of lists of texts',
  ],
  ['POST', '/containers/create', 400, 'invalid JSON: got EOF while reading request body'],
  ['GET', '/exec/nope/json', 404, 'No such exec instance: nope'],
  ['POST', '/exec/nope/start', 404, 'No such exec instance: nope'],
  ['GET', '/images/no/such/name:1/json', 404, 'No such image: no/such/name:1'],
  ['POST', '/images/create?fromSrc=-', 501, 'only pulling is supported: fromImage is missing'],
  ['GET', '/events?since=x', 400, 'invalid value for "since": failed to parse value as time: "x"'],
])('%s %s answers %d', async (method, target, status, message) => {
  const answer = await ask(method, target);
  expect(answer.status).toBe(status);
  if (message !== undefined) expect(answer.value.message).toBe(message);
});

test.each([
  ['{', 'application/json', 400, /^invalid JSON: /],
  ['[]', 'application/json', 400, /^invalid JSON: the body is not an object$/],
  ['{}', 'text/plain', 400, /^unsupported Content-Type header \(text\/plain\): must be 'application\/json'$/],
  ['{"Tty":"yes"}', 'application/json', 400, /^container config: Tty must be true or false, not "yes"/],
  [
    '{"HostConfig":{"Memory":"1g"}}',
    'application/json',
    400,
    /^container config: HostConfig\.Memory must be a whole number/,
  ],
  [
    '{"Image":"bb:1","HostConfig":{"Bogus":1,"Other":0}}',
    'application/json',
    400,
    /^unknown field HostConfig\.Bogus in the container config/,
  ],
  ['{"Image":"nope:1"}', 'application/json', 404, /^No such image: nope:1$/],
  [
    '{"Image":"bb:1","HostConfig":{"Binds":["/etc:/x"]}}',
    'application/json',
    403,
    /rule binds, field mounts\[0\]\.source/,
  ],
])('create with the body %s as %s answers %d', async (body, type, status, message) => {
  const answer = await ask('POST', '/containers/create', body, type);
  expect(answer.status).toBe(status);
  expect(answer.value.message).toMatch(message);
});

test('a body over the bound is refused before it is read, and while it is read', async () => {
  const head = 'POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';
  expect(await raw(`${head}Content-Length: ${JSON_BYTES_MAX + 1}\r\n\r\n`, { half: true })).toMatch(
    /^HTTP\/1\.1 413 [\s\S]*request body too large/,
  );
  const chunk = `${(1 << 20).toString(16)}\r\n${' '.repeat(1 << 20)}\r\n`;
  expect(await raw(`${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(5)}0\r\n\r\n`, { half: true })).toMatch(
    /^HTTP\/1\.1 413 /,
  );
});

test.each([
  ['not HTTP at all\r\n\r\n', /^HTTP\/1\.1 400 Bad Request[\s\S]*malformed HTTP request/],
  [`GET /_ping HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(70_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
  [
    'POST /containers/x/attach HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Length: 99999999\r\n\r\n',
    /^HTTP\/1\.1 400 [\s\S]*at most 64 KiB/,
  ],
])('%# malformed heads get an answer and an end', async (text, want) => {
  expect(await raw(text, { half: true })).toMatch(want);
});

test('a life by status codes: create 201, start 204 and 304, stop 204 and 304, delete 204, then 404', async () => {
  const id = await made(['sleep', '1000']);
  const codes: number[] = [];
  for (const [method, target] of [
    ['POST', 'start'],
    ['POST', 'start'],
    ['POST', 'pause'],
    ['POST', 'unpause'],
    ['POST', 'stop'],
    ['POST', 'stop'],
    ['POST', 'kill'],
  ] as const)
    codes.push((await ask(method, `/containers/${id}/${target}`)).status);
  expect(codes).toEqual([204, 304, 204, 204, 204, 304, 409]);
  expect((await ask('DELETE', `/containers/${id}`)).status).toBe(204);
  expect((await ask('DELETE', `/containers/${id}`)).status).toBe(404);
});

test('failures to start carry their code and a status', async () => {
  const missing = await ask('POST', `/containers/${await made(['nope'])}/start`);
  expect([missing.status, missing.value.code]).toEqual([400, 'program_not_found']);
  const denied = await ask('POST', `/containers/${await made(['/etc/passwd'])}/start`);
  expect([denied.status, denied.value.code]).toEqual([400, 'not_executable']);
});

test('wait answers its head before the end and the code at the end', async () => {
  const id = await made(['sh', '-c', 'exit 3']);
  const answer = await raw(
    `POST /containers/${id}/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    {
      during: async () => {
        await sleep(50);
        await ask('POST', `/containers/${id}/start`);
      },
    },
  );
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*\{"Error":null,"StatusCode":3\}/);
});

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';

test.each([
  ['101 for a client that upgrades', UPGRADE, /^HTTP\/1\.1 101 UPGRADED\r\n/],
  ['200 for one that does not', '', /^HTTP\/1\.1 200 OK\r\n/],
  ['200 for one that keeps the connection alive', 'Connection: keep-alive\r\n', /^HTTP\/1\.1 200 OK\r\n/],
])('attach answers %s; frames, half close and end are the same', async (_name, headers, head) => {
  const id = await made(['sh', '-c', 'cat; echo err >&2; sleep 0.05; echo out'], {
    OpenStdin: true,
    AttachStdin: true,
  });
  const answer = await raw(
    `POST /v1.41/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: 0\r\n\r\n`,
    {
      during: async (write, end) => {
        await sleep(30);
        await ask('POST', `/containers/${id}/start`);
        write('typed\n');
        await sleep(30);
        end();
      },
    },
  );
  expect(answer).toMatch(head);
  expect(answer).toMatch(/Content-Type: application\/vnd\.docker\.raw-stream\r\n/);
  const stream = answer.slice(answer.indexOf('\r\n\r\n') + 4);
  expect(stream).toBe('\x01\0\0\0\0\0\0\x06typed\n\x02\0\0\0\0\0\0\x04err\n\x01\0\0\0\0\0\0\x04out\n');
});

test('a tty is raw, its half close is not the end of input, and newer clients learn the type of the stream', async () => {
  const id = await made(['sh', '-c', 'sleep 0.1; echo hi'], { Tty: true, OpenStdin: true });
  const answer = await raw(
    `POST /v1.51/containers/${id}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`,
    {
      half: true,
      during: async () => void (await ask('POST', `/containers/${id}/start`)),
    },
  );
  expect(answer).toMatch(/vnd\.docker\.raw-stream\r\n[\s\S]*\r\n\r\nhi\n$/);
  const plain = await made(['true']);
  const framed = await raw(
    `POST /v1.51/containers/${plain}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`,
    { during: async () => void (await ask('POST', `/containers/${plain}/start`)) },
  );
  expect(framed).toMatch(/vnd\.docker\.multiplexed-stream\r\n/);
});

test('a client that half-closed and then went away is noticed though the container is silent', async () => {
  const id = await made(['sleep', '1000']);
  await ask('POST', `/containers/${id}/start`);
  const socket = connect({ path, allowHalfOpen: true });
  socket.write(`POST /v1.41/containers/${id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
  await new Promise((resolve) => socket.once('data', resolve));
  const before = engine.calls.filter((call) => call === 'detached').length;
  socket.end();
  await sleep(2500);
  expect(engine.calls.filter((call) => call === 'detached').length).toBe(before);
  socket.destroy();
  for (let tries = 0; tries < 50 && engine.calls.filter((call) => call === 'detached').length === before; tries += 1)
    await sleep(100);
  expect(engine.calls.filter((call) => call === 'detached').length).toBe(before + 1);
  await ask('DELETE', `/containers/${id}?force=1`);
});

test('attach to a stopped container and to a missing one is an answer, not a stream', async () => {
  const gone = await raw(`POST /containers/nope/attach?stream=1 HTTP/1.1\r\nHost: x\r\n${UPGRADE}\r\n`);
  expect(gone).toMatch(/^HTTP\/1\.1 404 [\s\S]*\{"message":"No such container: nope","code":"container_not_found"\}/);
});

test('exec runs with its body read from an upgraded connection, in one piece or cut', async () => {
  const id = await made(['sleep', '1000']);
  await ask('POST', `/containers/${id}/start`);
  for (const cut of [0, 5]) {
    const exec = (await ask('POST', `/containers/${id}/exec`, { Cmd: ['cat'], AttachStdin: true, AttachStdout: true }))
      .value.Id;
    const body = JSON.stringify({ Detach: false, Tty: false });
    const head = `POST /v1.41/exec/${exec}/start HTTP/1.1\r\nHost: x\r\n${UPGRADE}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    const answer = await raw(head + body.slice(0, cut), {
      during: async (write, end) => {
        await sleep(20);
        write(`${body.slice(cut)}early\n`);
        await sleep(30);
        end();
      },
    });
    expect(answer).toMatch(/^HTTP\/1\.1 101 UPGRADED/);
    expect(answer.endsWith('\x01\0\0\0\0\0\0\x06early\n')).toBe(true);
    expect((await ask('GET', `/exec/${exec}/json`)).value).toMatchObject({ ExitCode: 0, Running: false });
  }
  const detached = (await ask('POST', `/containers/${id}/exec`, { Cmd: ['true'], Detach: true })).value.Id;
  expect((await ask('POST', `/exec/${detached}/start`, { Detach: true })).status).toBe(200);
  expect((await ask('POST', `/containers/${id}/exec`, { Cmd: [] })).value.message).toBe('No exec command specified');
  const missing = (await ask('POST', `/containers/${id}/exec`, { Cmd: ['nope'] })).value.Id;
  expect((await ask('POST', `/exec/${missing}/start`, {})).value).toContain(
    'exec: "nope": executable file not found in $PATH\r\n',
  );
  expect((await ask('GET', `/exec/${missing}/json`)).value).toMatchObject({ ExitCode: 127 });
  const missingInBackground = (await ask('POST', `/containers/${id}/exec`, { Cmd: ['nope'] })).value.Id;
  expect((await ask('POST', `/exec/${missingInBackground}/start`, { Detach: true })).status).toBe(400);
  await ask('DELETE', `/containers/${id}?force=1`);
});

test('logs are framed, follow ends with the container, and a reader that leaves ends the reading', async () => {
  const id = await made(['sh', '-c', 'echo a; sleep 0.2; echo b >&2']);
  await ask('POST', `/containers/${id}/start`);
  const { value } = await ask('GET', `/containers/${id}/logs?stdout=1&stderr=1&follow=1`);
  expect(value).toContain('\x01\0\0\0\0\0\0\x02a\n');
  expect(value).toContain('\x02\0\0\0\0\0\0\x02b\n');
  const endless = await made(['sleep', '1000']);
  await ask('POST', `/containers/${endless}/start`);
  const socket = connect(path);
  socket.write(`GET /containers/${endless}/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n`);
  await new Promise((resolve) => socket.once('data', resolve));
  socket.destroy();
  await ask('DELETE', `/containers/${endless}?force=1`);
});

test('a connection that ends before its first head is closed, and one that never speaks does not hold the server up', async () => {
  expect(await raw('', { half: true })).toBe('');
  expect(await raw('POST /cont', { half: true })).toBe('');
  expect(await raw('GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n', { half: true })).toMatch(/^HTTP\/1\.1 200 OK/);
  connect(path);
});

test('two requests on one connection are answered in turn', async () => {
  const ping = 'GET /_ping HTTP/1.1\r\nHost: x\r\n';
  const answer = await raw(`${ping}\r\n${ping}Connection: close\r\n\r\n`);
  expect(answer.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
});

test('a pull tells line by line; what fails first has a status, what fails later a last line', async () => {
  const lines = async (target: string): Promise<string> =>
    (await raw(`POST ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)).toString();
  expect(await lines('/images/create?fromImage=a/b&tag=2')).toContain('{"status":"Pulling from a/b:2","id":"1"}\r\n');
  expect(await lines('/images/create?fromImage=a&tag=sha256:0')).toContain('Pulling from a@sha256:0');
  const missing = await ask('POST', '/images/create?fromImage=missing&tag=1');
  expect([missing.status, missing.value.message]).toEqual([
    500,
    'pull access denied for missing:1, repository does not exist',
  ]);
  expect(await lines('/images/create?fromImage=broken&tag=1')).toContain(
    '{"errorDetail":{"message":"unexpected end of blob"},"error":"unexpected end of blob"}',
  );
  const auth = await raw(
    'POST /images/create?fromImage=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Registry-Auth: %%%\r\nContent-Length: 0\r\n\r\n',
  );
  expect(auth).toMatch(/^HTTP\/1\.1 400 [\s\S]*invalid X-Registry-Auth header/);
});

test('load streams the archive to the engine', async () => {
  const archive = Buffer.alloc(3_000_000, 7);
  const answer = await raw(
    Buffer.concat([
      Buffer.from(
        `POST /images/load HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: ${archive.length}\r\n\r\n`,
      ),
      archive,
    ]),
  );
  expect(answer).toContain('Loaded image: loaded:1 (3000000)');
});

test('events come as they happen, with nanoseconds', async () => {
  const id = await made(['true'], {});
  const socket = connect(path);
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.write('GET /events HTTP/1.1\r\nHost: x\r\n\r\n');
  await sleep(50);
  await ask('POST', `/containers/${id}/start`);
  for (let tries = 0; tries < 100 && !text.includes('"die"'); tries += 1) await sleep(20);
  socket.destroy();
  expect(text).toMatch(
    new RegExp(
      `"status":"start","id":"${id}","from":"bb:1","Type":"container","Action":"start","Actor":\\{"ID":"${id}".*"scope":"local","time":\\d{10},"timeNano":\\d{19}\\}`,
    ),
  );
});

test('what Docker has no word for is under /berth/v1', async () => {
  expect((await ask('POST', '/berth/v1/explain', { Image: 'bb:1' })).value).toEqual({
    text: 'image bb:1\n',
    plan: { layers: [] },
    warnings: [],
  });
  expect((await ask('POST', '/berth/v1/dry-run', { Image: 'bb:1' })).value.decision).toEqual({
    allowed: true,
    reasons: [],
  });
  expect((await ask('GET', '/berth/v1/whoami')).value.principal).toBe('test');
  expect((await ask('GET', '/berth/v1/doctor')).value[0].topic).toBe('kernel');
  expect((await ask('GET', '/berth/v1/status')).value).toMatchObject({ pid: process.pid, version: '0.1.0' });
});

test('nothing of the above was a bug', () => {
  expect(logged.filter((line) => line.startsWith('bug'))).toEqual([]);
});
