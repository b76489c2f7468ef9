// Becoming an unprivileged user for good. Order matters: groups, then gid, then uid, after which none of it can be undone.
import { checked, raw } from './libc.ts';

export type Become = { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };

/** Takes these ids in all three forms and these groups alone; throws unless it is done. */
export function becomeUser({ uid, gid, groups }: Become): void {
  checked(
    'setgroups',
    groups.join(),
    raw.setgroups(groups.length, new Uint32Array(groups.length === 0 ? [0] : groups)),
  );
  checked('setresgid', String(gid), raw.setresgid(gid, gid, gid));
  checked('setresuid', String(uid), raw.setresuid(uid, uid, uid));
  if (process.getuid?.() !== uid || process.geteuid?.() !== uid) throw new Error(`setresuid ${uid} had no effect`);
}
