// The compiled files beneath /etc/berth (or DIR/etc): where they are, what they hold, and how they are replaced: whole, by a rename.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { canonicalJson } from '../../proto/policy/canonical.ts';
import type { Policy, Principal, Problem } from '../../proto/policy/compiled.ts';
import { policyProblem, principalProblem } from '../../proto/policy/problem.ts';
import { DEFAULT_POLICY } from '../../proto/policy/schema.ts';
import { CliError } from './error.ts';
import type { Place } from './session.ts';

export type PolicyPaths = {
  readonly policy: string;
  /** The text that people write, for `berth policy apply` without a file. */
  readonly source: string;
  readonly principals: string;
  readonly audit: string;
  /** Directories no container gets, whatever the policy says. */
  readonly own: readonly string[];
};

/** Where an instance keeps who may do what. Source: ARCHITECTURE.md, "Paths". */
export function policyPathsOf({ stateDir }: Pick<Place, 'stateDir'>): PolicyPaths {
  const of = (system: string, beneath: string): string => (stateDir === undefined ? system : join(stateDir, beneath));
  const etc = of('/etc/berth', 'etc');
  const audit = of('/var/log/berth/audit', 'log/audit');
  const own = [etc, audit, of('/run/berth', 'run'), of('/var/lib/berth/helper', 'lib/helper')];
  return {
    policy: join(etc, 'policy.json'),
    source: join(etc, 'policy.yaml'),
    principals: join(etc, 'principals'),
    audit,
    own,
  };
}

/** The text of a file that somebody named. Throws CliError. */
export function readNamed(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(`${path}: ${reason(error)}`);
  }
}

/** The policy in force: what is compiled, or the default one where nothing is. Throws CliError for a file that the helper would not take. */
export function readPolicy(paths: PolicyPaths): Policy {
  return readCompiled<Policy>(paths.policy, policyProblem) ?? DEFAULT_POLICY;
}

export function readPrincipal(paths: PolicyPaths, name: string): Principal | undefined {
  return readCompiled<Principal>(join(paths.principals, `${name}.json`), principalProblem);
}

/** Every principal by name. */
export function readPrincipals(paths: PolicyPaths): ReadonlyMap<string, Principal> {
  let names: string[];
  try {
    names = readdirSync(paths.principals);
  } catch (error) {
    if (isMissing(error)) return new Map();
    throw new CliError(`${paths.principals}: ${reason(error)}`);
  }
  const found = names
    .filter((file) => file.endsWith('.json') && !file.startsWith('.'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort();
  return new Map(
    found.flatMap((name) => {
      const principal = readPrincipal(paths, name);
      return principal === undefined ? [] : [[name, principal] as const];
    }),
  );
}

function readCompiled<T>(path: string, problemOf: (value: unknown) => Problem | undefined): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new CliError(`${path}: ${reason(error)}`);
  }
  const value = parse(text, path);
  const problem = problemOf(value);
  if (problem !== undefined) throw new CliError(`${path}: ${problem.path.join('.')}: ${problem.message}`);
  if (canonicalJson(value) !== text)
    throw new CliError(`${path}: was edited by hand: change its source and apply that`);
  return value as T;
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CliError(`${path}: is not JSON: apply its source again`);
  }
}

export function writePolicy(paths: PolicyPaths, policy: Policy): void {
  replaceFile(paths.policy, canonicalJson(policy));
}

export function writePrincipal(paths: PolicyPaths, name: string, principal: Principal): void {
  const problem = principalProblem(principal);
  if (problem !== undefined) throw new CliError(`principal ${name}: ${problem.path.join('.')}: ${problem.message}`);
  replaceFile(join(paths.principals, `${name}.json`), canonicalJson(principal));
}

/** Writes beside it, brings to disk, renames: the helper never finds half of it. */
export function replaceFile(path: string, text: string): void {
  const aside = join(dirname(path), `.${process.pid}.new`);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    const fd = openSync(aside, 'wx', 0o644);
    try {
      writeSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw new CliError(`${path}: ${reason(error)}`);
  }
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/** The kernel's reason in words. */
export function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file or directory';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied: this is for root';
  if (code === 'EROFS') return 'read-only file system';
  return code === 'EISDIR' ? 'is a directory' : message;
}
