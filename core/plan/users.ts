// `-u`, USER and --group-add to numbers, by the image's passwd and group.
import { type Noted, noted, refuse } from './reason.ts';

const ID_MAX = 2 ** 31 - 1;
const RANGE = `uids and gids must be in range 0-${ID_MAX}`;

export type User = {
  readonly uid: number;
  readonly gid: number;
  /** The supplementary groups, the gid among them first, as Docker gives them. */
  readonly groups: readonly number[];
  readonly home: string;
};

export type UserAsked = {
  /** `name`, `uid`, `name:group`, `uid:gid`, or empty. */
  readonly user: string;
  readonly groupAdd: readonly string[];
  /** Texts of /etc/passwd and /etc/group; empty where there is none. */
  readonly passwd: string;
  readonly group: string;
};

type PasswdEntry = { readonly name: string; readonly uid: number; readonly gid: number; readonly home: string };
type GroupEntry = { readonly name: string; readonly gid: number; readonly members: readonly string[] };

/**
 * The ids and the home of a user. A number needs no entry; a name does. Throws bad_parameter with Docker's texts.
 * Source: github.com/moby/sys/user v0.4, GetExecUser and GetAdditionalGroups; moby, daemon/oci_linux.go getUser.
 */
export function resolveUser(asked: UserAsked): Noted<User> {
  const [userText = '', groupText = ''] = asked.user.split(':');
  const uid = readId(userText);
  const gid = readId(groupText);
  const wanted = userText === '' ? 0 : uid;
  const entry = passwdEntries(asked.passwd).find((e) =>
    wanted === undefined ? e.name === userText : e.uid === wanted,
  );
  if (entry === undefined && wanted === undefined) {
    refuse(`unable to find user ${userText}: no matching entries in passwd file`);
  }
  const groups = groupEntries(asked.group);
  const ownGid = groupText === '' ? (entry?.gid ?? 0) : groupId(groupText, gid, groups);
  const implied =
    groupText === '' && entry !== undefined
      ? groups.filter((g) => g.members.includes(entry.name)).map((g) => g.gid)
      : [];
  const added = asked.groupAdd.map((name) => additionalGroup(name, groups));
  const user = {
    uid: entry?.uid ?? wanted ?? 0,
    gid: ownGid,
    groups: [ownGid, ...implied, ...new Set(added)],
    home: entry?.home ?? '',
  };
  for (const id of [user.uid, ...user.groups]) if (id < 0 || id > ID_MAX) refuse(RANGE);
  const whence = entry === undefined ? 'no entry in passwd' : `passwd entry of ${entry.name}`;
  return noted({ ...user, home: user.home === '' ? '/' : user.home }, [
    { about: 'user', text: `${asked.user === '' ? 'no user named' : `user ${asked.user}`}: ${whence}` },
  ]);
}

/** Undefined for a name. */
function readId(text: string): number | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  const id = Number(text);
  return id >= 0 && id <= ID_MAX ? id : refuse(RANGE);
}

function groupId(text: string, gid: number | undefined, groups: readonly GroupEntry[]): number {
  if (gid !== undefined) return gid;
  const entry = groups.find((g) => g.name === text);
  return entry?.gid ?? refuse(`unable to find group ${text}: no matching entries in group file`);
}

function additionalGroup(text: string, groups: readonly GroupEntry[]): number {
  const gid = readId(text);
  if (gid !== undefined) return gid;
  const entry = groups.find((g) => g.name === text);
  return entry?.gid ?? refuse(`Unable to find group ${text}: no matching entries in group file`);
}

function passwdEntries(text: string): PasswdEntry[] {
  return lines(text).map(([name = '', , uid, gid, , home = '']) => ({ name, uid: atoi(uid), gid: atoi(gid), home }));
}

function groupEntries(text: string): GroupEntry[] {
  return lines(text)
    .filter(([name]) => !name?.startsWith('#'))
    .map(([name = '', , gid, members = '']) => ({ name, gid: atoi(gid), members: members.split(',') }));
}

function lines(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => line.split(':'));
}

/** What is no number counts as 0: some images' files misbehave, and Docker takes them so. */
function atoi(text: string | undefined): number {
  return text !== undefined && /^[+-]?\d{1,18}$/.test(text) ? Number(text) : 0;
}
