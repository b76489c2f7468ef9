// Whom the engine runs as: never root. Started by root it becomes the user behind sudo, else a uid that is nobody's.
import { readFileSync } from 'node:fs';
import { RESERVED_UID } from '../cli/place.ts';
import { becomeUser } from '../sys/user.ts';

export type User = { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };

/** Becomes an unprivileged user if this is root, after `prepare` has done for that user what needs root; gives the uid. Throws when the way back is open. */
export function leaveRoot(prepare: (user: User) => void): number {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  const user = uid === 0 && isInitialNamespace() ? userToBe() : { uid, gid, groups: [] };
  prepare(user);
  if (user.uid !== uid) becomeUser(user);
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
