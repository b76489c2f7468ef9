import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Request } from '../../../proto/gen/berth/helper/v1/request.ts';
import { DEFAULT_PROFILE } from '../../../proto/policy/profile.ts';
import * as envelopes from '../../../proto/sign/envelope.ts';
import { ALICE, BOB, type Desk, ID, newKey, openDesk, principal, request, ruleOf, seal, sealed } from './desk.ts';

const key = newKey();
let desk: Desk;
beforeEach(() => {
  desk = openDesk();
  desk.write({}, { alice: principal(1000, key) });
});
afterEach(() => desk.close());
const judge = (bytes: Uint8Array, peer = ALICE): string => ruleOf(desk.gate.judge(bytes, peer));

describe('judge()', () => {
  test('grants what alice signed and may', () => {
    const verdict = desk.gate.judge(sealed(key), ALICE);
    expect(verdict).toMatchObject({ kind: 'granted', principal: 'alice', request: { verb: { $case: 'remove' } } });
    expect(Object.isFrozen(verdict.kind === 'granted' && verdict.request.verb.value)).toBe(true);
  });

  test('the same envelope twice is refused the second time', () => {
    const bytes = sealed(key);
    expect([judge(bytes), judge(bytes)]).toEqual(['granted', 'denied:sequence']);
  });

  test('a lower sequence after a higher one is refused, also where the higher one was refused by policy', () => {
    const [low, high] = [sealed(key), sealed(key, { profile: 'other' })];
    expect([judge(high), judge(low)]).toEqual(['denied:profile', 'denied:sequence']);
  });

  test('sequences are counted for each key alone', () => {
    const other = newKey();
    desk.write({}, { bob: principal(1001, other) });
    const late = sealed(key, { sequence: 2n ** 62n });
    expect(judge(late)).toBe('granted');
    expect(judge(sealed(other, { principal: 'bob' }), BOB)).toBe('granted');
  });

  const none = Buffer.alloc(0);
  test.each<[string, () => Uint8Array, string]>([
    ['another instance', () => sealed(key, { instance: Buffer.alloc(16, 8) }), 'denied:instance'],
    ['a key nobody has', () => sealed(newKey()), 'unknown:key'],
    [
      'an unknown key with its public half, where a principal of the uid exists',
      () => introduced(newKey()),
      'unknown:key',
    ],
    [
      'a public half that is not the key id',
      () => seal(key, payload(), { publicKey: newKey().publicKey }),
      'unknown:key',
    ],
    [
      'a signature of another key',
      () => seal(key, payload(), { signature: newKey().sign(payload()) }),
      'denied:signature',
    ],
    [
      'a signature without the type',
      () => seal(key, payload(), { signature: key.sign(payload()) }),
      'denied:signature',
    ],
    ['a signature over another type', () => otherType(), 'denied:signature'],
    ['no signature', () => seal(key, payload(), { signature: none }), 'denied:signature'],
    ['a delegation', () => seal(key, payload(), { delegation: Buffer.from('x') }), 'denied:delegation'],
    [
      'a delegation signature alone',
      () => seal(key, payload(), { delegationSignature: Buffer.from('x') }),
      'denied:delegation',
    ],
    ['somebody else as principal', () => sealed(key, { principal: 'bob' }), 'denied:principal'],
    ['a profile that is not his', () => sealed(key, { profile: 'host' }), 'denied:profile'],
    ['nothing', () => none, 'unknown:key'],
    ['more than may be', () => Buffer.alloc(70_000), 'malformed:size'],
    ['no protobuf', () => Buffer.from('\xff\xff\xff\xff'), 'malformed:form'],
    ['a payload that is no request', () => seal(key, Buffer.from('hello')), 'malformed:form'],
    ['a request without a verb', () => sealed(key, { verb: undefined }), 'malformed:form'],
  ])('refuses %s', (_name, bytes, rule) => {
    expect(judge(bytes())).toBe(rule);
  });

  test('gives the same answer for an unknown key and for a key of somebody else', () => {
    const bytes = sealed(key);
    const foreign = desk.gate.judge(bytes, { uid: 0, pid: 1 });
    const unknown = desk.gate.judge(sealed(newKey()), { uid: 0, pid: 1 });
    expect(foreign).toEqual(unknown);
    expect(ruleOf(foreign)).toBe('unknown:key');
  });

  test('a broker key is as an unknown one', () => {
    const raw = key.publicKey.toString('hex');
    desk.write({}, { alice: principal(1000, key, { keys: [{ key: raw, role: 'broker', notAfter: 'never' }] }) });
    expect(judge(sealed(key))).toBe('unknown:key');
  });

  test('a key ends at its time', () => {
    const keys = [{ key: key.publicKey.toString('hex'), role: 'user' as const, notAfter: '2026-02-01T00:00:00Z' }];
    desk.write({}, { alice: principal(1000, key, { keys }) });
    expect(judge(sealed(key))).toBe('granted');
    desk.nowMs = Date.UTC(2026, 1, 1) + 1;
    expect(judge(sealed(key))).toBe('unknown:key');
  });

  test('what the records say comes before policy', () => {
    desk.look = () => ({
      kind: 'refused',
      reasons: [{ rule: 'state', field: 'remove.container', asked: ID, allowed: 'one that stands' }],
    });
    expect(judge(sealed(key))).toBe('denied:state');
  });

  test('policy refuses with its reasons', () => {
    desk.write({ profiles: { default: { ...DEFAULT_PROFILE, verbs: ['launch'] } } }, {});
    expect(judge(sealed(key))).toBe('denied:verbs');
  });

  test("a principal's quota lowers the profile", () => {
    desk.write({}, { alice: principal(1000, key, { quota: { execsMax: 3, uidCountMax: 'unlimited' } }) });
    const verdict = desk.gate.judge(sealed(key), ALICE);
    expect(verdict.kind === 'granted' && [verdict.profile.execsMax, verdict.profile.uidCountMax]).toEqual([
      3,
      DEFAULT_PROFILE.uidCountMax,
    ]);
  });

  test('over its rate a uid is busy, others are not, and time helps', () => {
    desk.close();
    desk = openDesk({ pace: { burst: 2, perSecond: 1 } });
    const other = newKey();
    desk.write({}, { alice: principal(1000, key), bob: principal(1001, other) });
    expect([1, 2, 3].map(() => judge(sealed(key)))).toEqual(['granted', 'granted', 'busy:rate']);
    expect(judge(sealed(other, { principal: 'bob' }), BOB)).toBe('granted');
    desk.nowMs += 1000;
    expect(judge(sealed(key))).toBe('granted');
  });

  test('a clock that is set back keeps nobody out', () => {
    desk.close();
    desk = openDesk({ pace: { burst: 2, perSecond: 1 } });
    desk.write({}, { alice: principal(1000, key) });
    expect(judge(sealed(key))).toBe('granted');
    desk.nowMs -= 3_600_000;
    expect(judge(sealed(key))).toBe('granted');
    desk.nowMs += 1000;
    expect([1, 2].map(() => judge(sealed(key)))).toEqual(['granted', 'busy:rate']);
  });
});

