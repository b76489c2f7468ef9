// Gets the Authorization header that a registry asks for: none, basic, or a token from the server its challenge names.
// Source: distribution docs/spec/auth/token.md and oauth.md, v2.8.
import { BerthError } from '../base/errors.ts';
import { int, object, readDocument, text } from '../spec/json.ts';
import { faultText, readBytes, readFault } from './answer.ts';
import type { Challenge } from './challenge.ts';
import { basicHeader, type Credentials } from './credentials.ts';
import { isLoopback, type Request, type Transport } from './transport.ts';

const TOKEN_BYTES_MAX = 1 << 20;
const LIFETIME_MIN_S = 60;

export type TokenSource = {
  readonly transport: Transport;
  readonly credentials: Credentials;
  /** The registry may be spoken to without TLS; so may its token server then. */
  readonly insecure: boolean;
};

/** A header's value, and until when it is good (milliseconds since 1970). */
export type Authorization = { readonly header: string; readonly untilMs: number };

const tokenAnswer = object({ token: text, access_token: text, expires_in: int });

/**
 * Answers the first challenge that we can; undefined when the registry asks for nothing.
 * Throws registry with Docker's words when it cannot be answered. `scope`: `repository:library/busybox:pull`; `shown`: the request, for people.
 */
export async function authorize(
  source: TokenSource,
  challenges: readonly Challenge[],
  ask: { readonly scope: string; readonly shown: string },
): Promise<Authorization | undefined> {
  const { credentials } = source;
  const forever = Number.MAX_SAFE_INTEGER;
  if (challenges.length === 0) return undefined;
  const bearer = challenges.find((one) => one.scheme === 'bearer');
  if (credentials.kind === 'bearer') return { header: `Bearer ${credentials.token}`, untilMs: forever };
  if (bearer !== undefined) return await fetchToken(source, bearer, ask.scope);
  if (!challenges.some((one) => one.scheme === 'basic')) {
    const schemes = challenges.map((one) => one.scheme).join(', ');
    throw new BerthError('registry', `the registry asks for an unsupported way to log in: ${schemes}`);
  }
  if (credentials.kind !== 'password') {
    throw new BerthError('registry', `${ask.shown}: no basic auth credentials`, {
      hint: 'log in to the registry first',
    });
  }
  return { header: basicHeader(credentials.username, credentials.password), untilMs: forever };
}

async function fetchToken(source: TokenSource, challenge: Challenge, scope: string): Promise<Authorization> {
  const realm = realmOf(source, challenge);
  const request = tokenRequest(source.credentials, { realm, service: challenge.params['service'] ?? '', scope });
  const answer = await source.transport.send(request, !source.insecure);
  const where = `${realm.origin}${realm.pathname}`;
  if (answer.statusCode !== 200) {
    const fault = await readFault(answer);
    throw new BerthError('registry', `${where}: ${faultText(fault)}`, { hint: 'log in to the registry again' });
  }
  const bytes = await readBytes(answer, TOKEN_BYTES_MAX, where);
  const body = readDocument(tokenAnswer, parse(bytes, where), { what: where, code: 'registry' });
  const token = body.token || body.access_token;
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new BerthError('registry', `${where}: authorization server did not include a token in the response`);
  const lifetimeS = Math.max(body.expires_in, LIFETIME_MIN_S);
  return { header: `Bearer ${token}`, untilMs: Date.now() + lifetimeS * 900 };
}

function parse(bytes: Uint8Array, where: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch (cause) {
    throw new BerthError('registry', `${where}: its answer is not JSON`, { cause });
  }
}

/** The token server; it gets the password, so it must be as well protected as the registry. */
function realmOf(source: TokenSource, challenge: Challenge): URL {
  const given = challenge.params['realm'] ?? '';
  const realm = URL.parse(given);
  if (realm === null || !/^https?:$/.test(realm.protocol)) {
    throw new BerthError('registry', `the registry names no good token server: ${JSON.stringify(given.slice(0, 200))}`);
  }
  if (realm.protocol === 'http:' && !(source.insecure || isLoopback(realm.hostname))) {
    throw new BerthError('registry', `the registry names a token server without TLS: ${realm.origin}`);
  }
  return realm;
}

function tokenRequest(credentials: Credentials, ask: { realm: URL; service: string; scope: string }): Request {
  const url = new URL(ask.realm);
  if (credentials.kind === 'identity') {
    const form = { grant_type: 'refresh_token', service: ask.service, client_id: 'berth', scope: ask.scope };
    const body = new URLSearchParams({ ...form, refresh_token: credentials.token }).toString();
    return { method: 'POST', url, headers: { 'content-type': 'application/x-www-form-urlencoded' }, body };
  }
  if (ask.service !== '') url.searchParams.set('service', ask.service);
  url.searchParams.append('scope', ask.scope);
  if (credentials.kind !== 'password') return { method: 'GET', url, headers: {} };
  url.searchParams.set('account', credentials.username);
  return { method: 'GET', url, headers: { authorization: basicHeader(credentials.username, credentials.password) } };
}
