// Values that cannot be mixed up: nominal types over numbers and strings, and the functions that check them.
declare const brand: unique symbol;
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A size in bytes: whole, not negative, at most 2^53 - 1. */
export type Bytes = Brand<number, 'Bytes'>;
/** A uid as the host sees it; ContainerUid is one inside the user namespace. Neither is assignable to the other. */
export type HostUid = Brand<number, 'HostUid'>;
export type ContainerUid = Brand<number, 'ContainerUid'>;
export type ContainerId = Brand<string, 'ContainerId'>;
/** `sha256:` and 64 lowercase hexadecimal digits. Source: OCI image-spec, descriptor, Digests. */
export type Digest = Brand<string, 'Digest'>;

/** Reads a full id, 64 lowercase hexadecimal digits. A name or a short id gives undefined. */
export function asContainerId(text: string): ContainerId | undefined {
  return /^[0-9a-f]{64}$/.test(text) ? (text as ContainerId) : undefined;
}

/** Reads a digest. Only sha256 is accepted: it is the one registries and archives use, and the helper hashes nothing else. */
export function asDigest(text: string): Digest | undefined {
  return /^sha256:[0-9a-f]{64}$/.test(text) ? (text as Digest) : undefined;
}

/** Reads a count of bytes; undefined unless whole and within [0, 2^53 - 1]. */
export function asBytes(value: number): Bytes | undefined {
  return Number.isSafeInteger(value) && value >= 0 ? (value as Bytes) : undefined;
}

/** Reads a host uid, 0 to 2^32 - 2 (2^32 - 1 means "no change" to setresuid(2)). */
export function asHostUid(value: number): HostUid | undefined {
  return Number.isInteger(value) && value >= 0 && value < 0xffffffff ? (value as HostUid) : undefined;
}

/** Reads a uid inside a user namespace, 0 to 2^32 - 2. */
export function asContainerUid(value: number): ContainerUid | undefined {
  return Number.isInteger(value) && value >= 0 && value < 0xffffffff ? (value as ContainerUid) : undefined;
}

/** Makes a switch total: a forgotten case is a compile error at this call. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
