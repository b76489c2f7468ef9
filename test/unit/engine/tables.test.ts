// Small decisions of the engine, each as a table: merged configuration, log options, exit codes, names, filters, events, feeds.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { timeText } from '../../../core/engine/clock.ts';
import { mergedConfig, shownHostConfig } from '../../../core/engine/config.ts';
import { exitCode } from '../../../core/engine/container.ts';
import type { EngineEvent } from '../../../core/engine/engine.ts';
import { makeEvents } from '../../../core/engine/events.ts';
import { makeFeed } from '../../../core/engine/feed.ts';
import { hasLabel, listContainers } from '../../../core/engine/list.ts';
import { makeName, NAME } from '../../../core/engine/names.ts';
import { logLimits } from '../../../core/engine/output.ts';
import { type ContainerCreateBody, emptyCreateBody } from '../../../core/spec/docker-api.ts';
import { containerConfig } from '../../../core/spec/docker-config.ts';
import { fakeEngine } from './fake.ts';

const body = (change: Partial<ContainerCreateBody>): ContainerCreateBody => ({ ...emptyCreateBody(), ...change });

test.each([
  [0, 0],
  [3 << 8, 3],
  [9, 137],
  [15, 143],
  [0x80 | 11, 139],
])('exitCode(%i) is %i', (status, code) => expect(exitCode(status)).toBe(code));

test('timeText() prints nine digits', () => {
  expect(timeText(0n)).toBe('1970-01-01T00:00:00.000000000Z');
  expect(timeText(1_700_000_000_000_000_007n)).toBe('2023-11-14T22:13:20.000000007Z');
});

const image = {
  ...containerConfig.zero(),
  Env: ['PATH=/bin', 'A=image'],
  Cmd: ['image'],
  Entrypoint: ['/entry'],
  User: 'app',
  WorkingDir: '/app',
  Labels: { a: '1', b: '1' },
  StopSignal: 'INT',
};
test.each<[string, Partial<ContainerCreateBody>, object]>([
  [
    'nothing given',
    {},
    {
      Env: ['PATH=/bin', 'A=image'],
      Cmd: ['image'],
      Entrypoint: ['/entry'],
      User: 'app',
      WorkingDir: '/app',
      Hostname: 'abc',
      StopSignal: 'INT',
    },
  ],
  ['words', { Cmd: ['own'] }, { Cmd: ['own'], Entrypoint: ['/entry'] }],
  ['an entrypoint drops CMD', { Entrypoint: ['/own'] }, { Cmd: null, Entrypoint: ['/own'] }],
  ['variables', { Env: ['A=own', 'GONE'] }, { Env: ['A=own', 'PATH=/bin'] }],
  ['labels', { Labels: { b: '2' } }, { Labels: { a: '1', b: '2' } }],
  ['a host name', { Hostname: 'me', User: 'u', WorkingDir: '/w' }, { Hostname: 'me', User: 'u', WorkingDir: '/w' }],
])('mergedConfig(): %s', (_, own, expected) => expect(mergedConfig(body(own), image, 'abc')).toMatchObject(expected));

test('shownHostConfig() fills in what holds where nothing was said', () => {
  expect(shownHostConfig(emptyCreateBody().HostConfig)).toMatchObject({
    NetworkMode: 'none',
    IpcMode: 'private',
    ShmSize: 67_108_864,
    RestartPolicy: { Name: 'no' },
    LogConfig: { Type: 'json-file' },
  });
  expect(shownHostConfig({ ...emptyCreateBody().HostConfig, Privileged: true }).MaskedPaths).toBeNull();
});

const withLog = (Type: string, Config: Record<string, string>): ContainerCreateBody =>
  body({ HostConfig: { ...emptyCreateBody().HostConfig, LogConfig: { Type, Config } } });
test.each<[string, Record<string, string>, number, number]>([
  ['', {}, 10 << 20, 3],
  ['json-file', { 'max-size': '1m', 'max-file': '5' }, 1 << 20, 5],
  ['local', { 'max-size': '1' }, 1 << 16, 3],
  ['none', {}, 1 << 16, 1],
])('logLimits() of %s %j', (type, options, segmentBytes, segments) =>
  expect(logLimits(withLog(type, options))).toEqual({ segmentBytes, segments }),
);

test.each<[string, Record<string, string>, string]>([
  ['syslog', {}, "no log driver named 'syslog'"],
  ['json-file', { 'max-sise': '1m' }, "unknown log opt 'max-sise'"],
  ['json-file', { 'max-size': 'big' }, 'invalid value for max-size'],
  ['json-file', { 'max-file': '0' }, 'invalid value for max-file'],
])('logLimits() refuses %s %j', (type, options, text) => expect(() => logLimits(withLog(type, options))).toThrow(text));

test('makeName() gives names that Docker takes, and a number when all are taken', () => {
  for (let i = 0; i < 200; i++) expect(makeName(() => false)).toMatch(/^[a-z]+_[a-z]+$/);
  expect(makeName((name) => !/\d/.test(name))).toMatch(/^[a-z]+_[a-z]+\d+$/);
  for (const [name, good] of [
    ['ab', true],
    ['a', false],
    ['-ab', false],
    ['a.b_c-d', true],
    ['a/b', false],
    ['ä1', false],
  ] as const)
    expect(NAME.test(name)).toBe(good);
});

