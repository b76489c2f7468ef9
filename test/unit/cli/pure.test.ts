// The small pure parts of the CLI: sizes, times, keys, frames, names, files of variables, progress, columns.
import { expect, test } from 'vitest';
import { makeDemux } from '../../../core/cli/demux.ts';
import { makeKeyFilter, readDetachKeys } from '../../../core/cli/detach-keys.ts';
import { parseEnvLines, resolveEnv } from '../../../core/cli/env-file.ts';
import { wrap } from '../../../core/cli/help.ts';
import { familiarName, fullName, registryOf, splitName } from '../../../core/cli/image-name.ts';
import { findPlace, RESERVED_UID } from '../../../core/cli/place.ts';
import { bindPorts, exposePorts } from '../../../core/cli/port-flags.ts';
import { barOf } from '../../../core/cli/progress.ts';
import { ellipsis, portsText } from '../../../core/cli/ps.ts';
import { alignColumns } from '../../../core/cli/table-text.ts';
import { splitCsv } from '../../../core/cli/values.ts';
import { readWhen } from '../../../core/cli/when.ts';
import { binarySize, decimalSize, humanDuration, readDuration, readRamSize } from '../../../core/spec/units.ts';

test.each([
  ['512', 512],
  ['1k', 1024],
  ['64m', 64 * 1024 ** 2],
  ['1.5g', 1.5 * 1024 ** 3],
  ['1GiB', 1024 ** 3],
  ['2 kb', 2048],
  ['7b', 7],
])('readRamSize() of %s', (text, bytes) => {
  expect(readRamSize(text)).toEqual({ kind: 'size', bytes });
});

test.each([
  [0, '0B'],
  [999, '999B'],
  [1000, '1kB'],
  [4_281_337, '4.28MB'],
  [1_982_000, '1.98MB'],
  [123_456_789, '123MB'],
])('decimalSize() of %d', (bytes, text) => {
  expect(decimalSize(bytes)).toBe(text);
});
test.each([
  [0, '0B'],
  [1024, '1KiB'],
  [25_276_514_304, '23.54GiB'],
])('binarySize() of %d', (bytes, text) => {
  expect(binarySize(bytes)).toBe(text);
});

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
test.each([
  [0, 'Less than a second'],
  [1999, '1 second'],
  [59_000, '59 seconds'],
  [MINUTE, 'About a minute'],
  [59 * MINUTE, '59 minutes'],
  [HOUR, 'About an hour'],
  [1.5 * HOUR, '2 hours'],
  [47 * HOUR, '47 hours'],
  [3 * DAY, '3 days'],
  [15 * DAY, '2 weeks'],
  [61 * DAY, '2 months'],
  [800 * DAY, '2 years'],
])('humanDuration() of %d', (ms, text) => {
  expect(humanDuration(ms)).toBe(text);
});

test.each([
  ['0', 0],
  ['42m', 42 * MINUTE],
  ['1h30m', 1.5 * HOUR],
  ['1.5s', 1500],
  ['-2ms', -2],
  ['100us', 0.1],
  ['x', undefined],
  ['1', undefined],
  ['', undefined],
])('readDuration() of %s', (text, ms) => {
  expect(readDuration(text)).toBe(ms);
});

test.each([
  ['1700000000.25', '1700000000.25'],
  ['10s', '90.000'],
  ['1970-01-01T00:01:00Z', '60.000'],
  ['1970-01-01T00:01:00.5+00:00', '60.500'],
  ['', undefined],
])('readWhen() of %s at second 100', (text, seconds) => {
  expect(readWhen('since', text, 100_000)).toBe(seconds);
});
test("readWhen() refuses other texts in Docker's words", () => {
  expect(() => readWhen('since', 'x', 0)).toThrow(
    'invalid value for "since": failed to parse value as time or duration: "x"',
  );
});

test.each<[string, number[]]>([
  ['ctrl-p,ctrl-q', [16, 17]],
  ['a,B', [97, 66]],
  ['ctrl-@,ctrl-[,ctrl-_', [0, 27, 31]],
  ['DEL', [127]],
  ['', []],
])('readDetachKeys() of %s', (text, keys) => {
  expect(readDetachKeys(text)).toEqual(keys);
});
test('readDetachKeys() refuses what is no key', () => {
  expect(() => readDetachKeys('x,y,zzz')).toThrow("Invalid detach keys (x,y,zzz) provided: Unknown character: 'zzz'");
});

