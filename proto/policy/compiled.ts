// What the compiled files hold: policy.json and principals/NAME.json. Types only.
import type { Amount, Profile } from './profile.ts';

export type Policy = {
  readonly version: 1;
  /** Whether a user without a principal may enrol his first key himself, on the kernel's word about his uid. */
  readonly selfEnrol: boolean;
  readonly selfEnrolProfiles: readonly string[];
  readonly profiles: Readonly<Record<string, Profile>>;
};

export type PrincipalKey = {
  /** The raw public key, hexadecimal. */
  readonly key: string;
  readonly role: 'user' | 'broker';
  /** RFC 3339 in UTC, or `never`. */
  readonly notAfter: string;
};

export type Principal = {
  readonly uid: number;
  readonly keys: readonly PrincipalKey[];
  readonly profiles: readonly string[];
  /** Greatest numbers beside those of the profiles. */
  readonly quota: Readonly<Record<string, Amount>>;
};

/** What is wrong with a value, and where in it. */
export type Problem = { readonly path: readonly (string | number)[]; readonly message: string };
