import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type LookupFunction, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parseChallenges } from '../../../core/registry/challenge.ts';
import { isInsecure } from '../../../core/registry/client.ts';
import { credentialsOf } from '../../../core/registry/credentials.ts';
import { TEST_CERTIFICATE, TEST_KEY } from '../../kit/certificate.ts';
import { type Fake, fault, startFake } from '../../kit/fake-registry.ts';
import { makeImage } from '../../kit/image.ts';
import { tarOf } from '../../kit/tar.ts';
import { type Changes, type Tried, tryPull } from './pull-kit.ts';

const image = makeImage({ layers: [tarOf([{ name: 'f', content: 'x' }])], architecture: 'amd64' });
// The names here are nobody else's: no proxy of this machine has a say, but in the test about one.
for (const name of ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY']) delete process.env[name];
const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

function pull(name: string, options: Changes['options'] = {}): Promise<unknown> {
  const tried: Tried = tryPull(name, { options });
  dirs.push(tried.dir);
  return tried.pulled;
}

const failure = (name: string, options: Changes['options'] = {}): Promise<string> =>
  pull(name, options).then(
    () => 'pulled',
    (error: Error) => error.message,
  );

/** Every name is this machine, as for `registry.test`, which is not a loopback name. */
const here: LookupFunction = (_name, _options, answer) => answer(null, [{ address: '127.0.0.1', family: 4 }]);
const named = (fake: Fake): string => fake.host.replace('127.0.0.1', 'registry.test');
const password = { kind: 'password', username: 'user', password: 'pass:word' } as const;
const basic = `Basic ${Buffer.from('user:pass:word').toString('base64')}`;

describe('parseChallenges()', () => {
  test.each([
    [['Basic realm="a b"'], [{ scheme: 'basic', params: { realm: 'a b' } }]],
    [
      ['Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"'],
      [{ scheme: 'bearer', params: { realm: 'https://a/t', service: 's', scope: 'repository:x:pull,push' } }],
    ],
    [
      ['bearer realm = "x" , SERVICE=y', 'BASIC realm=z'],
      [
        { scheme: 'bearer', params: { realm: 'x', service: 'y' } },
        { scheme: 'basic', params: { realm: 'z' } },
      ],
    ],
    [
      ['Negotiate, Basic realm="a\\"b"'],
      [
        { scheme: 'negotiate', params: {} },
        { scheme: 'basic', params: { realm: 'a"b' } },
      ],
    ],
    [
      ['Basic realm="a", Bearer realm="b"'],
      [
        { scheme: 'basic', params: { realm: 'a' } },
        { scheme: 'bearer', params: { realm: 'b' } },
      ],
    ],
    [[''], []],
    [['"'], []],
  ])('%j', (values, challenges) => {
    expect(parseChallenges(values)).toEqual(challenges);
  });

  test('takes no time over long nonsense', () => {
    const begun = performance.now();
    for (const part of ['a="b",', 'a=', ' ', '\\"', 'Basic ', ',']) parseChallenges([`Bearer ${part.repeat(20_000)}`]);
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});

test("credentialsOf() reads all of Docker's forms", () => {
  const coded = Buffer.from('u:p:q').toString('base64');
  const forms = [
    undefined,
    {},
    { username: 'u', password: 'p' },
    { auth: coded },
    { username: 'u', identitytoken: 't' },
    { registrytoken: 'r' },
    { auth: '!' },
  ];
  expect(forms.map(credentialsOf)).toEqual([
    { kind: 'anonymous' },
    { kind: 'anonymous' },
    { kind: 'password', username: 'u', password: 'p' },
    { kind: 'password', username: 'u', password: 'p:q' },
    { kind: 'identity', username: 'u', token: 't' },
    { kind: 'bearer', token: 'r' },
    { kind: 'anonymous' },
  ]);
});

test.each([
  ['127.0.0.1', [], true],
  ['127.1.2.3:5000', [], true],
  ['localhost:5000', [], true],
  ['[::1]:5000', [], true],
  ['127.0.0.1.example.com', [], false],
  ['localhost.example.com', [], false],
  ['h.x:5000', [], false],
  ['h.x:5000', ['h.x:5000'], true],
  ['h.x:5000', ['h.x'], true],
  ['h.x:5000', ['h.x:5001'], false],
  ['10.1.2.3:5000', ['10.0.0.0/8'], true],
  ['11.1.2.3:5000', ['10.0.0.0/8', 'nonsense/8', '10.0.0.0/99'], false],
  ['[fd00::1]:5000', ['fd00::/8'], true],
])('isInsecure(%j, %j) is %j', (host, listed, answer) => {
  expect(isInsecure(host, listed)).toBe(answer);
});

describe('a registry that cannot be used', () => {
  test('nobody listens', async () => {
    const fake = await startFake({});
    await fake.close();
    const port = fake.host.split(':')[1];
    expect(await failure(`${fake.host}/app:1`)).toBe(
      `Get "http://${fake.host}/v2/": dial tcp 127.0.0.1:${port}: connect: connection refused`,
    );
    expect(await failure(`localhost:${port}/app:1`)).toMatch(
      /^Get "http:\/\/localhost:\d+\/v2\/": dial tcp (127\.0\.0\.1|\[::1\]):\d+: connect: connection refused$/,
    );
  });

  test('no such host', async () => {
    const lookup: LookupFunction = (name, _options, answer) =>
      answer(Object.assign(new Error('no'), { code: 'ENOTFOUND', hostname: name }), []);
    expect(await failure('registry.test/app:1', { lookup })).toBe(
      'Get "https://registry.test/v2/": dial tcp: lookup registry.test: no such host',
    );
  });

  test('it speaks HTTP and is not listed', async () => {
    await using fake = await startFake({ 'app:1': image });
    await expect(pull(`${named(fake)}/app:1`, { lookup: here })).rejects.toMatchObject({
      code: 'registry',
      message: `Get "https://${named(fake)}/v2/": http: server gave HTTP response to HTTPS client`,
      hint: expect.stringContaining('insecure registries'),
    });
    await pull(`${named(fake)}/app:1`, { lookup: here, insecure: [named(fake)] });
  });

  test('it is no registry', async () => {
    await using fake = await startFake({});
    fake.on(/^\/v2\/$/, (_, response) => response.writeHead(404).end('<html>'));
    expect(await failure(`${fake.host}/app:1`)).toBe(
      `http://${fake.host}/v2/: it does not answer as a registry (version 2): received unexpected HTTP status: 404 Not Found`,
    );
  });

  test('it does not answer', async () => {
    await using fake = await startFake({});
    fake.on(/./, () => {});
    expect(await failure(`${fake.host}/app:1`, { idleMs: 100 })).toBe(
      `Get "http://${fake.host}/v2/": no data for 0.1 s`,
    );
  });

  test.each<[string, number, string, string]>([
    [
      'MANIFEST_UNKNOWN',
      404,
      'manifest unknown',
      'manifest for HOST/app:1 not found: manifest unknown: manifest unknown',
    ],
    [
      'NAME_UNKNOWN',
      404,
      'repository name not known to registry',
      'repository HOST/app not found: name unknown: repository name not known to registry',
    ],
    [
      'DENIED',
      403,
      'requested access to the resource is denied',
      "pull access denied for HOST/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
    ],
    [
      'TOOMANYREQUESTS',
      429,
      'You have reached your pull rate limit.',
      'toomanyrequests: You have reached your pull rate limit.',
    ],
    ['UNKNOWN', 500, 'esc \u001b[31m\r\n', 'unknown: esc  [31m  '],
  ])('it says %s', async (code, status, message, expected) => {
    await using fake = await startFake({});
    fake.on(/manifests/, (_, response) => fault(response, status, code, message));
    expect(await failure(`${fake.host}/app:1`)).toBe(expected.replaceAll('HOST', fake.host));
  });

  test.each([
    [404, '', 'manifest for HOST/app:1 not found: manifest unknown: manifest unknown'],
    [502, '<html>bad gateway', 'received unexpected HTTP status: 502 Bad Gateway'],
    [500, '{"errors":[]}', 'received unexpected HTTP status: 500 Internal Server Error'],
    [500, '{"errors":[{"code":5}]}', 'received unexpected HTTP status: 500 Internal Server Error'],
    [500, '"'.repeat(200_000), 'received unexpected HTTP status: 500 Internal Server Error'],
  ])('it says %i with a body that is no error', async (status, body, expected) => {
    await using fake = await startFake({});
    fake.on(/manifests/, (_, response) => response.writeHead(status).end(body));
    expect(await failure(`${fake.host}/app:1`)).toBe(expected.replaceAll('HOST', fake.host));
  });
});

describe('TLS', () => {
  const tls = { key: TEST_KEY, cert: TEST_CERTIFICATE };

  test('an unknown authority is refused, one for this host is trusted', async () => {
    await using fake = await startFake({ 'app:1': image }, { tls });
    const name = `${named(fake)}/app:1`;
    expect(await failure(name, { lookup: here })).toBe(
      `Get "https://${named(fake)}/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority`,
    );
    const dir = mkdtempSync(join(tmpdir(), 'berth-certs-'));
    dirs.push(dir);
    mkdirSync(join(dir, named(fake)));
    writeFileSync(join(dir, named(fake), 'ca.crt'), TEST_CERTIFICATE);
    await pull(name, { lookup: here, certificateDirs: [dir] });
    expect(fake.seen.at(-1)?.headers.host).toBe(named(fake));
  });

  test('a trusted certificate of another name is refused', async () => {
    await using fake = await startFake({ 'app:1': image }, { tls });
    const host = fake.host.replace('127.0.0.1', 'other.test');
    const dir = mkdtempSync(join(tmpdir(), 'berth-certs-'));
    dirs.push(dir);
    mkdirSync(join(dir, host));
    writeFileSync(join(dir, host, 'ca.crt'), TEST_CERTIFICATE);
    expect(await failure(`${host}/app:1`, { lookup: here, certificateDirs: [dir] })).toMatch(
      /tls: failed to verify certificate: x509: .*other\.test/,
    );
  });

  test('a listed registry may have any certificate, also on loopback', async () => {
    await using fake = await startFake({ 'app:1': image }, { tls });
    await pull(`${named(fake)}/app:1`, { lookup: here, insecure: ['registry.test'] });
    await pull(`${fake.host}/app:1`);
  });
});

/** A registry that answers only who shows `header`, and asks for it by `challenge`. */
async function guarded(challenge: string, header: string): Promise<Fake> {
  const fake = await startFake({ 'app:1': image });
  fake.on(/^\/v2\//, (request, response) => {
    if (request.headers.authorization === header) return false;
    response.setHeader('www-authenticate', challenge);
    return fault(response, 401, 'UNAUTHORIZED', 'authentication required');
  });
  return fake;
}

describe('logging in', () => {
  test('with user and password', async () => {
    await using fake = await guarded('Basic realm="r"', basic);
    await pull(`${fake.host}/app:1`, { credentials: password });
    expect(await failure(`${fake.host}/app:1`)).toBe(
      `Get "http://${fake.host}/v2/app/manifests/1": no basic auth credentials`,
    );
    const wrong = { ...password, password: 'wrong' };
    fake.seen.length = 0;
    expect(await failure(`${fake.host}/app:1`, { credentials: wrong })).toBe('unauthorized: authentication required');
    expect(fake.seen.length).toBeLessThan(5);
  });

  test('in a way that we do not know', async () => {
    await using fake = await guarded('Negotiate', 'x');
    expect(await failure(`${fake.host}/app:1`, { credentials: password })).toBe(
      'the registry asks for an unsupported way to log in: negotiate',
    );
  });

  /** A token server; `answer` is what it says. */
  async function tokens(
    answer: (url: URL, headers: Record<string, unknown>, body: string) => [number, unknown],
  ): Promise<{ url: string; asked: URL[] } & AsyncDisposable> {
    const asked: URL[] = [];
    const server = createServer((request, response: ServerResponse) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        const url = new URL(request.url ?? '', 'http://x');
        asked.push(url);
        const [status, value] = answer(url, request.headers, body);
        response.writeHead(status).end(JSON.stringify(value));
      });
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const close = (): Promise<void> =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      });
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token?x=1`,
      asked,
      [Symbol.asyncDispose]: close,
    };
  }

  test('with a token, anonymously and with a password; one token for the whole pull', async () => {
    const shown: unknown[] = [];
    await using server = await tokens((_, headers) => {
      shown.push(headers['authorization']);
      return [200, { token: 'secret', expires_in: 300 }];
    });
    await using fake = await guarded(`Bearer realm="${server.url}",service="reg.x"`, 'Bearer secret');
    await pull(`${fake.host}/app:1`);
    await pull(`${fake.host}/app:1`, { credentials: password });
    expect(server.asked.map(({ search }) => search)).toEqual([
      '?x=1&service=reg.x&scope=repository%3Aapp%3Apull',
      '?x=1&service=reg.x&scope=repository%3Aapp%3Apull&account=user',
    ]);
    expect(shown).toEqual([undefined, basic]);
  });

  test('with an identity token', async () => {
    const bodies: string[] = [];
    await using server = await tokens((_, __, body) => {
      bodies.push(body);
      return [200, { access_token: 'secret' }];
    });
    await using fake = await guarded(`Bearer realm="${server.url}",service="s"`, 'Bearer secret');
    await pull(`${fake.host}/app:1`, { credentials: { kind: 'identity', username: 'u', token: 'id' } });
    expect(Object.fromEntries(new URLSearchParams(bodies[0]))).toEqual({
      grant_type: 'refresh_token',
      service: 's',
      client_id: 'berth',
      scope: 'repository:app:pull',
      refresh_token: 'id',
    });
  });

  test("with a token of the user's", async () => {
    await using fake = await guarded('Bearer realm="http://127.0.0.1:1/"', 'Bearer mine');
    await pull(`${fake.host}/app:1`, { credentials: { kind: 'bearer', token: 'mine' } });
  });

  test('once more when a token has run out in between', async () => {
    let [n, valid] = [0, 't1'];
    await using server = await tokens(() => [200, { token: `t${++n}` }]);
    await using fake = await startFake({ 'app:1': image });
    fake.on(/^\/v2\//, (request, response) => {
      if (/blobs/.test(request.url ?? '')) valid = 't2';
      if (request.headers.authorization === `Bearer ${valid}`) return false;
      response.setHeader('www-authenticate', `Bearer realm="${server.url}"`);
      return fault(response, 401, 'UNAUTHORIZED', 'authentication required');
    });
    await pull(`${fake.host}/app:1`);
    expect(n).toBe(2);
  });

  test('never for ever: a registry that refuses every token', async () => {
    await using server = await tokens(() => [200, { token: 'no-good' }]);
    await using fake = await guarded(`Bearer realm="${server.url}"`, 'Bearer other');
    expect(await failure(`${fake.host}/app:1`)).toBe('unauthorized: authentication required');
    expect([server.asked.length, fake.seen.length]).toEqual([1, 2]);
  });

  test.each<[string, [number, unknown], string]>([
    [
      'refuses',
      [401, { details: 'incorrect username or password' }],
      'received unexpected HTTP status: 401 Unauthorized',
    ],
    ['refuses with an error', [403, { errors: [{ code: 'DENIED', message: 'no' }] }], 'denied: no'],
    ['gives no token', [200, {}], 'authorization server did not include a token in the response'],
    [
      'gives a token with a line break',
      [200, { token: 'a\r\nx: y' }],
      'authorization server did not include a token in the response',
    ],
    ['gives a number', [200, { token: 5 }], 'token must be a string, not 5'],
    ['gives a list', [200, []], 'it must be an object, not a list'],
  ])('where the token server %s', async (_, answer, message) => {
    await using server = await tokens(() => answer);
    await using fake = await guarded(`Bearer realm="${server.url}"`, 'Bearer x');
    expect(await failure(`${fake.host}/app:1`, { credentials: password })).toBe(
      `${server.url.replace('?x=1', '')}: ${message}`,
    );
  });

  test('never at a token server without TLS, for a registry with TLS', async () => {
    await using fake = await startFake({}, { tls: { key: TEST_KEY, cert: TEST_CERTIFICATE } });
    fake.on(/./, (_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="http://token.test/"' }).end(),
    );
    const dir = mkdtempSync(join(tmpdir(), 'berth-certs-'));
    dirs.push(dir);
    mkdirSync(join(dir, named(fake)));
    writeFileSync(join(dir, named(fake), 'ca.crt'), TEST_CERTIFICATE);
    expect(await failure(`${named(fake)}/app:1`, { lookup: here, certificateDirs: [dir], credentials: password })).toBe(
      'the registry names a token server without TLS: http://token.test',
    );
    await using odd = await guarded('Bearer realm="file:///etc/passwd"', 'x');
    expect(await failure(`${odd.host}/app:1`, { credentials: password })).toBe(
      'the registry names no good token server: "file:///etc/passwd"',
    );
  });
});

describe('redirects', () => {
  test('are followed without the password to another host, with it to the same', async () => {
    await using store = await startFake({ 'app:1': image });
    await using fake = await guarded('Basic realm="r"', basic);
    fake.on(/blobs\/sha256/, (request, response) =>
      response.writeHead(307, { location: `${store.url}${request.url}` }).end(),
    );
    fake.on(/manifests\/1$/, (_, response) =>
      response.writeHead(302, { location: `/v2/app/manifests/${image.digest}` }).end(),
    );
    await pull(`${fake.host}/app:1`, { credentials: password });
    expect(store.seen.length).toBeGreaterThan(1);
    expect(store.seen.map(({ headers }) => headers.authorization)).toEqual(store.seen.map(() => undefined));
    expect(fake.seen.find(({ url }) => url.endsWith(image.digest))?.headers.authorization).toBe(basic);
  });

  test.each([
    ['LOOP', 'more than 5 times'],
    ['ftp://h.x/', 'to something that is no web address'],
    ['http://', 'to something that is no web address'],
  ])('to %s end', async (place, why) => {
    await using fake = await startFake({});
    fake.on(/manifests/, (request, response) =>
      response.writeHead(301, { location: place === 'LOOP' ? `${fake.url}${request.url}` : place }).end(),
    );
    expect(await failure(`${fake.host}/app:1`)).toBe(`${fake.url} redirects ${why}`);
  });

  test('never leave TLS', async () => {
    await using fake = await startFake({}, { tls: { key: TEST_KEY, cert: TEST_CERTIFICATE } });
    fake.on(/manifests/, (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/x' }).end());
    expect(await failure(`${fake.host}/app:1`)).toBe(`${fake.url} redirects without TLS, to http://127.0.0.1:1`);
  });
});

test('a proxy of the environment is used, but never for this machine', async () => {
  await using fake = await startFake({ 'app:1': image }, { tls: { key: TEST_KEY, cert: TEST_CERTIFICATE } });
  const asked: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (request: IncomingMessage, client: Socket) => {
    asked.push(request.url ?? '');
    const server = connect(Number(fake.host.split(':')[1]), '127.0.0.1', () => client.write('HTTP/1.1 200 OK\r\n\r\n'));
    server.pipe(client).pipe(server);
    for (const socket of [server, client]) socket.on('error', () => {});
  });
  await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
  const before = process.env['HTTPS_PROXY'];
  process.env['HTTPS_PROXY'] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  try {
    await pull('registry.test/app:1', { insecure: ['registry.test'] });
    const count = asked.length;
    await pull(`${fake.host}/app:1`);
    expect([new Set(asked), asked.length]).toEqual([new Set(['registry.test:443']), count]);
  } finally {
    if (before === undefined) delete process.env['HTTPS_PROXY'];
    else process.env['HTTPS_PROXY'] = before;
    proxy.closeAllConnections();
    proxy.close();
  }
});