test.each<[string[], string, boolean]>([
  [['abc'], 'abc', false],
  [['a\x10', '\x11b'], 'a', true],
  [['a\x10b'], 'a\x10b', false],
  [['\x10', 'x'], '\x10x', false],
  [['\x10\x10\x11'], '\x10', true],
])('makeKeyFilter() of %j passes and leaves', (typed, pass, leaves) => {
  const filter = makeKeyFilter([16, 17]);
  const results = typed.map((one) => filter(Buffer.from(one)));
  expect(results.map((one) => one.pass.toString()).join('')).toBe(pass);
  expect(results.some((one) => one.detach)).toBe(leaves);
});

test('makeDemux() gives the pieces wherever the heads are cut', () => {
  const wire = Buffer.concat([
    Buffer.from([1, 0, 0, 0, 0, 0, 0, 3]),
    Buffer.from('out'),
    Buffer.from([2, 0, 0, 0, 0, 0, 0, 4]),
    Buffer.from('err\n'),
    Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]),
  ]);
  for (let size = 1; size <= wire.length; size += 1) {
    const demux = makeDemux();
    const texts = ['', '', ''];
    for (let at = 0; at < wire.length; at += size)
      for (const { stream, bytes } of demux(wire.subarray(at, at + size))) texts[stream] += bytes.toString();
    expect(texts).toEqual(['', 'out', 'err\n']);
  }
  expect(() => makeDemux()(Buffer.from('HTTP/1.1'))).toThrow('Unrecognized input header: 72');
});

test('parseEnvLines() keeps values as they are and takes bare names from the environment', () => {
  const text = '\uFEFF# comment\n\nA=b c # d\n  B="x"\nHOME\nGONE\nC=\r\n';
  expect(parseEnvLines(Buffer.from(text), { path: 'f', env: { HOME: '/root' } })).toEqual([
    'A=b c # d',
    'B="x"',
    'HOME=/root',
    'C=',
  ]);
  expect(resolveEnv(['A=b', 'HOME', 'GONE'], { HOME: '/root' })).toEqual(['A=b', 'HOME=/root', 'GONE']);
});

test.each<[string, string | Uint8Array]>([
  ["variable 'a b' contains whitespaces", 'a b=c'],
  ["variable 'A ' contains whitespaces", 'A \n'],
  ["no variable name on line '=c'", '=c'],
  ['invalid utf8 bytes at line 2: [65 61 255]', Uint8Array.of(10, 65, 61, 255)],
  ['bufio.Scanner: token too long', `A=${'x'.repeat(65_534)}\n`],
])('parseEnvLines() refuses: %s', (why, text) => {
  const parse = () => parseEnvLines(Buffer.from(text), { path: 'f', env: {} });
  expect(parse).toThrow(`invalid env file (f): ${why}`);
});

test.each([
  ['busybox', 'busybox:latest', 'docker.io/library/busybox:latest', 'docker.io'],
  ['docker.io/library/busybox:1', 'busybox:1', 'docker.io/library/busybox:1', 'docker.io'],
  ['me/app', 'me/app:latest', 'docker.io/me/app:latest', 'docker.io'],
  ['localhost:5000/app:2', 'localhost:5000/app:2', 'localhost:5000/app:2', 'localhost:5000'],
  ['localhost:5000/app', 'localhost:5000/app:latest', 'localhost:5000/app:latest', 'localhost:5000'],
  ['a.b/c@sha256:0', 'a.b/c@sha256:0', 'a.b/c@sha256:0', 'a.b'],
])('names of %s', (name, familiar, full, registry) => {
  expect([familiarName(name), fullName(name), registryOf(name)]).toEqual([familiar, full, registry]);
});
test('splitName() drops the tag beside a digest', () => {
  expect(splitName('a/b:1@sha256:0')).toEqual({ fromImage: 'a/b', tag: 'sha256:0' });
});

