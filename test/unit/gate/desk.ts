// What the gate's tests share: a private /etc/berth and log in a temporary directory, keys, requests, envelopes, and a gate with a clock of its own.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGate } from '../../../helper/gate/gate.ts';
import type { Gate, Look, Refused, Verdict } from '../../../helper/gate/verdict.ts';
import { Envelope, Request } from '../../../proto/gen/berth/helper/v1/request.ts';
import { canonicalJson } from '../../../proto/policy/canonical.ts';
import type { Policy, Principal } from '../../../proto/policy/compiled.ts';
import { DEFAULT_PROFILE } from '../../../proto/policy/profile.ts';
import type { Seen } from '../../../proto/policy/seen.ts';
import { keyId, pae, REQUEST_TYPE } from '../../../proto/sign/envelope.ts';
import { type KeyFile, newKeyFile, readKeyFile } from '../../../proto/sign/key.ts';
import { verifyChain } from '../../../proto/sign/verify-chain.ts';

export const INSTANCE = Buffer.alloc(16, 7);
export const ALICE = { uid: 1000, pid: 10 };
export const BOB = { uid: 1001, pid: 11 };
export const ID = 'a'.repeat(64);

export function newKey(): KeyFile {
  const key = readKeyFile(newKeyFile());
  if (key === undefined) throw new Error('a new key cannot be read');
  return key;
}

export function principal(uid: number, key: KeyFile, more: Partial<Principal> = {}): Principal {
  const keys = [{ key: key.publicKey.toString('hex'), role: 'user' as const, notAfter: 'never' }];
  return { uid, keys, profiles: ['default'], quota: {}, ...more };
}

export function seen(more: Partial<Seen> = {}): Seen {
  return { uid: 1000, files: [], own: [], hostNamespaces: [], containers: 0, execs: 0, layersBytes: 0, ...more };
}

let sequence = 0n;
export function request(more: Partial<Request> = {}): Request {
  sequence += 1n;
  return {
    instance: INSTANCE,
    sequence,
    principal: 'alice',
    profile: 'default',
    dryRun: false,
    ticket: Buffer.alloc(0),
    verb: { $case: 'remove', value: { container: ID } },
    ...more,
  };
}

export function seal(key: KeyFile, payload: Uint8Array, more: Partial<Envelope> = {}): Buffer {
  const none = Buffer.alloc(0);
  const envelope: Envelope = {
    keyId: keyId(key.publicKey),
    payload: Buffer.from(payload),
    signature: key.sign(pae(REQUEST_TYPE, payload)),
    delegation: none,
    delegationSignature: none,
    publicKey: none,
    ...more,
  };
  return Buffer.from(Envelope.encode(envelope).finish());
}

export function sealed(key: KeyFile, more: Partial<Request> = {}): Buffer {
  return seal(key, Request.encode(request(more)).finish());
}

export type Desk = {
  readonly directory: string;
  readonly log: string;
  readonly gate: Gate;
  nowMs: number;
  look: Look;
  readonly write: (policy: Partial<Policy> | undefined, principals: Readonly<Record<string, Principal>>) => void;
  readonly records: () => Record<string, unknown>[];
  readonly close: () => void;
};

/** A gate over a new directory. `full`: the audit log's disk takes nothing while it says so. */
export function openDesk(
  options: { full?: () => boolean; pace?: { burst: number; perSecond: number }; segmentBytesMax?: number } = {},
): Desk {
  const directory = mkdtempSync(join(tmpdir(), 'berth-gate-'));
  const etc = join(directory, 'etc');
  const log = join(directory, 'audit');
  mkdirSync(join(etc, 'principals'), { recursive: true });
  const desk: Desk = {
    directory: etc,
    log,
    nowMs: Date.UTC(2026, 0, 1),
    look: () => ({ kind: 'seen', seen: seen() }),
    gate: undefined as unknown as Gate,
    write: (policy, principals) => {
      const whole = {
        version: 1,
        selfEnrol: false,
        selfEnrolProfiles: [],
        profiles: { default: DEFAULT_PROFILE },
        ...policy,
      };
      if (policy !== undefined) writeFileSync(join(etc, 'policy.json'), canonicalJson(whole));
      for (const [name, value] of Object.entries(principals)) {
        writeFileSync(join(etc, 'principals', `${name}.json`), canonicalJson(value));
      }
    },
    records: () => readLog(log),
    close: () => rmSync(directory, { recursive: true }),
  };
  const write = options.full && fullDisk(options.full);
  const audit = {
    directory: log,
    ...(write && { write }),
    ...(options.segmentBytesMax && { segmentBytesMax: options.segmentBytesMax }),
  };
  const gate = openGate({
    directory: etc,
    audit,
    instance: INSTANCE,
    look: (...args) => desk.look(...args),
    nowMs: () => desk.nowMs,
    ...(options.pace && { pace: options.pace }),
  });
  return Object.assign(desk, { gate });
}

function fullDisk(full: () => boolean): (fd: number, bytes: Uint8Array) => number {
  return (fd, bytes) => {
    if (full()) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    return writeAll(fd, bytes);
  };
}

function writeAll(fd: number, bytes: Uint8Array): number {
  writeFileSync(fd, bytes);
  return bytes.length;
}

export function segments(log: string) {
  return readdirSync(log)
    .sort()
    .map((name) => ({ name, bytes: readFileSync(join(log, name)) }));
}

/** Every record, after the chain was found whole. */
export function readLog(log: string): Record<string, unknown>[] {
  const all = segments(log);
  const chain = verifyChain(all);
  if (chain.broken !== undefined) throw new Error(chain.broken);
  return all.flatMap(({ bytes }) =>
    bytes
      .toString()
      .split('\n')
      .filter((line) => line.endsWith('}'))
      .map((line) => JSON.parse(line)),
  );
}

export function refused(verdict: Verdict): Refused {
  if (verdict.kind !== 'refused') throw new Error('was granted');
  return verdict;
}

export function ruleOf(verdict: Verdict): string {
  return verdict.kind === 'granted'
    ? 'granted'
    : `${verdict.code}:${verdict.reasons.map((reason) => reason.rule).join(',')}`;
}
