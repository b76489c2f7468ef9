// The helper's service: Hello, Do and Watch on its socket. Bytes and the kernel's word about the peer go to the gate; what it grants is performed.
import { chownSync, mkdirSync } from 'node:fs';
import { type sendUnaryData, type ServerUnaryCall, type ServerWritableStream, status } from '@grpc/grpc-js';
import { HelperServiceService } from '../../proto/gen/berth/helper/v1/helper.ts';
import type { Event, HelloReply, HelloRequest, Result } from '../../proto/gen/berth/helper/v1/request.ts';
import type { Gate, Peer, Refused } from '../gate/verdict.ts';
import { asFailed, Failed } from '../ops/failed.ts';
import { SysError } from '../sys/error.ts';
import type { Hub } from '../watch/hub.ts';
import type { Ticket } from './lane.ts';
import { peerOfCall } from './listen.ts';
import type { Taken } from './look.ts';
import { type Asked, type Outcome, type Performer, perform, StateForbids } from './perform.ts';
import { outsideIds } from './rootless.ts';
import { snapshots } from './snapshots.ts';

const PENDING_PER_UID = 64;
const WAITING_EVENTS = 1024;

export type Service = {
  readonly gate: Gate;
  readonly performer: Performer;
  readonly hub: Hub;
  readonly taken: Taken;
  /** What Hello tells everybody; the rest is of the peer. */
  readonly hello: () => Omit<HelloReply, 'uid' | 'profiles'>;
  /** A user's own directories, made when he first connects. */
  readonly homes: readonly string[];
  readonly log: (line: string) => void;
};

/** Requests arrive as bytes: they are decoded once, after their signature was checked. */
export const RAW_SERVICE = {
  hello: HelperServiceService.hello,
  do: { ...HelperServiceService.do, requestDeserialize: (bytes: Buffer) => bytes },
  watch: { ...HelperServiceService.watch, requestDeserialize: (bytes: Buffer) => bytes },
};

/** The handlers of the service. */
export function newHandlers(service: Service) {
  const pending = new Map<number, number>();
  return {
    hello(call: ServerUnaryCall<HelloRequest, HelloReply>, answer: sendUnaryData<HelloReply>): void {
      try {
        answer(null, sayHello(service, peerOfCall(call.getPeer())));
      } catch (error) {
        answer(asStatus(service, error));
      }
    },
    do(call: ServerUnaryCall<Buffer, Result>, answer: sendUnaryData<Result>): void {
      const { uid } = peerOfCall(call.getPeer());
      const count = pending.get(uid) ?? 0;
      if (count >= PENDING_PER_UID) {
        answer({ code: status.RESOURCE_EXHAUSTED, details: `${count} requests of uid ${uid} are under way` });
        return;
      }
      pending.set(uid, count + 1);
      answerDo(service, call)
        .then((result) => answer(null, result))
        .catch((error) => answer(asStatus(service, error)))
        .finally(() => pending.set(uid, (pending.get(uid) ?? 1) - 1));
    },
    watch(call: ServerWritableStream<Buffer, Event>): void {
      try {
        startWatch(service, call);
      } catch (error) {
        call.emit('error', asStatus(service, error));
      }
    },
  };
}

function sayHello(service: Service, { uid, gid }: ReturnType<typeof peerOfCall>): HelloReply {
  const profiles = service.gate.profilesOf(uid);
  if (profiles.length > 0) makeHomes(service.homes, uid, gid);
  return { ...service.hello(), uid, profiles: [...profiles] };
}

/** A user's own directories, his alone. */
function makeHomes(homes: readonly string[], uid: number, gid: number): void {
  for (const home of homes) {
    try {
      mkdirSync(`${home}/${uid}`, { mode: 0o700 });
      if (outsideIds() === undefined) chownSync(`${home}/${uid}`, uid, gid);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
    }
  }
}

function judgeOrClose({ gate, taken }: Service, request: Buffer, peer: Peer) {
  try {
    return gate.judge(request, peer);
  } catch (error) {
    (taken.current as Ticket | undefined)?.close();
    throw error;
  }
}

