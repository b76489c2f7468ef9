// Whom the engine runs as: never root. Started by root it becomes the user behind sudo, else a uid that is nobody's.
import { readFileSync } from 'node:fs';
import { RESERVED_UID } from '../cli/place.ts';
import { becomeUser } from '../sys/user.ts';

export type User = { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };

/** Becomes an unprivileged user if this is root; gives the uid. Throws when the way back is open. */
export function leaveRoot(): number {
  const uid = process.getuid?.() ?? 0;
  if (uid !== 0 || !isInitialNamespace()) return uid;
  const user = userToBe();
  becomeUser(user);
  return user.uid;
}

/** Root of a user namespace of the user's own is no root. */
function isInitialNamespace(): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/m.test(readFileSync('/proc/self/uid_map', 'utf8'));
}

function userToBe(): User {
  const [uid, gid] = [process.env['SUDO_UID'], process.env['SUDO_GID']].map(numberOf);
  if (uid === undefined || uid === 0) return { uid: RESERVED_UID, gid: RESERVED_UID, groups: [] };
  return { uid, gid: gid ?? uid, groups: groupsOf(uid) };
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

/** The groups he would have after a login, so that he can open what he could open himself. */
function groupsOf(uid: number): number[] {
  const passwd = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const name = passwd.find((fields) => fields[2] === String(uid))?.[0];
  if (name === undefined) return [];
  const groups = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  return groups.filter((fields) => fields[3]?.split(',').includes(name)).map((fields) => Number(fields[2]));
}
