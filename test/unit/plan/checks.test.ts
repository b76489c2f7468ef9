import { describe, expect, test } from 'vitest';
import { planContainer, wantedFacts } from '../../../core/plan/container.ts';
import type { Facts, Found, HostFacts } from '../../../core/plan/facts.ts';
import { architectureOf, readProgramFile } from '../../../core/plan/program-file.ts';
import { baseFacts, elfHead, hostFacts, intent } from '../../cases/load.ts';

const file = (head: Uint8Array | string, over: Partial<Extract<Found, { kind: 'file' }>> = {}): Found => ({
  at: '/x',
  kind: 'file',
  mode: 0o755,
  uid: 0,
  gid: 0,
  head: typeof head === 'string' ? new TextEncoder().encode(head) : head,
  ...over,
});
const MISSING: Found = { at: '/x', kind: 'missing' };
const DIRECTORY: Found = { at: '/x', kind: 'directory' };

/** A program whose PT_INTERP is `loader`. */
function dynamic(loader: string): Uint8Array {
  const head = new Uint8Array(512);
  head.set(elfHead());
  const view = new DataView(head.buffer);
  view.setBigUint64(32, 64n, true); // e_phoff
  view.setUint16(54, 56, true); // e_phentsize
  view.setUint16(56, 2, true); // e_phnum
  view.setUint32(64, 6, true); // PT_PHDR
  view.setUint32(120, 3, true); // PT_INTERP
  view.setBigUint64(128, 300n, true);
  view.setBigUint64(152, BigInt(loader.length + 1), true);
  head.set(new TextEncoder().encode(loader), 300);
  return head;
}

type Run = {
  argv: string[];
  lookups: Record<string, Found>;
  body?: Record<string, unknown>;
  host?: Partial<HostFacts>;
  over?: Partial<Facts>;
};
const run = ({ argv, lookups, body = {}, host = {}, over = {} }: Run) => {
  const facts = baseFacts({ lookups, host: hostFacts(host), ...over });
  return planContainer(intent({ Cmd: argv, Env: ['PATH=/a:/b'], ...body }), facts);
};
function outcome(asked: Run): unknown {
  try {
    run(asked);
    return 'starts';
  } catch (error) {
    return error instanceof Error && 'code' in error ? [error.code, error.message] : error;
  }
}