describe('the order of the questions', () => {
  test.each<[string, () => Uint8Array, { uid: number; pid: number }]>([
    ['too many bytes', () => Buffer.alloc(70_000), ALICE],
    ['a uid that may not connect', () => sealed(key), { uid: 4242, pid: 1 }],
    ['a key of another uid', () => sealed(key), { uid: 0, pid: 1 }],
    ['an unknown key', () => sealed(newKey()), ALICE],
    ['an envelope that is not canonical', () => Buffer.concat([sealed(key), Buffer.from([0x1a, 0])]), ALICE],
  ])('no signature is computed for %s', (_name, bytes, peer) => {
    const verify = vi.spyOn(envelopes, 'isSignedBy');
    expect(judge(bytes(), peer)).not.toBe('granted');
    expect(verify).not.toHaveBeenCalled();
    verify.mockRestore();
  });

  test('one signature is computed for a request that is granted', () => {
    const verify = vi.spyOn(envelopes, 'isSignedBy');
    expect(judge(sealed(key))).toBe('granted');
    expect(verify).toHaveBeenCalledTimes(1);
    verify.mockRestore();
  });

  test('a bad signature does not move the sequence, and is found before the payload is read', () => {
    const good = sealed(key, { sequence: 2n ** 61n });
    const bad = Buffer.from(good);
    bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
    expect(judge(bad)).toBe('denied:signature');
    expect(judge(seal(key, Buffer.from('x'), { signature: Buffer.alloc(64) }))).toBe('denied:signature');
    expect(judge(good)).toBe('granted');
  });

  test('a wrong instance does not move the sequence', () => {
    const [now, late] = [sealed(key), sealed(key, { instance: Buffer.alloc(16, 1), sequence: 2n ** 61n })];
    expect([judge(late), judge(now)]).toEqual(['denied:instance', 'granted']);
  });
});

