// Becoming an unprivileged user for good. Order matters: groups, then gid, then uid, after which none of it can be undone.
import { checked, raw } from './libc.ts';

/** Gives up every group and becomes uid and gid in all three forms; checks that the way back is closed. */
export function becomeUser(uid: number, gid: number): void {
  checked('setgroups', 'none', raw.setgroups(0, new Uint32Array(1)));
  checked('setresgid', String(gid), raw.setresgid(gid, gid, gid));
  checked('setresuid', String(uid), raw.setresuid(uid, uid, uid));
  if (process.getuid?.() !== uid || process.geteuid?.() !== uid) throw new Error(`setresuid ${uid} had no effect`);
}
