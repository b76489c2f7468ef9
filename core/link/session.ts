// One connection to one instance of the helper: gRPC for requests, the lane for descriptors, one queue for the order. A session that has
// failed is thrown away; link.ts makes the next one.
import { randomBytes } from 'node:crypto';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { Envelope, Event, HelloReply, HelloRequest, Request, Result } from '../../proto/gen/berth/helper/v1/request.ts';
import { keyId, pae, REQUEST_TYPE } from '../../proto/sign/envelope.ts';
import type { KeyFile } from '../../proto/sign/key.ts';
import { BerthError } from '../base/errors.ts';
import { SysError } from '../sys/libc.ts';
import { type Lane, openLane, TICKET_BYTES } from './lane.ts';

export type Verb = NonNullable<Request['verb']>;
export type Place = { readonly socket: string; readonly lane: string };
export type Asked = {
  readonly verb: Verb;
  /** Given to the helper; they stay open here. */
  readonly fds: readonly number[];
  /** Whether descriptors come back. */
  readonly wantFds: boolean;
  readonly dryRun: boolean;
};
/** The caller closes `fds`. */
export type Answer = { readonly result: Result; readonly fds: number[] };

export type Session = {
  readonly hello: HelloReply;
  /** Rejects with Lost when the answer will never come. */
  readonly ask: (asked: Asked) => Promise<Answer>;
  /** Calls back for every event until the stream ends, then `end` once. */
  readonly watch: (event: (event: Event) => void, end: (problem: string) => void) => void;
  readonly close: () => void;
};

/** The helper has too much to do: nothing was done, ask again. */
export class Busy extends Error {}

/** The connection broke, or the helper is another one now: what was asked may or may not have been done. Asking again is safe: verbs are idempotent by id. */
export class Lost extends Error {}

const METHOD = '/berth.helper.v1.HelperService';
const HELLO_TIMEOUT_MS = 5000;
/** Twelve days: with what gRPC adds by chance a timer can still wait so long. */
const NEVER_MS = 2 ** 30;
const serializeEnvelope = (value: Envelope): Buffer => Buffer.from(Envelope.encode(value).finish());

// Sequence numbers only grow, over engines too: microseconds since the machine started, which nobody can set back, and past the last one where that is not
// larger. No helper, and so no instance they are counted in, is older than that.
let lastSequence = 0n;
function nextSequence(): bigint {
  const now = process.hrtime.bigint() / 1000n;
  lastSequence = now > lastSequence ? now : lastSequence + 1n;
  return lastSequence;
}

/** Opens the lane, says hello. Rejects with the reason in words. */
export async function openSession(place: Place, key: KeyFile): Promise<Session> {
  const lane = openLane(place.lane);
  const client = newClient(place);
  try {
    return sessionOf(client, lane, { hello: await sayHello(client, place), key });
  } catch (error) {
    client.close();
    lane.close();
    throw error;
  }
}

