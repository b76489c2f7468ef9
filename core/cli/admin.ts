// `berth admin …`: who the helper knows. A principal is a name, a uid, keys and profiles; taking a key away is revoking it, at once.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Principal, PrincipalKey } from '../../proto/policy/compiled.ts';
import { keyId, PUBLIC_KEY_BYTES } from '../../proto/sign/envelope.ts';
import { readKeyFile } from '../../proto/sign/key.ts';
import { type Given, isOn, listOf, textOf } from './command.ts';
import { CliError } from './error.ts';
import {
  type PolicyPaths,
  policyPathsOf,
  readNamed,
  readPolicy,
  readPrincipal,
  readPrincipals,
  reason,
  writePrincipal,
} from './policy-files.ts';
import type { Session } from './session.ts';

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;

/** `berth admin enroll NAME --uid UID --key KEY [--profile NAME]… [--not-after TIME]`: makes a principal, or adds a key to one. */
export async function enroll(session: Session, given: Given): Promise<number> {
  const [name = ''] = given.args;
  const paths = policyPathsOf(session.place());
  if (!NAME.test(name))
    throw new CliError(`${JSON.stringify(name)} is no name of a principal: letters, digits, dots, dashes, underscores`);
  const old = readPrincipal(paths, name);
  const uid = readUid(textOf(given, 'uid'), old);
  const key = readKey(textOf(given, 'key') ?? '');
  const clash = [...readPrincipals(paths)].find(
    ([other, one]) => one.uid !== uid && one.keys.some((its) => its.key === key) && other !== name,
  );
  if (clash !== undefined)
    throw new CliError(`that key is of principal ${clash[0]} (uid ${clash[1].uid}): a key belongs to one uid`);
  const fresh: PrincipalKey = { key, role: 'user', notAfter: textOf(given, 'not-after') ?? 'never' };
  const keys = [...(old?.keys ?? []).filter((one) => one.key !== key), fresh];
  const principal: Principal = { uid, keys, profiles: readProfiles(paths, given, old), quota: old?.quota ?? {} };
  writePrincipal(paths, name, principal);
  session.stdout.write(`${name}: uid ${uid}, key ${idOf(fresh)}, profiles ${principal.profiles.join(' ')}\n`);
  return 0;
}

function readUid(text: string | undefined, old: Principal | undefined): number {
  if (text === undefined && old !== undefined) return old.uid;
  if (text === undefined || !/^\d{1,10}$/.test(text))
    throw new CliError('--uid must be the number of the user that this principal is');
  if (old !== undefined && old.uid !== Number(text))
    throw new CliError(`this principal is uid ${old.uid}: choose another name, or revoke it first`);
  return Number(text);
}

/** Hexadecimal digits, or a file that holds them or the key itself. */
function readKey(text: string): string {
  const isHex = (one: string): boolean => one.length === PUBLIC_KEY_BYTES * 2 && /^[0-9a-f]+$/.test(one);
  if (text === '')
    throw new CliError('--key must be a public key (64 hexadecimal digits) or a key file: `berth key new` prints one');
  if (isHex(text)) return text;
  const content = readNamed(text);
  const hex = readKeyFile(content)?.publicKey.toString('hex') ?? content.trim();
  if (!isHex(hex)) throw new CliError(`${text}: holds no Ed25519 key`);
  return hex;
}

function readProfiles(paths: PolicyPaths, given: Given, old: Principal | undefined): readonly string[] {
  const asked = listOf(given, 'profile');
  const profiles = asked.length > 0 ? asked : (old?.profiles ?? ['default']);
  const known = Object.keys(readPolicy(paths).profiles);
  const unknown = profiles.find((one) => !known.includes(one));
  if (unknown !== undefined) throw new CliError(`no profile ${unknown}: there are ${known.join(', ') || 'none'}`);
  return [...new Set(profiles)];
}

function idOf({ key }: PrincipalKey): string {
  return keyId(Buffer.from(key, 'hex'));
}

/** `berth admin list`. */
export async function listPrincipals(session: Session, given: Given): Promise<number> {
  const principals = readPrincipals(policyPathsOf(session.place()));
  if (isOn(given, 'json')) {
    session.stdout.write(`${JSON.stringify(Object.fromEntries(principals), undefined, 2)}\n`);
    return 0;
  }
  const rows = [...principals].map(([name, { uid, keys, profiles }]) => {
    const shown = keys.map((one) => idOf(one) + (one.notAfter === 'never' ? '' : ` until ${one.notAfter}`));
    return [name, String(uid), profiles.join(' '), shown.join(', ')] as const;
  });
  const all = [['NAME', 'UID', 'PROFILES', 'KEYS'] as const, ...rows];
  const width = (column: 0 | 1 | 2): number => Math.max(...all.map((row) => row[column].length)) + 3;
  const line = ([name, uid, profiles, keys]: (typeof all)[number]): string =>
    `${name.padEnd(width(0))}${uid.padEnd(width(1))}${profiles.padEnd(width(2))}${keys}`.trimEnd();
  session.stdout.write(`${all.map(line).join('\n')}\n`);
  return 0;
}

/** `berth admin revoke NAME [KEYID]`: takes a key away, or all of them. `--forget` removes the principal, who may then enrol himself again where that is allowed. */
export async function revoke(session: Session, given: Given): Promise<number> {
  const [name = '', id] = given.args;
  const paths = policyPathsOf(session.place());
  const old = NAME.test(name) ? readPrincipal(paths, name) : undefined;
  if (old === undefined) throw new CliError(`no principal ${name}: see berth admin list`);
  if (isOn(given, 'forget')) {
    forget(join(paths.principals, `${name}.json`));
    session.stdout.write(`${name}: forgotten\n`);
    return 0;
  }
  const gone = old.keys.filter((one) => id === undefined || idOf(one) === id);
  if (id !== undefined && gone.length === 0) throw new CliError(`principal ${name} has no key ${id}`);
  writePrincipal(paths, name, { ...old, keys: old.keys.filter((one) => !gone.includes(one)) });
  session.stdout.write(`${name}: revoked ${gone.map(idOf).join(' ') || 'nothing'}\n`);
  return 0;
}

function forget(path: string): void {
  try {
    rmSync(path);
  } catch (error) {
    throw new CliError(`${path}: ${reason(error)}`);
  }
}
