import { describe, expect, test } from 'vitest';
import {
  containerSummary,
  emptyCreateBody,
  eventMessage,
  execCreateBody,
  hostFieldsSet,
  type ImageDeleted,
  printEvent,
  readBody,
  readContainerCreate,
} from '../../../core/spec/docker-api.ts';

describe('readContainerCreate()', () => {
  test('fills what is missing with the zero value of the wire', () => {
    const { body, unknown } = readContainerCreate({ Image: 'busybox' });
    expect(unknown).toEqual([]);
    expect(body).toEqual({ ...emptyCreateBody(), Image: 'busybox' });
    expect(body.HostConfig).toMatchObject({ Memory: 0, Binds: null, PidsLimit: null, Privileged: false });
  });

  test('keeps null, empty and given lists apart, and takes one string for a list of words', () => {
    const { body } = readContainerCreate({ Cmd: 'a b', Entrypoint: [], Env: null, HostConfig: { CapAdd: 'ALL' } });
    expect([body.Cmd, body.Entrypoint, body.Env, body.HostConfig.CapAdd]).toEqual([['a b'], [], null, ['ALL']]);
  });

  test('prints back what Docker would: what Go omits is left out', () => {
    const printed = JSON.parse(JSON.stringify(emptyCreateBody())) as Record<string, unknown>;
    expect(Object.keys(printed)).not.toContain('StopSignal');
    expect(Object.keys(printed['HostConfig'] as object)).not.toContain('Init');
    expect(printed['Volumes']).toBeNull();
  });

  test('keeps Init false and StopTimeout 0 apart from not given', () => {
    const { body } = readContainerCreate({ StopTimeout: 0, HostConfig: { Init: false } });
    expect([body.StopTimeout, body.HostConfig.Init]).toEqual([0, false]);
  });

  test('names unknown fields that are set to something, and only those', () => {
    const { unknown } = readContainerCreate({
      Foo: 0,
      Bar: 'x',
      HostConfig: { Baz: [1], Empty: [], Nested: { a: '' } },
    });
    expect(unknown).toEqual(['Bar', 'HostConfig.Baz']);
  });

  test('a key named __proto__ is a key', () => {
    const { body } = readContainerCreate(JSON.parse('{"Labels":{"__proto__":"x"}}'));
    expect(Object.entries(body.Labels ?? {})).toEqual([['__proto__', 'x']]);
  });

  test.each([
    [null, 'container config: it must be an object, not null'],
    [[], 'container config: it must be an object, not a list'],
    [{ Tty: 'yes' }, 'container config: Tty must be true or false, not "yes"'],
    [{ Env: ['A=1', 2] }, 'container config: Env[1] must be a string, not 2'],
    [
      { HostConfig: { Memory: 1.5 } },
      'container config: HostConfig.Memory must be a whole number within ±(2^53 - 1), not 1.5',
    ],
    [
      { HostConfig: { Ulimits: [{ Name: 'nofile', Soft: '1' }] } },
      'container config: HostConfig.Ulimits[0].Soft must be a whole number within ±(2^53 - 1), not "1"',
    ],
    [
      { HostConfig: { Mounts: [{ BindOptions: [] }] } },
      'container config: HostConfig.Mounts[0].BindOptions must be an object, not a list',
    ],
    [{ Labels: { a: {} } }, 'container config: Labels[a] must be a string, not an object'],
  ])('refuses %j naming the field', (value, message) => {
    expect(() => readContainerCreate(value)).toThrow(expect.objectContaining({ code: 'bad_parameter', message }));
  });
});

test('hostFieldsSet() names what differs from the zero value', () => {
  const { body } = readContainerCreate({
    HostConfig: {
      Memory: 1,
      Dns: [],
      LogConfig: { Type: '', Config: {} },
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      ShmSize: 5,
      ConsoleSize: [0, 0],
    },
  });
  expect(hostFieldsSet(body.HostConfig)).toEqual(
    ['RestartPolicy', 'Memory', 'ShmSize'].sort(
      (a, b) => Object.keys(body.HostConfig).indexOf(a) - Object.keys(body.HostConfig).indexOf(b),
    ),
  );
});

test('printEvent() writes nanoseconds exactly', () => {
  const event = { ...eventMessage.zero(), Type: 'container', Action: 'start', time: 1_700_000_000 };
  expect(printEvent(event, 1_700_000_000_123_456_789n)).toMatch(/"time":1700000000,"timeNano":1700000000123456789\}$/);
});

test('bodies of answers can be made from their own fields alone', () => {
  const line: ImageDeleted = { Untagged: 'a:b' };
  expect(JSON.stringify(line)).toBe('{"Untagged":"a:b"}');
  expect(readBody(execCreateBody, { Cmd: ['true'] }).Cmd).toEqual(['true']);
  expect(readBody(containerSummary, { SizeRw: 0, Ports: [{ PrivatePort: 80, Type: 'tcp' }] }).Ports).toEqual([
    { IP: undefined, PrivatePort: 80, PublicPort: undefined, Type: 'tcp' },
  ]);
});
