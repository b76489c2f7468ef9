// Who we are to a registry, as the client's X-Registry-Auth says it.
import type { AuthConfig } from '../spec/docker-api.ts';

export type Credentials =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'identity'; readonly username: string; readonly token: string }
  | { readonly kind: 'bearer'; readonly token: string };

/** Credentials from Docker's auth config; nothing given is anonymous. */
export function credentialsOf(auth: Partial<AuthConfig> | undefined): Credentials {
  if (auth?.registrytoken) return { kind: 'bearer', token: auth.registrytoken };
  if (auth?.identitytoken) return { kind: 'identity', username: auth.username ?? '', token: auth.identitytoken };
  const [, user, word] = /^([^:]*):(.*)$/s.exec(Buffer.from(auth?.auth ?? '', 'base64').toString()) ?? [];
  const [username = '', password = ''] = auth?.username ? [auth.username, auth.password] : [user, word];
  return username === '' ? { kind: 'anonymous' } : { kind: 'password', username, password };
}

/** The value of an Authorization header with user and password. */
export function basicHeader(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
