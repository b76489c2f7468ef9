// Image references: `busybox`, `host:5000/a/b:tag@sha256:…`, their familiar and canonical forms, with Docker's grammar and messages.
// Source: github.com/distribution/reference v0.6.0, reference.go, normalize.go, regexp.go; opencontainers/go-digest v1.0.0.
import { asDigest, type Digest } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';

const DEFAULT_DOMAIN = 'docker.io';
const LEGACY_DOMAIN = 'index.docker.io';
const OFFICIAL = 'library/';
const NAME_LENGTH_MAX = 255;
const TEXT_LENGTH_MAX = 1024;

const COMPONENT = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = `(?:${COMPONENT}(?:\\.${COMPONENT})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const PATH_COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const PATH = `${PATH_COMPONENT}(?:/${PATH_COMPONENT})*`;
const TAG = '[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}';
const DIGEST = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const REFERENCE = new RegExp(`^(${DOMAIN})/(${PATH})(?::(${TAG}))?(?:@(${DIGEST}))?$`);

/** A parsed reference. `path` is within the registry: `library/busybox`. */
export type Reference = {
  readonly domain: string;
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
};

export type ReferenceRead =
  | { readonly kind: 'reference'; readonly reference: Reference }
  | { readonly kind: 'bad'; readonly why: string };

const bad = (why: string): ReferenceRead => ({ kind: 'bad', why });

/** Reads a reference as a person writes it; on failure gives Docker's message. */
export function readReference(given: string): ReferenceRead {
  if (given.length > TEXT_LENGTH_MAX) return bad('invalid reference format');
  if (/^[a-f0-9]{64}$/.test(given)) {
    return bad(`invalid repository name (${given}), cannot specify 64-byte hexadecimal strings`);
  }
  const { domain, rest } = splitDomain(given);
  const remote = rest.split(':', 1)[0] ?? '';
  if (remote.toLowerCase() !== remote) {
    return bad(`invalid reference format: repository name (${remote}) must be lowercase`);
  }
  const match = REFERENCE.exec(`${domain}/${rest}`);
  if (match === null) {
    const lower = REFERENCE.test(`${domain}/${rest}`.toLowerCase());
    return bad(lower ? 'repository name must be lowercase' : 'invalid reference format');
  }
  const [, host = '', path = '', tag, digestText] = match;
  if (path.length > NAME_LENGTH_MAX) return bad(`repository name must not be more than ${NAME_LENGTH_MAX} characters`);
  if (digestText === undefined) return { kind: 'reference', reference: { domain: host, path, tag, digest: undefined } };
  const digest = asDigest(digestText);
  if (digest === undefined) return bad(digestFault(digestText));
  return { kind: 'reference', reference: { domain: host, path, tag, digest } };
}

/** As readReference(). Throws bad_parameter with Docker's message. */
export function parseReference(given: string): Reference {
  const read = readReference(given);
  if (read.kind === 'bad') throw new BerthError('bad_parameter', read.why);
  return read.reference;
}

/** The first part is a registry's host only when it looks like one: with a dot, a colon, upper case, or `localhost`. */
function splitDomain(given: string): { domain: string; rest: string } {
  const slash = given.indexOf('/');
  if (slash < 0) return { domain: DEFAULT_DOMAIN, rest: OFFICIAL + given };
  const first = given.slice(0, slash);
  const after = given.slice(slash + 1);
  const isHost = looksLikeHost(first);
  const domain = !isHost || first === LEGACY_DOMAIN ? DEFAULT_DOMAIN : first;
  const rest = isHost ? after : given;
  return { domain, rest: domain === DEFAULT_DOMAIN && !rest.includes('/') ? OFFICIAL + rest : rest };
}

function looksLikeHost(first: string): boolean {
  return first === 'localhost' || /[.:]/.test(first) || first.toLowerCase() !== first;
}

function digestFault(text: string): string {
  if (!text.startsWith('sha256:')) return 'unsupported digest algorithm';
  return text.length === 71 ? 'invalid checksum digest format' : 'invalid checksum digest length';
}

/** With the tag `latest` where neither tag nor digest is given. */
export function withDefaultTag(reference: Reference): Reference {
  if (reference.tag !== undefined || reference.digest !== undefined) return reference;
  return { ...reference, tag: 'latest' };
}

/** `docker.io/library/busybox`. */
export function canonicalName(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

/** `busybox`: the shortest name that means the same. Where Docker's would read back as another one (`docker.io/a.b/c`), the canonical one. */
export function familiarName(reference: Reference): string {
  if (reference.domain !== DEFAULT_DOMAIN) return canonicalName(reference);
  const [first = '', second, ...more] = reference.path.split('/');
  if (second === undefined || looksLikeHost(first) || /^[a-f0-9]{64}$/.test(second)) return canonicalName(reference);
  return `${first}/` === OFFICIAL && more.length === 0 ? second : reference.path;
}

function suffix(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  return reference.digest === undefined ? tag : `${tag}@${reference.digest}`;
}

/** `docker.io/library/busybox:1@sha256:…`; parses back to the same reference. */
export function canonicalText(reference: Reference): string {
  return canonicalName(reference) + suffix(reference);
}

/** `busybox:1@sha256:…`; parses back to the same reference. */
export function familiarText(reference: Reference): string {
  return familiarName(reference) + suffix(reference);
}
