// A policy as people write it to the policy that the helper reads: `extends` filled in, sizes to bytes, every key known. Errors name file and line.
import type { Policy } from '../../proto/policy/compiled.ts';
import { CEILING_NAMES, CEILINGS, DEFAULT_PROFILE } from '../../proto/policy/profile.ts';
import { policyProblem } from '../../proto/policy/problem.ts';
import { type PolicyText, readPolicyText } from '../spec/policy-text.ts';
import { readRamSize } from '../spec/units.ts';
import { CliError } from './error.ts';

/** One of the cases of a file's `tests`: a command line and what policy must say to it. */
export type PolicyTest = {
  readonly line: number;
  readonly profile: string;
  readonly run: readonly string[];
  readonly allowed: boolean;
  /** A rule that must be among the reasons. */
  readonly rule: string | undefined;
};
export type PolicySource = { readonly policy: Policy; readonly tests: readonly PolicyTest[] };

type Read = Extract<PolicyText, { kind: 'read' }>;
type Tree = Readonly<Record<string, unknown>>;

/** Compiles a file's text. Throws CliError `FILE:LINE: …`. */
export function compilePolicy(text: string, file: string): PolicySource {
  const read = readPolicyText(text);
  if (read.kind === 'bad') throw new CliError(`${file}:${read.line}: ${read.why}`);
  const fail = (path: readonly (string | number)[], why: string): never => {
    const name = path.length === 0 ? '' : `${path.join('.')}: `;
    throw new CliError(`${file}:${read.lineOf(path)}: ${name}${why}`);
  };
  const { tests, ...rest } = asTree(read.value) ?? fail([], 'must be a map');
  const profiles = asTree(rest['profiles']) ?? fail(['profiles'], 'must be a map of profiles by name');
  const policy = { ...rest, profiles: expandAll(profiles, fail) };
  const problem = policyProblem(policy);
  if (problem !== undefined) fail(problem.path, problem.message + hintFor(problem));
  return {
    policy: policy as unknown as Policy,
    tests: readTests(tests, { read, policy: policy as unknown as Policy, fail }),
  };
}

function asTree(value: unknown): Tree | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Tree) : undefined;
}

type Fail = (path: readonly (string | number)[], why: string) => never;

function expandAll(profiles: Tree, fail: Fail): Tree {
  const done: Record<string, unknown> = {};
  for (const [name, source] of Object.entries(profiles)) {
    const { extends: base, ...own } = asTree(source) ?? fail(['profiles', name], 'must be a map of ceilings');
    const known =
      base === undefined
        ? {}
        : base === 'default' && done['default'] === undefined
          ? DEFAULT_PROFILE
          : done[String(base)];
    if (known === undefined) fail(['profiles', name, 'extends'], `no profile ${String(base)} above this one`);
    const values = Object.entries(own).map(([key, value]) => [key, inBytes(key, value)] as const);
    done[name] = { ...(known as Tree), ...Object.fromEntries(values) };
  }
  return done;
}

/** A size such as 512m where the ceiling counts bytes. */
function inBytes(name: string, value: unknown): unknown {
  const known = CEILING_NAMES.find((one) => one === name);
  if (typeof value !== 'string' || known === undefined || !('unit' in CEILINGS[known])) return value;
  const size = readRamSize(value);
  return size.kind === 'size' ? size.bytes : value;
}

function hintFor(problem: { readonly path: readonly (string | number)[]; readonly message: string }): string {
  const inProfile = problem.path[0] === 'profiles' && problem.path.length === 3;
  if (!inProfile) return '';
  if (problem.message === 'is missing') return ': give it, or write `extends: default` for what is not given';
  return problem.message === 'unknown key' ? nearest(String(problem.path[2])) : '';
}

/** ` (did you mean tty?)` where one name is at most two letters away. */
function nearest(word: string): string {
  const near = CEILING_NAMES.map((name) => [distance(word.toLowerCase(), name.toLowerCase()), name] as const);
  const [best] = near.sort(([a], [b]) => a - b);
  return best !== undefined && best[0] <= 2 ? ` (did you mean ${best[1]}?)` : '';
}

/** How many letters must be changed, put in or left out. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      next.push(Math.min((row[j] ?? 0) + (letter === other ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

const TEST_KEYS = ['profile', 'run', 'allowed', 'rule'];

function readTests(value: unknown, of: { read: Read; policy: Policy; fail: Fail }): PolicyTest[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return of.fail(['tests'], 'must be a list');
  return value.map((one, i) => {
    const path = ['tests', i];
    const test = asTree(one) ?? of.fail(path, 'must be a map');
    const unknown = Object.keys(test).find((key) => !TEST_KEYS.includes(key));
    if (unknown !== undefined) of.fail([...path, unknown], 'unknown key');
    const { profile, run, allowed, rule } = test;
    if (typeof profile !== 'string' || !Object.hasOwn(of.policy.profiles, profile))
      return of.fail([...path, 'profile'], 'must be a profile of this file');
    if (!Array.isArray(run) || run.some((word) => typeof word !== 'string'))
      return of.fail([...path, 'run'], 'must be a list of words, [-v, /etc:/x, IMAGE]');
    if (typeof allowed !== 'boolean') return of.fail([...path, 'allowed'], 'must be true or false');
    if (rule !== undefined && (typeof rule !== 'string' || allowed))
      return of.fail([...path, 'rule'], 'must be the name of a rule that refuses');
    return { line: of.read.lineOf(path), profile, run, allowed, rule };
  });
}