const SCRIPT = file('#! /bin/sh -e\necho\n');
describe('checkProgram()', () => {
  test.each([
    [
      'a name that PATH does not have',
      ['nope'],
      { '/a/nope': MISSING, '/b/nope': MISSING },
      ['program_not_found', 'exec: "nope": executable file not found in $PATH'],
    ],
    ['a name later in PATH', ['p'], { '/a/p': MISSING, '/b/p': file(elfHead()) }, 'starts'],
    ['a directory first in PATH', ['p'], { '/a/p': DIRECTORY, '/b/p': file(elfHead()) }, 'starts'],
    [
      'only a file without x in PATH',
      ['p'],
      { '/a/p': MISSING, '/b/p': file('', { mode: 0o644 }) },
      ['program_not_found', 'exec: "p": executable file not found in $PATH'],
    ],
    [
      'a path that is not there',
      ['/no/pe'],
      { '/no/pe': MISSING },
      ['program_not_found', 'exec: "/no/pe": stat /no/pe: no such file or directory'],
    ],
    [
      'a path without x',
      ['/etc/motd'],
      { '/etc/motd': file('', { mode: 0o644 }) },
      ['not_executable', 'exec: "/etc/motd": permission denied'],
    ],
    [
      'a directory',
      ['/etc'],
      { '/etc': DIRECTORY },
      ['not_executable', 'exec: "/etc": is a directory: permission denied'],
    ],
    ['a socket', ['/s'], { '/s': { at: '/s', kind: 'other' } }, ['not_executable', 'exec: "/s": permission denied']],
    ['a static program', ['/p'], { '/p': file(elfHead()) }, 'starts'],
    [
      'a relative path, from the working directory',
      ['./p'],
      { '/p': MISSING },
      ['program_not_found', 'exec: "./p": stat ./p: no such file or directory'],
    ],
    ['a script with its interpreter', ['/s'], { '/s': SCRIPT, '/bin/sh': file(elfHead()) }, 'starts'],
    [
      'a script without it',
      ['/s'],
      { '/s': SCRIPT, '/bin/sh': MISSING },
      ['program_not_found', 'exec /s: no such file or directory'],
    ],
    [
      'a program without its loader',
      ['/p'],
      { '/p': file(dynamic('/lib/ld.so')), '/lib/ld.so': MISSING },
      ['program_not_found', 'exec /p: no such file or directory'],
    ],
    [
      'a program with its loader',
      ['/p'],
      { '/p': file(dynamic('/lib/ld.so')), '/lib/ld.so': file(elfHead()) },
      'starts',
    ],
    [
      'a program for another machine',
      ['/p'],
      { '/p': file(elfHead(183)) },
      ['not_executable', 'exec /p: exec format error: it is built for arm64'],
    ],
    ['a text', ['/t'], { '/t': file('hello') }, ['not_executable', 'exec /t: exec format error']],
    ['an empty file', ['/t'], { '/t': file('') }, ['not_executable', 'exec /t: exec format error']],
    ['what was not looked at', ['/q'], {}, 'starts'],
    ['what was not looked at first', ['p'], { '/b/p': MISSING }, 'starts'],
  ] as [string, string[], Record<string, Found>, unknown][])('%s', (_, argv, lookups, expected) => {
    expect(outcome({ argv, lookups })).toEqual(expected);
  });

  test('an emulator makes the other machine’s programs run', () => {
    expect(outcome({ argv: ['/p'], lookups: { '/p': file(elfHead(183)) }, host: { emulated: ['arm64'] } })).toBe(
      'starts',
    );
  });

  test.each([
    [0o700, 'app', 1000, 1000, 'starts'],
    [0o077, 'app', 1000, 1000, 'refused'],
    [0o710, 'app', 0, 29, 'starts'],
    [0o701, 'app', 0, 29, 'refused'],
    [0o701, 'app', 0, 0, 'starts'],
    [0o766, 'app', 0, 0, 'refused'],
    [0o001, '', 5, 5, 'starts'],
    [0o666, '', 0, 0, 'refused'],
  ])('mode %o for user %j of a file of %i:%i: %s', (mode, User, uid, gid, expected) => {
    const found = outcome({ argv: ['/p'], lookups: { '/p': file(elfHead(), { mode, uid, gid }) }, body: { User } });
    expect(found === 'starts' ? 'starts' : 'refused').toBe(expected);
  });

  test('what a mount covers is not looked at, through links neither', () => {
    const binds = [{ source: '/h', descriptor: 0, kind: 'directory' as const }];
    const body = { HostConfig: { Binds: ['/h:/usr'] } };
    expect(outcome({ argv: ['/usr/p'], lookups: { '/usr/p': MISSING }, body, over: { binds } })).toBe('starts');
    expect(
      outcome({
        argv: ['/bin/p'],
        lookups: { '/bin/p': { at: '/usr/bin/p', kind: 'missing' } },
        body,
        over: { binds },
      }),
    ).toBe('starts');
  });

  test('an empty PATH finds nothing, an empty part of it is the working directory', () => {
    expect(outcome({ argv: ['p'], lookups: {}, body: { Env: ['PATH='] } })).toEqual([
      'program_not_found',
      'exec: "p": executable file not found in $PATH',
    ]);
    const found = run({ argv: ['p'], lookups: {}, body: { Env: ['PATH=/a/::b/'] } });
    expect(found.launch.process?.executables).toEqual(['/a/p', './p', 'b/p']);
  });
});

describe('wantedFacts()', () => {
  const wanted = (
    argv: string[],
    lookups: Record<string, Found>,
    host: Record<string, unknown> = {},
    over: Partial<Facts> = {},
  ) => wantedFacts(intent({ Cmd: argv, Env: ['PATH=/a:/b'], HostConfig: host }), baseFacts({ lookups, ...over }));

  test('asks for every place of PATH at once, then for what the program needs', () => {
    expect(wanted(['p'], {})).toEqual(['/a/p', '/b/p']);
    const first = { '/a/p': MISSING, '/b/p': SCRIPT };
    expect(wanted(['p'], first)).toEqual(['/bin/sh']);
    expect(wanted(['p'], { ...first, '/bin/sh': MISSING })).toEqual([]);
    expect(wanted(['/p'], { '/p': file(dynamic('/lib/ld.so')) })).toEqual(['/lib/ld.so']);
  });

  test('asks for targets of binds, but not beneath other mounts', () => {
    const binds = [{ source: '/h', descriptor: 0, kind: 'directory' as const }];
    const host = { Binds: ['/h:/x/y', '/h:/x', '/h:/a'] };
    expect(wanted(['p'], {}, host, { binds })).toEqual(['/x', '/a']);
  });
});

describe('readProgramFile()', () => {
  test.each([
    ['an ELF header', elfHead(), { kind: 'elf', machine: 62, loader: undefined }],
    [
      'a loader',
      dynamic('/lib64/ld-linux-x86-64.so.2'),
      { kind: 'elf', machine: 62, loader: '/lib64/ld-linux-x86-64.so.2' },
    ],
    ['a short header', elfHead().subarray(0, 63), { kind: 'unknown' }],
    ['a script', new TextEncoder().encode('#!/usr/bin/env  bash\n'), { kind: 'script', interpreter: '/usr/bin/env' }],
    ['a script of nothing', new TextEncoder().encode('#!\n'), { kind: 'unknown' }],
    ['nothing', new Uint8Array(), { kind: 'unknown' }],
  ])('%s', (_, head, expected) => {
    expect(readProgramFile(head)).toEqual(expected);
  });

  test('architectureOf() knows two', () => {
    expect([62, 183, 3].map(architectureOf)).toEqual(['x64', 'arm64', undefined]);
  });
});
