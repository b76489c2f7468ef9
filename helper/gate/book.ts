// Who may ask: the compiled policy and the principals, as root wrote them. Read whole or not at all, and again when a file changed: what cannot be read
// leaves in force what was, and at the start nobody is let in.
import { closeSync, constants, fstatSync, fsyncSync, linkSync, lstatSync, mkdirSync, openSync } from 'node:fs';
import { readdirSync, readFileSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson } from '../../proto/policy/canonical.ts';
import type { Policy, Principal, Problem } from '../../proto/policy/compiled.ts';
import { amount, type Amount, type Profile } from '../../proto/policy/profile.ts';
import { DEFAULT_POLICY, policyProblem, principalProblem } from '../../proto/policy/schema.ts';

export type Named = Principal & { readonly name: string };
export type Book = {
  readonly policy: Policy;
  readonly principals: readonly Named[];
};
export type BookKeeper = {
  /** What is in force now. */
  readonly read: () => Book;
  /** Why the files are not what is in force, in one line; undefined where they are. */
  readonly problem: () => string | undefined;
  /** Writes a principal of this uid with this key; throws what the file system answers. */
  readonly enrol: (uid: number, publicKey: Uint8Array) => void;
};

const NOBODY: Book = { policy: { ...DEFAULT_POLICY, selfEnrol: false, profiles: {} }, principals: [] };
const FILE_BYTES_MAX = 1 << 20;

/** Keeps the files of a directory (`/etc/berth`). A missing policy.json is the default policy. Files that cannot be read are told of once. */
export function openBook(directory: string, onProblem: (problem: string) => void): BookKeeper {
  let stamp: string | undefined;
  let book = NOBODY;
  let problem: string | undefined;
  const read = (): Book => {
    const now = stampOf(directory);
    if (now === stamp) return book;
    try {
      book = load(directory);
      problem = undefined;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
      onProblem(problem);
    }
    stamp = now;
    return book;
  };
  return {
    read,
    problem: () => problem,
    enrol: (uid, publicKey) => {
      const key = Buffer.from(publicKey).toString('hex');
      const keys = [{ key, role: 'user' as const, notAfter: 'never' }];
      const principal: Principal = { uid, keys, profiles: read().policy.selfEnrolProfiles, quota: {} };
      writeNew(join(directory, 'principals'), `${uid}.json`, canonicalJson(principal));
    },
  };
}

/** Changes whenever a file is written, replaced, made or removed. */
function stampOf(directory: string): string {
  const folder = join(directory, 'principals');
  const files = [join(directory, 'policy.json'), folder, ...names(folder).map((name) => join(folder, name))];
  const stats = files.map((file) => statSync(file, { bigint: true, throwIfNoEntry: false }));
  return stats.map((stat) => (stat === undefined ? '-' : `${stat.ino}.${stat.ctimeNs}.${stat.size}`)).join(' ');
}

function names(folder: string): string[] {
  if (statSync(folder, { throwIfNoEntry: false }) === undefined) return [];
  const all = readdirSync(folder).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
  return all.sort();
}

function load(directory: string): Book {
  const policyFile = join(directory, 'policy.json');
  const folder = join(directory, 'principals');
  for (const each of [directory, folder]) checkOwner(each, lstatSync(each, { throwIfNoEntry: false }));
  const exists = lstatSync(policyFile, { throwIfNoEntry: false }) !== undefined;
  const policy = exists ? readJson<Policy>(policyFile, policyProblem) : DEFAULT_POLICY;
  const principals = names(folder).map((name) => ({
    ...readJson<Principal>(join(folder, name), principalProblem),
    name: name.slice(0, -'.json'.length),
  }));
  return { policy, principals };
}

/** Whoever may write what grants rights may grant himself any: only the helper's own uid may. */
function checkOwner(path: string, stat: { readonly uid: number; readonly mode: number } | undefined): void {
  if (stat === undefined) return;
  const uid = process.geteuid?.() ?? 0;
  const ok = stat.uid === uid && (stat.mode & 0o022) === 0;
  if (!ok) throw new Error(`${path}: must belong to uid ${uid} and be writable for it alone`);
}

function readJson<T>(path: string, problemOf: (value: unknown) => Problem | undefined): T {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    checkOwner(path, stat);
    if (!stat.isFile() || stat.size > FILE_BYTES_MAX) throw new Error(`${path}: must be a file of at most 1 MiB`);
    const text = readFileSync(fd, 'utf8');
    const value = parse(text);
    if (value === undefined || canonicalJson(value) !== text) {
      throw new Error(`${path}: is not as berth policy apply or berth admin enroll writes it`);
    }
    const problem = problemOf(value);
    if (problem !== undefined) throw new Error(`${path}: ${problem.path.join('.')}: ${problem.message}`);
    return value as T;
  } finally {
    closeSync(fd);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller says so, with the file's name
  }
}

/** A new file, there with all its content or not at all; throws EEXIST where one is. */
function writeNew(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const aside = join(folder, `.${name}.${process.pid}`);
  const fd = openSync(aside, 'wx', 0o644);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
    linkSync(aside, join(folder, name));
  } finally {
    closeSync(fd);
    unlinkSync(aside);
  }
}

/** A profile with the principal's own greatest numbers. */
export function withQuota(profile: Profile, quota: Principal['quota']): Profile {
  const lower = Object.entries(quota).map(([name, most = 'unlimited']) => {
    const whole: Readonly<Record<string, unknown>> = profile;
    const own = whole[name] as Amount;
    return [name, amount(own) <= amount(most) ? own : most] as const;
  });
  return { ...profile, ...Object.fromEntries(lower) };
}