function newClient(place: Place): Client {
  return new Client(`unix:${place.socket}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    // A client that was closed while it waits to try again would connect all the same, and stay.
    'grpc.initial_reconnect_backoff_ms': NEVER_MS,
    'grpc.max_reconnect_backoff_ms': NEVER_MS,
  });
}

/** Says hello and nothing more. Rejects with the reason in words. */
export async function greet(place: Place): Promise<HelloReply> {
  const lane = openLane(place.lane);
  const client = newClient(place);
  try {
    return await sayHello(client, place);
  } finally {
    client.close();
    lane.close();
  }
}

function sayHello(client: Client, place: Place): Promise<HelloReply> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `${METHOD}/Hello`,
      (value: HelloRequest) => Buffer.from(HelloRequest.encode(value).finish()),
      HelloReply.decode,
      HelloRequest.fromPartial({}),
      new Metadata(),
      { deadline: Date.now() + HELLO_TIMEOUT_MS },
      (error, reply) => {
        if (error !== null) reject(new Error(`${place.socket}: ${error.details || error.message}`, { cause: error }));
        else if (reply === undefined) reject(new Error(`${place.socket}: an empty answer to hello`));
        else resolve(reply);
      },
    );
  });
}

function sessionOf(client: Client, lane: Lane, facts: { readonly hello: HelloReply; readonly key: KeyFile }): Session {
  const { hello, key } = facts;
  const [principal = '', profile = ''] = (hello.profiles[0] ?? '').split('/');
  // The first request shows the key: a user nobody enrolled yet becomes known by it, where the policy says that is enough.
  let introduce = true;
  const id = keyId(key.publicKey);
  let closed = false;
  const seal = (asked: Asked, ticket: Buffer): Envelope => {
    const request: Request = {
      instance: hello.instance,
      sequence: nextSequence(),
      principal,
      profile,
      dryRun: asked.dryRun,
      ticket,
      verb: asked.verb,
    };
    const payload = Buffer.from(Request.encode(request).finish());
    const none = Buffer.alloc(0);
    const signature = key.sign(pae(REQUEST_TYPE, payload));
    const publicKey = introduce ? key.publicKey : none;
    introduce = false;
    return { keyId: id, payload, signature, delegation: none, delegationSignature: none, publicKey };
  };
  return {
    hello,
    // Signing, lane and call are one synchronous step: what is signed first is sent first.
    ask: (asked) =>
      new Promise((resolve, reject) => {
        if (closed) throw new Lost('the session is closed');
        const ticket = asked.wantFds || asked.fds.length > 0 ? randomBytes(TICKET_BYTES) : Buffer.alloc(0);
        const envelope = seal(asked, ticket);
        if (ticket.length > 0) losing(() => lane.send(ticket, asked.fds));
        client.makeUnaryRequest(`${METHOD}/Do`, serializeEnvelope, Result.decode, envelope, (error, result) => {
          if (error !== null || result === undefined) return reject(callError(error));
          try {
            resolve({ result, fds: ticket.length > 0 && !asked.dryRun ? losing(() => lane.take(ticket)) : [] });
          } catch (problem) {
            reject(problem);
          }
        });
      }),
    watch: (event, end) => {
      const envelope = seal(
        { verb: { $case: 'watch', value: {} }, fds: [], wantFds: false, dryRun: false },
        Buffer.alloc(0),
      );
      const stream = client.makeServerStreamRequest(`${METHOD}/Watch`, serializeEnvelope, Event.decode, envelope);
      let ended = false;
      const finish = (problem: string): void => {
        if (!ended) end(problem);
        ended = true;
      };
      stream.on('data', event);
      stream.on('error', (error: ServiceError) => finish(error.details || error.message));
      stream.on('end', () => finish('the helper ended the stream'));
    },
    close: () => {
      if (closed) return;
      closed = true;
      lane.close();
      client.close();
    },
  };
}

/** A lane that fails is a lost helper. */
function losing<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof BerthError) throw error;
    if (error instanceof SysError && error.code === 'EMFILE') throw tooManyFiles(error);
    throw new Lost(error instanceof SysError ? `lane: ${error.message}` : String(error), { cause: error });
  }
}

/** It was done, but what came of it cannot be taken. */
function tooManyFiles(cause: SysError): BerthError {
  return new BerthError('no_descriptors', 'the engine has too many open files', {
    cause,
    hint: 'stop containers, or raise the limit (ulimit -n) and start the engine again',
  });
}

/** What the transport's error means. Refusals by policy do not come here: they are results. */
function callError(error: ServiceError | null): Error {
  if (error === null) return new Lost('an empty answer');
  const text = error.details || error.message;
  switch (error.code) {
    case status.RESOURCE_EXHAUSTED:
      return new Busy(text, { cause: error });
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return new BerthError('helper_refused', `the helper does not accept this key: ${text}`, {
        cause: error,
        hint: 'berth whoami shows the key; an administrator enrols it: berth admin enroll',
      });
    case status.INVALID_ARGUMENT:
    case status.UNIMPLEMENTED:
      return new BerthError('internal', `the helper does not understand the request: ${text}`, {
        cause: error,
        hint: 'engine and helper are of different versions: berth system down, berth system up',
      });
    default:
      return new Lost(text, { cause: error });
  }
}