test.each([
  ['a', true],
  ['a=1', true],
  ['a=2', false],
  ['b', false],
  ['c=x=y', true],
])('hasLabel(%s) is %s', (wanted, expected) => expect(hasLabel({ a: '1', c: 'x=y' }, wanted)).toBe(expected));

test('listContainers(): filters, order and limit', async () => {
  await using engine = fakeEngine();
  const at = (seconds: number): string => String(BigInt(seconds) * 1_000_000_000n);
  const exited = {
    kind: 'exited',
    bootNs: '1',
    code: 3,
    outOfMemory: false,
    error: '',
    startedNs: '1',
    finishedNs: at(50),
  } as const;
  const running = { kind: 'running', pid: 1, startedNs: '1', bootNs: '1', paused: false, outOfMemory: false } as const;
  engine.make({ Labels: { tier: 'db' } }, { name: 'old', createdNs: at(10), state: running });
  engine.make({ Labels: { tier: 'web' } }, { name: 'middle', createdNs: at(20), state: exited });
  engine.make({}, { name: 'new', createdNs: at(30) });
  const names = (filters: Record<string, string[]>, more: { all?: boolean; limit?: number } = {}): string[] =>
    listContainers(engine.context, { all: more.all ?? false, limit: more.limit, size: false, filters }).map((one) =>
      (one.Names?.[0] ?? '').slice(1),
    );
  expect(names({})).toEqual(['old']);
  expect(names({}, { all: true })).toEqual(['new', 'middle', 'old']);
  expect(names({}, { limit: 2 })).toEqual(['new', 'middle']);
  expect(names({ status: ['exited', 'created'] })).toEqual(['new', 'middle']);
  expect(names({ exited: ['3'] })).toEqual(['middle']);
  expect(names({ label: ['tier'], name: ['^m'] }, { all: true })).toEqual(['middle']);
  expect(names({ before: ['middle'] }, { all: true })).toEqual(['old']);
  expect(names({ since: ['old'] }, { all: true })).toEqual(['new', 'middle']);
  expect(names({ ancestor: ['bb:1'] }, { all: true })).toEqual(['new', 'middle', 'old']);
  expect(names({ network: ['none'] })).toEqual(['old']);
  expect(() => names({ status: ['weird'] })).toThrow("invalid filter 'status=weird'");
  expect(() => names({ exited: ['x'] })).toThrow("invalid filter 'exited=x'");
  expect(() => names({ health: ['weird'] })).toThrow("invalid filter 'health=weird'");
  expect(names({ 'is-task': ['true'] }, { all: true })).toEqual([]);
  expect(names({ 'is-task': ['false'] }, { all: true })).toEqual(names({}, { all: true }));
  expect(() => names({ color: ['red'] })).toThrow("invalid filter 'color'");
  expect(
    listContainers(engine.context, { all: true, limit: undefined, size: false, filters: { name: ['middle'] } })[0],
  ).toMatchObject({ State: 'exited', Status: expect.stringMatching(/^Exited \(3\) .* ago$/) });
});

test('events: kept ones, new ones, filters, an end', async () => {
  const events = makeEvents();
  const emit = (action: string, id = 'c1'): void =>
    events.emit({ type: 'container', action, id, attributes: { name: `name-${id}`, image: 'bb:1', tier: 'web' } });
  emit('create');
  const read = async (query: Partial<Parameters<typeof events.subscribe>[0]>): Promise<string[]> => {
    const found: EngineEvent[] = [];
    for await (const event of events.subscribe({
      sinceNs: 0n,
      untilNs: BigInt(Date.now() + 60) * 1_000_000n,
      filters: {},
      ...query,
    }))
      found.push(event);
    return found.map((event) => event.action);
  };
  const all = read({});
  const none = read({ sinceNs: undefined, filters: { event: ['create'] } });
  const labelled = read({ filters: { label: ['tier=web'], container: ['name-c2'] } });
  const images = read({ filters: { type: ['image'] } });
  emit('start');
  emit('exec_start: ls', 'c2');
  expect(await all).toEqual(['create', 'start', 'exec_start: ls']);
  expect(await none).toEqual([]);
  expect(await labelled).toEqual(['exec_start: ls']);
  expect(await images).toEqual([]);
});

test('a feed gives what was pushed, then its end or its error; leaving early ends it', async () => {
  let ends = 0;
  const feed = makeFeed<number>({ most: 3, onEnd: () => ends++ });
  for (const n of [1, 2, 3, 4]) feed.push(n);
  feed.end(new Error('broken'));
  const seen: number[] = [];
  await expect(
    (async () => {
      for await (const n of feed.iterable) seen.push(n);
    })(),
  ).rejects.toThrow('broken');
  expect(seen).toEqual([2, 3, 4]);
  const other = makeFeed<number>({ onEnd: () => ends++ });
  const waiting = other.iterable.next();
  await sleep(1);
  await other.iterable.return?.();
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(ends).toBe(2);
});
