// A connection to one registry: where it answers, how to log in, redirects without the password.
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { BerthError } from '../base/errors.ts';
import { faultText, readFault } from './answer.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { Credentials } from './credentials.ts';
import { type Authorization, authorize, type TokenSource } from './tokens.ts';
import {
  isLoopback,
  openTransport,
  requestText,
  type Request,
  type Transport,
  type TransportOptions,
} from './transport.ts';

export type RegistryOptions = TransportOptions & {
  readonly credentials: Credentials;
  /** Hosts (`host` or `host:port`) and networks (CIDR) that may be used without TLS or with any certificate. Loopback always may. */
  readonly insecure: readonly string[];
  readonly signal?: AbortSignal | undefined;
};

export type Ask = {
  readonly method: Request['method'];
  /** After `/v2/`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** `repository:library/busybox:pull`. */
  readonly scope: string;
  readonly signal?: AbortSignal | undefined;
};

/** A registry that answered once. Disposing ends its connections. */
export type RegistryClient = Disposable & {
  readonly base: URL;
  /** The final answer after logging in and redirects, whatever its status. Throws registry. */
  readonly ask: (ask: Ask) => Promise<IncomingMessage>;
};

const TLS_TRY_MS = 10_000;
const REDIRECTS_MAX = 5;
const REDIRECT = [301, 302, 303, 307, 308];

/** Finds how a registry can be reached: TLS first, plain HTTP only where that is allowed. Throws registry. */
export async function openRegistry(domain: string, options: RegistryOptions): Promise<RegistryClient> {
  const host = domain === 'docker.io' ? 'registry-1.docker.io' : domain;
  const insecure = isInsecure(host, options.insecure);
  const transport = openTransport(options);
  try {
    const { answer, base } = await ping(transport, host, { insecure, signal: options.signal });
    const challenges = await pingResult(answer, base);
    return connected({ base, options, challenges }, { transport, credentials: options.credentials, insecure });
  } catch (error) {
    transport[Symbol.dispose]();
    throw error;
  }
}

type Pinged = { readonly answer: IncomingMessage; readonly base: URL };

async function ping(
  transport: Transport,
  host: string,
  { insecure, signal }: { insecure: boolean; signal: AbortSignal | undefined },
): Promise<Pinged> {
  const [secure, plain] = [new URL(`https://${host}/v2/`), new URL(`http://${host}/v2/`)];
  if (insecure) {
    // A server without TLS may wait for the end of what it takes for a request.
    const request = { method: 'GET', url: secure, headers: {}, idleMs: TLS_TRY_MS, signal } as const;
    const answer = await transport.send(request, false).catch(() => undefined);
    signal?.throwIfAborted();
    if (answer !== undefined) return { answer, base: secure };
  }
  const base = insecure ? plain : secure;
  return { answer: await transport.send({ method: 'GET', url: base, headers: {}, signal }, true), base };
}

async function pingResult(answer: IncomingMessage, base: URL): Promise<readonly Challenge[]> {
  if (answer.statusCode === 401) {
    const challenges = parseChallenges(answer.headersDistinct['www-authenticate'] ?? []);
    answer.resume();
    if (challenges.length > 0) return challenges;
  } else if (answer.statusCode === 200) {
    answer.resume();
    return [];
  }
  const fault = await readFault(answer);
  throw new BerthError('registry', `${base}: it does not answer as a registry (version 2): ${faultText(fault)}`);
}

/** Whether a host may be spoken to without TLS. */
export function isInsecure(host: string, listed: readonly string[]): boolean {
  const name = new URL(`https://${host}`).hostname.replace(/^\[|\]$/g, '');
  if (isLoopback(name) || listed.includes(host) || listed.includes(name)) return true;
  const family = isIP(name);
  if (family === 0) return false;
  const nets = new BlockList();
  for (const entry of listed) {
    const [net = '', bits = ''] = entry.split('/');
    const kind = isIP(net);
    if (kind !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (kind === 4 ? 32 : 128)) {
      nets.addSubnet(net, Number(bits), kind === 4 ? 'ipv4' : 'ipv6');
    }
  }
  return nets.check(name, family === 4 ? 'ipv4' : 'ipv6');
}

type Found = { readonly base: URL; readonly options: RegistryOptions; readonly challenges: readonly Challenge[] };

function connected({ base, options, challenges: pinged }: Found, source: TokenSource): RegistryClient {
  const granted = new Map<string, Authorization>();
  let challenges = pinged;
  const authorization = async ({ scope, method, path }: Ask): Promise<Authorization | undefined> => {
    const known = granted.get(scope);
    if (known !== undefined && known.untilMs > Date.now()) return known;
    const shown = requestText(method, new URL(path, base));
    const got = await authorize(source, challenges, { scope, shown });
    if (got !== undefined) granted.set(scope, got);
    return got;
  };
  const once = async (ask: Ask): Promise<IncomingMessage> => {
    const header = (await authorization(ask))?.header;
    const headers = { ...ask.headers, ...(header === undefined ? {} : { authorization: header }) };
    const { method, signal = options.signal, body } = ask;
    const request = { method, url: new URL(ask.path, base), headers, signal };
    return follow(source, body === undefined ? request : { ...request, body });
  };
  const ask = async (wanted: Ask): Promise<IncomingMessage> => {
    const had = granted.has(wanted.scope) || challenges.length === 0;
    const answer = await once(wanted);
    if (answer.statusCode !== 401 || !had) return answer;
    // The token ran out, or only this path asks for one: once more, with what is asked for now.
    const now = parseChallenges(answer.headersDistinct['www-authenticate'] ?? []);
    if (now.length === 0) return answer;
    answer.resume();
    challenges = now;
    granted.delete(wanted.scope);
    return once(wanted);
  };
  return { base, ask, [Symbol.dispose]: () => source.transport[Symbol.dispose]() };
}

/** Follows redirects of reading requests. Another host never sees the Authorization header, and TLS is not left. */
async function follow(source: TokenSource, request: Request): Promise<IncomingMessage> {
  let next = request;
  for (let hops = 0; ; hops++) {
    const answer = await source.transport.send(next, !source.insecure || next.url.host !== request.url.host);
    const place = answer.headers.location;
    const reads = next.method === 'GET' || next.method === 'HEAD';
    if (!reads || place === undefined || !REDIRECT.includes(answer.statusCode ?? 0)) return answer;
    answer.resume();
    const url = URL.parse(place, next.url.href);
    const from = next.url.origin;
    if (url === null || !/^https?:$/.test(url.protocol))
      throw refusedRedirect(from, 'to something that is no web address');
    if (next.url.protocol === 'https:' && url.protocol === 'http:')
      throw refusedRedirect(from, `without TLS, to ${url.origin}`);
    if (hops >= REDIRECTS_MAX) throw refusedRedirect(from, `more than ${REDIRECTS_MAX} times`);
    const headers = Object.entries(next.headers).filter(([name]) => name !== 'authorization' || url.origin === from);
    next = { ...next, url, headers: Object.fromEntries(headers) };
  }
}

function refusedRedirect(from: string, why: string): BerthError {
  return new BerthError('registry', `${from} redirects ${why}`);
}