/** The gate's word on the call's bytes, and the ticket that was taken on the way. */
function judge(service: Service, call: { request: Buffer; getPeer: () => string }) {
  const peer = peerOfCall(call.getPeer());
  service.taken.current = undefined;
  const begun = performance.now();
  const verdict = judgeOrClose(service, call.request, { uid: peer.uid, pid: peer.pid });
  const gateUs = Math.round((performance.now() - begun) * 1000);
  return { verdict, peer, gateUs, ticket: service.taken.current as Ticket | undefined };
}

async function answerDo(service: Service, call: ServerUnaryCall<Buffer, Result>): Promise<Result> {
  const { verdict, peer, gateUs, ticket } = judge(service, call);
  try {
    if (verdict.kind === 'refused') return refusal(verdict);
    const { request, principal, auditHash } = verdict;
    if (request.dryRun) return { allowed: true, reasons: [], outcome: undefined, auditHash };
    const owner = { name: principal, uid: peer.uid, gid: peer.gid };
    return await performed(service, { granted: verdict, owner, ticket, gateUs });
  } finally {
    ticket?.close();
  }
}

async function performed(service: Service, asked: Asked): Promise<Result> {
  const { finish, auditHash } = asked.granted;
  try {
    const outcome = await perform(service.performer, asked);
    finish({ kind: 'done', detail: '' });
    return { allowed: true, reasons: [], outcome, auditHash };
  } catch (error) {
    const outcome = failureOf(service, error);
    finish({ kind: 'failed', detail: outcome.value.detail });
    if (error instanceof StateForbids)
      return { allowed: false, reasons: [error.reason], outcome: undefined, auditHash };
    return { allowed: true, reasons: [], outcome, auditHash };
  }
}

/** A refusal is an answer; only one that says "later" is an error of the call. */
function refusal({ code, reasons }: Refused): Result {
  if (code === 'busy') throw new Busy(reasons.map(({ asked, allowed }) => `${asked}; allowed: ${allowed}`).join('; '));
  return { allowed: false, reasons: [...reasons], outcome: undefined, auditHash: Buffer.alloc(0) };
}

class Busy extends Error {}

function failureOf(service: Service, error: unknown): Extract<Outcome, { $case: 'failure' }> {
  const { step, call, errno, message } = asFailed('', error);
  if (!(error instanceof Failed || error instanceof SysError || error instanceof StateForbids))
    service.log(`a bug: ${error instanceof Error ? error.stack : String(error)}`);
  return { $case: 'failure', value: { step, call, errno, detail: message } };
}

function asStatus(service: Service, error: unknown): { code: status; details: string } {
  if (error instanceof Busy) return { code: status.RESOURCE_EXHAUSTED, details: error.message };
  service.log(`a bug: ${error instanceof Error ? error.stack : String(error)}`);
  return { code: status.INTERNAL, details: 'the helper has a bug; its log says more' };
}

/** Snapshots, then Ready, then events, all of the asking principal. */
function startWatch(service: Service, call: ServerWritableStream<Buffer, Event>): void {
  const { verdict, ticket } = judge(service, call);
  ticket?.close();
  if (verdict.kind === 'refused' || verdict.request.verb.$case !== 'watch') {
    const why =
      verdict.kind === 'refused'
        ? verdict.reasons.map((one) => `${one.field}: ${one.asked}`).join('; ')
        : 'not a watch';
    call.emit('error', { code: status.PERMISSION_DENIED, details: why });
    return;
  }
  const { world } = service.performer;
  for (const record of world.records.all()) {
    if (record.principal === verdict.principal) for (const event of snapshots(record)) call.write(event);
  }
  call.write({ event: { $case: 'ready', value: {} } });
  const take = (event: Event): boolean => call.write(event) || call.writableLength < WAITING_EVENTS;
  const stop = service.hub.listen(verdict.principal, { take, end: () => call.end() });
  call.on('cancelled', stop);
  call.on('close', stop);
  verdict.finish({ kind: 'done', detail: '' });
}