test.each<[string[], Record<string, unknown>]>([
  [['80'], { '80/tcp': [{ HostIp: '', HostPort: '' }] }],
  [['8080:80'], { '80/tcp': [{ HostIp: '', HostPort: '8080' }] }],
  [['127.0.0.1:8080:80/udp'], { '80/udp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] }],
  [['127.0.0.1::80'], { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] }],
  [['[::1]:80:80'], { '80/tcp': [{ HostIp: '::1', HostPort: '80' }] }],
  [
    ['9000-9001:9000-9001/udp'],
    { '9000/udp': [{ HostIp: '', HostPort: '9000' }], '9001/udp': [{ HostIp: '', HostPort: '9001' }] },
  ],
  [['9000-9005:80'], { '80/tcp': [{ HostIp: '', HostPort: '9000-9005' }] }],
])('bindPorts() of %j', (publish, bound) => {
  expect(bindPorts(publish)).toEqual(bound);
});
test("ports that are none are refused in Docker's words", () => {
  expect(() => bindPorts(['80:x'])).toThrow('invalid containerPort: x');
  expect(() => exposePorts(['x'], [])).toThrow(
    'invalid range format for --expose: x, error: strconv.ParseUint: parsing "x": invalid syntax',
  );
  expect(exposePorts(['22', '53/udp', '80-81'], [])).toEqual({
    '22/tcp': {},
    '53/udp': {},
    '80/tcp': {},
    '81/tcp': {},
  });
});

test('portsText() joins neighbours', () => {
  const port = (PrivatePort: number, PublicPort?: number, Type = 'tcp', IP?: string) => ({
    PrivatePort,
    PublicPort,
    Type,
    IP,
  });
  expect(portsText([port(5000, 32769, 'tcp', '0.0.0.0'), port(53, undefined, 'udp')])).toBe(
    '53/udp, 0.0.0.0:32769->5000/tcp',
  );
  expect(portsText([port(80), port(81), port(90)])).toBe('80-81/tcp, 90/tcp');
  expect(portsText([port(9001, 9001, 'udp', '0.0.0.0'), port(9000, 9000, 'udp', '0.0.0.0')])).toBe(
    '0.0.0.0:9000-9001->9000-9001/udp',
  );
});

test('alignColumns() pads every cell but the last', () => {
  expect(alignColumns(['CONTAINER ID\tIMAGE\tNAMES', 'f3da50eb5ad9\tbb:1\tc2', 'x\ty…\t'])).toBe(
    'CONTAINER ID   IMAGE     NAMES\nf3da50eb5ad9   bb:1      c2\nx              y…        \n',
  );
});

test.each([
  ['short', 20, 'short'],
  ["sh -c 'echo out; echo err'", 20, "sh -c 'echo out; ec…"],
  ['ääääää', 3, 'ää…'],
])('ellipsis() of %s', (text, max, want) => {
  expect(ellipsis(text, max)).toBe(want);
});

test('barOf() grows with what has come', () => {
  expect(barOf({ ...line, progressDetail: { current: 50, total: 100 } }, 80)).toBe(
    '[============>             ]      50B/100B',
  );
  expect(barOf({ ...line, progressDetail: { current: 50, total: undefined } }, 80)).toBe('     50B');
  expect(barOf({ ...line, progressDetail: undefined }, 80)).toBe('');
});
const line = {
  status: 'Downloading',
  id: 'a',
  stream: undefined,
  progress: undefined,
  errorDetail: undefined,
  error: undefined,
  aux: undefined,
};

test('splitCsv() keeps commas in quotes', () => {
  expect(splitCsv('type=bind,"src=/a,b",dst=/c')).toEqual(['type=bind', 'src=/a,b', 'dst=/c']);
  expect(splitCsv('"a ""q"""')).toEqual(['a "q"']);
});

test('wrap() breaks at spaces', () => {
  expect(wrap('a bb ccc dddd', 6)).toEqual(['a bb', 'ccc', 'dddd']);
});

test('findPlace() prefers -H, then the state directory, then the system', () => {
  const none = { host: undefined, stateDir: undefined };
  expect(findPlace({ host: 'unix:///x.sock', stateDir: undefined }, {}, 5)).toMatchObject({
    socket: '/x.sock',
    foreign: true,
  });
  expect(findPlace(none, { BERTH_HOST: '/y.sock' }, 5)).toMatchObject({ socket: '/y.sock', foreign: true });
  expect(findPlace({ host: undefined, stateDir: '/s' }, { BERTH_HOST: '/y.sock' }, 5)).toMatchObject({
    socket: '/s/run/5/docker.sock',
    foreign: false,
  });
  expect(findPlace(none, { BERTH_STATE_DIR: '/s' }, 0)).toMatchObject({
    socket: `/s/run/${RESERVED_UID}/docker.sock`,
    stateDir: '/s',
  });
  expect(findPlace(none, { SUDO_UID: '1000' }, 0)).toMatchObject({
    socket: '/run/berth/1000/docker.sock',
    stateDir: undefined,
    engineUid: 1000,
  });
  expect(findPlace({ host: undefined, stateDir: 'rel' }, {}, 5).stateDir).toBe(`${process.cwd()}/rel`);
  expect(() => findPlace({ host: undefined, stateDir: '' }, {}, 5)).toThrow('--state-dir is empty');
  expect(() => findPlace({ host: 'tcp://x', stateDir: undefined }, {}, 5)).toThrow('unable to parse docker host');
  expect(() => findPlace({ host: undefined, stateDir: `/${'d'.repeat(100)}` }, {}, 5)).toThrow(
    'choose a shorter --state-dir',
  );
});
