// `berth policy …`: check, test and apply a policy's text, show what is in force, ask what it would say.
import { Document, visit } from 'yaml';
import { reasonText } from '../../proto/policy/evaluate.ts';
import { intersect } from '../../proto/policy/intersect.ts';
import { CEILING_NAMES, type Profile } from '../../proto/policy/profile.ts';
import type { Policy } from '../../proto/policy/compiled.ts';
import { type Given, isOn, textOf } from './command.ts';
import { CliError } from './error.ts';
import { judgeRun, type Who } from './policy-facts.ts';
import { policyPathsOf, readNamed, readPolicy, readPrincipals, writePolicy } from './policy-files.ts';
import { compilePolicy, type PolicySource, type PolicyTest } from './policy-source.ts';
import type { Session } from './session.ts';

type Named = { readonly file: string; readonly source: PolicySource };

/** The file that was named, or the text of the instance. */
function readSource(session: Session, given: Given): Named {
  const file = given.args[0] ?? policyPathsOf(session.place()).source;
  return { file, source: compilePolicy(readNamed(file), file) };
}

/** `berth policy check [FILE]`. */
export async function checkPolicy(session: Session, given: Given): Promise<number> {
  const { file, source } = readSource(session, given);
  const tests = source.tests.length === 0 ? '' : `, ${source.tests.length} tests`;
  session.stdout.write(`${file}: good: profiles ${Object.keys(source.policy.profiles).join(', ')}${tests}\n`);
  return 0;
}

/** `berth policy test [FILE]`: asks the file's own cases. The exit code is 1 when one is answered otherwise, or there are none. */
export async function testPolicy(session: Session, given: Given): Promise<number> {
  const { file, source } = readSource(session, given);
  if (source.tests.length === 0)
    throw new CliError(`${file}: has no tests: add a list \`tests\` of {profile, run, allowed, rule}`);
  const answers = source.tests.map((one) => testOne(session, one, source.policy));
  for (const { ok, text } of answers) session.stdout.write(`${ok ? 'ok  ' : 'FAIL'} ${file}:${text}\n`);
  return answers.every(({ ok }) => ok) ? 0 : 1;
}

function testOne(session: Session, test: PolicyTest, policy: Policy): { ok: boolean; text: string } {
  const profile = policy.profiles[test.profile];
  const name = `${test.line}: ${test.profile}: run ${test.run.join(' ')}`;
  if (profile === undefined) return { ok: false, text: `${name}: no profile ${test.profile}` };
  const reasons = judgeRun(session, test.run, { profile, who: whoOf(session, undefined) });
  const allowed = reasons.length === 0;
  const why = allowed ? 'allowed' : `refused: ${reasons.map(reasonText).join('; ')}`;
  const ok = allowed === test.allowed && (test.rule === undefined || reasons.some(({ rule }) => rule === test.rule));
  return { ok, text: `${name}: ${why}` };
}

/** `berth policy can [--profile NAME] [--file FILE] -- run …`. The exit code is 1 when it is refused. */
export async function canRun(session: Session, given: Given): Promise<number> {
  const [verb, ...words] = given.args;
  if (verb !== 'run' && verb !== 'create')
    throw new CliError("policy can: what comes after -- must be a command line 'run …'", 125);
  const file = textOf(given, 'file');
  const paths = policyPathsOf(session.place());
  const policy = file === undefined ? readPolicy(paths) : compilePolicy(readNamed(file), file).policy;
  const name = textOf(given, 'profile') ?? 'default';
  const profile = profileNamed(policy, name);
  const reasons = judgeRun(session, words, { profile, who: whoOf(session, textOf(given, 'uid')) });
  if (reasons.length === 0) session.stdout.write(`allowed by profile ${name}\n`);
  else session.stdout.write(`refused by profile ${name}:\n${reasons.map((one) => `  ${reasonText(one)}\n`).join('')}`);
  return reasons.length === 0 ? 0 : 1;
}

function profileNamed(policy: Policy, name: string): Profile {
  const profile = Object.hasOwn(policy.profiles, name) ? policy.profiles[name] : undefined;
  if (profile !== undefined) return profile;
  throw new CliError(`no profile ${name}: there are ${Object.keys(policy.profiles).join(', ') || 'none'}`);
}

function whoOf(session: Session, uid: string | undefined): Who {
  if (uid !== undefined && !/^\d{1,10}$/.test(uid)) throw new CliError(`--uid ${uid}: must be a number`);
  const place = session.place();
  return { uid: uid === undefined ? place.engineUid : Number(uid), own: policyPathsOf(place).own };
}

/** `berth policy show [PROFILE...]`: of several profiles what all of them allow. */
export async function showPolicy(session: Session, given: Given): Promise<number> {
  const policy = readPolicy(policyPathsOf(session.place()));
  const named = given.args.map((name) => profileNamed(policy, name));
  const shown = named.length === 0 ? policy : named.reduce((all, one) => intersect(all, one));
  const ordered = 'profiles' in shown ? { ...shown, profiles: mapValues(shown.profiles, inOrder) } : inOrder(shown);
  const text = isOn(given, 'json') ? `${JSON.stringify(ordered, undefined, 2)}\n` : yamlText(ordered);
  session.stdout.write(text);
  return 0;
}

function mapValues<T, U>(values: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]));
}

/** Ceilings in the order of the table, which is by subject. */
function inOrder(profile: Profile): Profile {
  return Object.fromEntries(CEILING_NAMES.map((name) => [name, profile[name]])) as unknown as Profile;
}

/** One line for each ceiling. */
function yamlText(value: unknown): string {
  const document = new Document(value);
  visit(document, {
    Seq: (_key, list) => {
      list.flow = true;
    },
  });
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/** `berth policy apply [FILE]`: compiles it to what the helper reads. */
export async function applyPolicy(session: Session, given: Given): Promise<number> {
  const { file, source } = readSource(session, given);
  const failed = source.tests.map((one) => testOne(session, one, source.policy)).find(({ ok }) => !ok);
  if (failed !== undefined) throw new CliError(`${file}:${failed.text}: its test says otherwise; nothing was changed`);
  const paths = policyPathsOf(session.place());
  const principals = readPrincipals(paths);
  writePolicy(paths, source.policy);
  session.stdout.write(`${paths.policy}: profiles ${Object.keys(source.policy.profiles).join(', ')}\n`);
  for (const [name, { profiles }] of principals) {
    const lost = profiles.filter((one) => !Object.hasOwn(source.policy.profiles, one));
    if (lost.length > 0)
      session.stderr.write(`WARNING: principal ${name} has profiles that are no more: ${lost.join(', ')}\n`);
  }
  return 0;
}