describe('policy files', () => {
  test('a removed key is refused at once', () => {
    expect(judge(sealed(key))).toBe('granted');
    desk.write({}, { alice: principal(1000, key, { keys: [] }) });
    expect(judge(sealed(key))).toBe('unknown:key');
  });

  test('a removed principal may not connect', () => {
    rmSync(join(desk.directory, 'principals/alice.json'));
    expect(judge(sealed(key))).toBe('unknown:connect');
  });

  test.each<[string, string]>([
    ['no JSON', '{'],
    ['not canonical', '{"version": 1}\n'],
    ['an unknown key', `{"profiles":{},"selfEnrol":true,"selfEnrolProfiles":[],"typo":1,"version":1}\n`],
  ])('a policy that is %s leaves in force what was', (_name, text) => {
    expect(judge(sealed(key))).toBe('granted');
    writeFileSync(join(desk.directory, 'policy.json'), text);
    expect(judge(sealed(key))).toBe('granted');
    const told = desk.records().filter(({ kind }) => kind === 'policy');
    expect(told).toMatchObject([{ detail: expect.stringContaining('/etc/policy.json: ') }]);
    const fresh = openDesk();
    mkdirSync(fresh.directory, { recursive: true });
    writeFileSync(join(fresh.directory, 'policy.json'), text);
    fresh.write(undefined, { alice: principal(1000, key) });
    expect(ruleOf(fresh.gate.judge(sealed(key), ALICE))).toBe('unknown:connect');
    fresh.close();
  });

  test('files that others may write, or links, are not read', () => {
    chmodSync(join(desk.directory, 'principals/alice.json'), 0o666);
    expect(judge(sealed(key))).toBe('unknown:connect');
    chmodSync(join(desk.directory, 'principals/alice.json'), 0o644);
    expect(judge(sealed(key))).toBe('granted');
    chmodSync(join(desk.directory, 'principals'), 0o777);
    desk.write({}, { alice: principal(1000, key, { profiles: [] }) });
    expect(judge(sealed(key))).toBe('granted'); // what was, still
    chmodSync(join(desk.directory, 'principals'), 0o755);
    expect(judge(sealed(key))).toBe('denied:profile');
    symlinkSync('/etc/hostname', join(desk.directory, 'principals/bob.json'));
    expect(judge(sealed(key))).toBe('denied:profile');
  });
});

describe('a user without a principal', () => {
  const own = newKey();
  const first = (more: Partial<Request> = {}): Uint8Array => introduced(own, { principal: '1001', ...more });

  test('enrols his first key where the policy says so, and his second request needs no public half', () => {
    desk.write({ selfEnrol: true, selfEnrolProfiles: ['default'] }, {});
    expect(desk.gate.profilesOf(1001)).toEqual(['1001/default']);
    expect(judge(first(), BOB)).toBe('granted');
    expect(judge(sealed(own, { principal: '1001' }), BOB)).toBe('granted');
    expect(judge(introduced(newKey(), { principal: '1001' }), BOB)).toBe('unknown:key');
    expect(desk.records().map((record) => record['kind'])).toContain('enrol');
  });

  test('enrols nothing by a dry run, by a refused request, or without his public half', () => {
    desk.write({ selfEnrol: true, selfEnrolProfiles: ['default'] }, {});
    expect(judge(first({ dryRun: true }), BOB)).toBe('granted');
    expect(judge(first({ principal: 'alice' }), BOB)).toBe('denied:principal');
    expect(judge(sealed(own, { principal: '1001' }), BOB)).toBe('unknown:key');
    expect(judge(introduced(newKey(), { principal: '1001' }), BOB)).toBe('granted');
  });

  test('may not connect where the policy does not say so', () => {
    expect(judge(first(), BOB)).toBe('unknown:connect');
    expect(desk.gate.profilesOf(1001)).toEqual([]);
  });

  test('does not come back by himself once his keys were taken away', () => {
    desk.write({ selfEnrol: true, selfEnrolProfiles: ['default'] }, { bob: principal(1001, own, { keys: [] }) });
    expect(judge(first(), BOB)).toBe('unknown:key');
    expect(judge(introduced(own, { principal: 'bob' }), BOB)).toBe('unknown:key');
  });

  test("does not take a name that is another uid's principal", () => {
    desk.write({ selfEnrol: true, selfEnrolProfiles: ['default'] }, { 1001: principal(1000, newKey()) });
    expect(judge(first(), BOB)).toBe('denied:enrol');
    expect(judge(sealed(own, { principal: '1001' }), BOB)).toBe('unknown:key');
  });

  test.each([65_534, 0x7000_0000, 0x7fff_ffff])('uid %i stands for nobody', (uid) => {
    desk.write({ selfEnrol: true, selfEnrolProfiles: ['default'] }, {});
    expect(judge(introduced(own, { principal: String(uid) }), { uid, pid: 1 })).toBe('unknown:connect');
  });

  test('too many newcomers at once have to wait', () => {
    desk.write({ selfEnrol: true, selfEnrolProfiles: ['default'] }, {});
    const rules = Array.from({ length: 40 }, (_, i) =>
      judge(introduced(newKey(), { principal: `${5000 + i}` }), { uid: 5000 + i, pid: 1 }),
    );
    expect(rules.filter((rule) => rule === 'granted').length).toBe(32);
    expect(rules.at(-1)).toBe('busy:enrol');
  });

  test('with no policy at all the default one is in force', () => {
    const fresh = openDesk();
    expect(fresh.gate.profilesOf(1001)).toEqual(['1001/default']);
    expect(ruleOf(fresh.gate.judge(first(), BOB))).toBe('granted');
    fresh.close();
  });
});

function payload(): Buffer {
  return Buffer.from(Request.encode(request()).finish());
}

function introduced(by: typeof key, more: Partial<Request> = {}): Buffer {
  return seal(by, Request.encode(request(more)).finish(), { publicKey: by.publicKey });
}

function otherType(): Buffer {
  const bytes = payload();
  return seal(key, bytes, { signature: key.sign(envelopes.pae('application/vnd.berth.request.v2', bytes)) });
}
