// One HTTP request of the registry client: which agent, which certificates, how long to wait, and network failures in Docker's words.
// Over node:http and not fetch, because a listed registry may have a certificate of its own or none, and fetch cannot be told so.
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request as plainRequest } from 'node:http';
import { Agent as SecureAgent, request as secureRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { join } from 'node:path';
import { getCACertificates, rootCertificates } from 'node:tls';
import { BerthError } from '../base/errors.ts';

export type Request = {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Instead of the transport's. */
  readonly idleMs?: number;
  readonly signal?: AbortSignal | undefined;
};

export type TransportOptions = {
  readonly userAgent?: string;
  /** How names are resolved, if not by the system. */
  readonly lookup?: LookupFunction;
  /** Directories as /etc/docker/certs.d: `HOST:PORT/*.crt` are authorities to trust for that host. */
  readonly certificateDirs?: readonly string[];
  /** No byte for so long is a failure. */
  readonly idleMs?: number;
};

/** A request that got no answer; another try may get one. */
export class NetworkError extends BerthError {}

/** Sends requests until it is disposed, which ends all connections. */
export type Transport = Disposable & {
  /** Does not follow redirects. `verify` false: any certificate will do. Throws registry. */
  readonly send: (request: Request, verify: boolean) => Promise<IncomingMessage>;
};

const IDLE_MS = 60_000;

/** Makes a transport with connections of its own. */
export function openTransport(options: TransportOptions): Transport {
  const { idleMs = IDLE_MS } = options;
  const direct = { keepAlive: true, timeout: idleMs };
  const proxied = { ...direct, proxyEnv: process.env };
  const agents = {
    http: { direct: new Agent(direct), proxied: new Agent(proxied) },
    https: { direct: new SecureAgent(direct), proxied: new SecureAgent(proxied) },
  };
  const send = (request: Request, verify: boolean): Promise<IncomingMessage> =>
    new Promise((answered, failed) => {
      const { url, method, signal } = request;
      const secure = url.protocol === 'https:';
      const agent = agents[secure ? 'https' : 'http'][isLoopback(url.hostname) ? 'direct' : 'proxied'];
      const headers = { 'user-agent': options.userAgent ?? 'berth', ...request.headers };
      const common = {
        method,
        headers,
        agent,
        timeout: request.idleMs ?? idleMs,
        ...(signal === undefined ? {} : { signal }),
        ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
      };
      const call = secure
        ? secureRequest(url, { ...common, ...trust(url, options, verify) })
        : plainRequest(url, common);
      call.once('timeout', () => call.destroy(new Error(`no data for ${common.timeout / 1000} s`)));
      call.on('error', (error) => failed(signal?.aborted ? signal.reason : networkError(request, error)));
      call.once('response', answered);
      call.end(request.body);
    });
  const all = [agents.http, agents.https].flatMap((two) => [two.direct, two.proxied]);
  return { send, [Symbol.dispose]: () => all.forEach((agent) => void agent.destroy()) };
}

/** Whether a host can only be this machine: 127.0.0.0/8, ::1, localhost. */
export function isLoopback(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

let systemAuthorities: string[] | undefined;

function trust(url: URL, options: TransportOptions, verify: boolean): { rejectUnauthorized: boolean; ca?: string[] } {
  if (!verify) return { rejectUnauthorized: false };
  systemAuthorities ??= getCACertificates('system');
  const usual = systemAuthorities.length > 0 ? systemAuthorities : [...rootCertificates];
  const own = (options.certificateDirs ?? []).flatMap((dir) => certificatesIn(join(dir, url.host)));
  return { rejectUnauthorized: true, ca: [...usual, ...own] };
}

function certificatesIn(dir: string): string[] {
  try {
    const names = readdirSync(dir).filter((name) => name.endsWith('.crt'));
    return names.map((name) => readFileSync(join(dir, name), 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new BerthError('registry', `${dir}: cannot read the certificates`, { cause: error });
  }
}

const UNTRUSTED = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
];
const PLAIN_ANSWER = ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'EPROTO'];

/** `Get "https://host/v2/"`, as Go begins its messages. */
export function requestText(method: Request['method'], url: URL): string {
  return `${method.charAt(0)}${method.slice(1).toLowerCase()} "${url.origin}${url.pathname}"`;
}

function networkError(request: Request, error: Error): BerthError {
  const { url, method } = request;
  const code = String((error as NodeJS.ErrnoException).code ?? '');
  const say = (why: string): string => `${requestText(method, url)}: ${why}`;
  if (PLAIN_ANSWER.includes(code)) {
    const hint = `add ${url.host} to the insecure registries if it is to be trusted without TLS`;
    return new NetworkError('registry', say('http: server gave HTTP response to HTTPS client'), {
      cause: error,
      hint,
    });
  }
  return new NetworkError('registry', say(networkReason(url, code, error)), { cause: error });
}

function networkReason(url: URL, code: string, error: Error): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const { address = url.hostname, port = url.port } = first as { address?: string; port?: number | string };
  const dial = `dial tcp ${address.includes(':') ? `[${address}]` : address}:${port}`;
  switch (code) {
    case 'ECONNREFUSED':
      return `${dial}: connect: connection refused`;
    case 'EHOSTUNREACH':
      return `${dial}: connect: no route to host`;
    case 'ENETUNREACH':
      return `${dial}: connect: network is unreachable`;
    case 'ETIMEDOUT':
      return `${dial}: i/o timeout`;
    case 'ENOTFOUND':
      return `dial tcp: lookup ${url.hostname}: no such host`;
    case 'EAI_AGAIN':
      return `dial tcp: lookup ${url.hostname}: Temporary failure in name resolution`;
    case 'ECONNRESET':
      return 'EOF';
    default:
      break;
  }
  if (UNTRUSTED.includes(code))
    return 'tls: failed to verify certificate: x509: certificate signed by unknown authority';
  if (/CERT/.test(code)) return `tls: failed to verify certificate: x509: ${error.message}`;
  return error.message;
}
