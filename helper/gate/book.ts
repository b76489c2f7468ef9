// Who may ask: the compiled policy and the principals, as root wrote them. Read whole or not at all, and again when a file changed: what cannot be read
// leaves in force what was, and at the start nobody is let in.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { canonicalJson } from '../../proto/policy/canonical.ts';
import type { Policy, Principal } from '../../proto/policy/compiled.ts';
import { type Form, must } from '../../proto/policy/form.ts';
import { amount, type Amount, type Profile } from '../../proto/policy/profile.ts';
import { DEFAULT_POLICY, POLICY, PRINCIPAL } from '../../proto/policy/schema.ts';

export type Named = Principal & { readonly name: string };
export type Book = { readonly policy: Policy; readonly principals: readonly Named[] };

const NOBODY: Book = { policy: { ...DEFAULT_POLICY, selfEnrol: false, profiles: {} }, principals: [] };
const FILE_BYTES_MAX = 1 << 20;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;

/** What an error says. */
export const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Keeps the files of a directory (`/etc/berth`). A missing policy.json is the default policy. Files that cannot be read are told of once. */
export function openBook(directory: string, onProblem: (problem: string) => void) {
  let stamp: string | undefined;
  let book = NOBODY;
  let problem: string | undefined;
  /** What is in force now. */
  const read = (): Book => {
    const now = stampOf(directory);
    if (now === stamp) return book;
    try {
      book = load(directory);
      problem = undefined;
    } catch (error) {
      problem = words(error);
      onProblem(problem);
    }
    stamp = now;
    return book;
  };
  return {
    read,
    /** Why the files are not what is in force, in one line; undefined where they are. */
    problem: (): string | undefined => problem,
    /** Writes a principal of this uid with this key; throws what the file system answers. */
    enrol: (uid: number, publicKey: Uint8Array): void => {
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
  const stats = files.map((file) => fs.statSync(file, { bigint: true, throwIfNoEntry: false }));
  return stats.map((stat) => (stat === undefined ? '-' : `${stat.ino}.${stat.ctimeNs}.${stat.size}`)).join(' ');
}

function names(folder: string): string[] {
  if (fs.statSync(folder, { throwIfNoEntry: false }) === undefined) return [];
  const all = fs.readdirSync(folder).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
  return all.sort();
}

function load(directory: string): Book {
  const [file, folder] = [join(directory, 'policy.json'), join(directory, 'principals')];
  for (const each of [directory, folder]) checkOwner(each, fs.lstatSync(each, { throwIfNoEntry: false }));
  const exists = fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined;
  const policy = exists ? readJson<Policy>(file, POLICY) : DEFAULT_POLICY;
  const read = (name: string): Principal => readJson<Principal>(join(folder, name), PRINCIPAL);
  return { policy, principals: names(folder).map((one) => ({ ...read(one), name: one.slice(0, -'.json'.length) })) };
}

/** Whoever may write what grants rights may grant himself any: only the helper's own uid may. */
function checkOwner(path: string, stat: { readonly uid: number; readonly mode: number } | undefined): void {
  if (stat === undefined) return;
  const uid = process.geteuid?.() ?? 0;
  const ok = stat.uid === uid && (stat.mode & 0o022) === 0;
  if (!ok) throw new Error(`${path}: must belong to uid ${uid} and be writable for it alone`);
}

function readJson<T>(path: string, form: Form<unknown>): T {
  const fd = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = fs.fstatSync(fd);
    checkOwner(path, stat);
    if (!stat.isFile() || stat.size > FILE_BYTES_MAX) throw new Error(`${path}: must be a file of at most 1 MiB`);
    return asWritten(fs.readFileSync(fd, 'utf8'), path, form) as T;
  } finally {
    fs.closeSync(fd);
  }
}

/** The value of a file's text, which is as the command line writes it. */
function asWritten(text: string, path: string, form: Form<unknown>): unknown {
  try {
    const value: unknown = JSON.parse(text);
    must(canonicalJson(value) === text, { path: [] }, 'is not as berth policy apply or berth admin enroll writes it');
    form(value, { path: [] }, undefined);
    return value;
  } catch (error) {
    throw new Error(`${path}: ${words(error)}`);
  }
}

/** A new file, there with all its content or not at all; throws EEXIST where one is. */
function writeNew(folder: string, name: string, text: string): void {
  fs.mkdirSync(folder, { recursive: true, mode: 0o755 });
  const aside = join(folder, `.${name}.${process.pid}`);
  const fd = fs.openSync(aside, 'wx', 0o644);
  try {
    fs.writeSync(fd, text);
    fs.fsyncSync(fd);
    fs.linkSync(aside, join(folder, name));
  } finally {
    fs.closeSync(fd);
    fs.unlinkSync(aside);
  }
}

/** A profile with the principal's own greatest numbers. */
export function withQuota(profile: Profile, quota: Principal['quota']): Profile {
  const own: Readonly<Record<string, unknown>> = profile;
  const lower = Object.entries(quota).filter(([name, most]) => amount(most) < amount(own[name] as Amount));
  return { ...profile, ...Object.fromEntries(lower) };
}
