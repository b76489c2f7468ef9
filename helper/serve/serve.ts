// The helper's service: Hello, Do and Watch. Bytes and the kernel's word about the peer go to the gate; what it grants is performed.
import { chownSync, mkdirSync } from 'node:fs';
import { Event, HelloReply, Result } from '../../proto/gen/berth/helper/v1/request.ts';
import { STATUS } from '../../proto/porter/frame.ts';
import type { Gate, Verdict } from '../gate/verdict.ts';
import { asFailed, Failed } from '../ops/failed.ts';
import { SysError } from '../sys/error.ts';
import type { Peer } from '../sys/sockets.ts';
import { CallEnds, type Ticket } from './calls.ts';
import { type Hub, snapshots } from './events.ts';
import { StateForbids, type Taken } from './look.ts';
import { type Outcome, type Performer, perform } from './perform.ts';
import { outsideIds } from './rootless.ts';

export type ServiceParts = {
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

export type Service = ReturnType<typeof newService>;
type Listener = { readonly event: (bytes: Uint8Array) => void; readonly end: () => void };

/** What is asked through the door. Each throws CallEnds, or what is a bug. */
export function newService(parts: ServiceParts) {
  return {
    hello(peer: Peer): Uint8Array {
      const profiles = parts.gate.profilesOf(peer.uid);
      if (profiles.length > 0) makeHomes(parts.homes, peer);
      return HelloReply.encode({ ...parts.hello(), uid: peer.uid, profiles: [...profiles] }).finish();
    },
    do: async (call: Call): Promise<Uint8Array> => Result.encode(await answer(parts, call)).finish(),
    /** Gives the function that ends the listening. */
    watch: (call: Call, listener: Listener): (() => void) => startWatch(parts, call, listener),
  };
}

/** A user's own directories, his alone. */
function makeHomes(homes: readonly string[], { uid, gid }: Peer): void {
  for (const home of homes) {
    try {
      mkdirSync(`${home}/${uid}`, { mode: 0o700 });
      if (outsideIds() === undefined) chownSync(`${home}/${uid}`, uid, gid);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
    }
  }
}

type Call = { readonly envelope: Buffer; readonly peer: Peer; readonly ticket: Ticket | undefined };

/** The gate's word on the call's bytes. One that says "later" is no answer. */
function judge({ gate, taken }: ServiceParts, { envelope, peer, ticket }: Call): Verdict {
  taken.current = ticket;
  const verdict = gate.judge(envelope, { uid: peer.uid, pid: peer.pid });
  if (verdict.kind === 'refused' && verdict.code === 'busy') {
    const why = verdict.reasons.map(({ asked, allowed }) => `${asked}; allowed: ${allowed}`);
    throw new CallEnds(STATUS.resourceExhausted, why.join('; '));
  }
  return verdict;
}

async function answer(parts: ServiceParts, call: Call): Promise<Result> {
  const begun = performance.now();
  const verdict = judge(parts, call);
  const gateUs = Math.round((performance.now() - begun) * 1000);
  if (verdict.kind === 'refused')
    return { allowed: false, reasons: [...verdict.reasons], outcome: undefined, auditHash: Buffer.alloc(0) };
  const { request, principal, auditHash, finish } = verdict;
  if (request.dryRun) return { allowed: true, reasons: [], outcome: undefined, auditHash };
  const { uid, gid } = call.peer;
  const ticket = request.ticket.length === 0 ? undefined : call.ticket;
  try {
    const asked = { granted: verdict, owner: { name: principal, uid, gid }, ticket, gateUs };
    const outcome = await perform(parts.performer, asked);
    finish({ kind: 'done', detail: '' });
    return { allowed: true, reasons: [], outcome, auditHash };
  } catch (error) {
    const outcome = failureOf(parts, error);
    finish({ kind: 'failed', detail: outcome.value.detail });
    if (error instanceof StateForbids)
      return { allowed: false, reasons: [error.reason], outcome: undefined, auditHash };
    return { allowed: true, reasons: [], outcome, auditHash };
  }
}

function failureOf({ log }: ServiceParts, error: unknown): Extract<Outcome, { $case: 'failure' }> {
  const { step, call, errno, message } = asFailed('', error);
  if (!(error instanceof Failed || error instanceof SysError || error instanceof StateForbids))
    log(`a bug: ${error instanceof Error ? error.stack : String(error)}`);
  return { $case: 'failure', value: { step, call, errno, detail: message } };
}

/** Snapshots, then Ready, then events, all of the asking principal. */
function startWatch(parts: ServiceParts, call: Call, listener: Listener): () => void {
  const verdict = judge(parts, call);
  if (verdict.kind === 'refused' || verdict.request.verb.$case !== 'watch') {
    const reasons = verdict.kind === 'refused' ? verdict.reasons : [{ field: 'verb', asked: 'not a watch' }];
    throw new CallEnds(STATUS.permissionDenied, reasons.map(({ field, asked }) => `${field}: ${asked}`).join('; '));
  }
  const { principal, finish } = verdict;
  const event = (one: Event): void => listener.event(Event.encode(one).finish());
  for (const record of parts.performer.world.records.all())
    if (record.principal === principal) for (const one of snapshots(record)) event(one);
  event({ event: { $case: 'ready', value: {} } });
  finish({ kind: 'done', detail: '' });
  return parts.hub.listen(principal, { event, end: listener.end });
}
