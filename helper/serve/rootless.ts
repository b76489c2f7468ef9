// Without root: the helper is the same program in a user namespace of the user's own, which maps one id. Node has threads and cannot make one for
// itself; so it executes the launcher in its own place, which does and executes Node again.
import { closeSync } from 'node:fs';
import { AT_EMPTY_PATH, AT_FDCWD, F_SETFD, O_WRONLY } from '../../proto/abi/fcntl.gen.ts';
import { CLONE_NEWNS, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import {
  SYS_close,
  SYS_execve,
  SYS_exit_group,
  SYS_openat,
  SYS_unshare,
  SYS_write,
} from '../../proto/abi/unistd.gen.ts';
import { ARCH, sealedMemfd, startChild, theLauncher } from '../launch/child.ts';
import { encodeProgram } from '../lower/encode.ts';
import { createProgram } from '../lower/program.ts';
import { dup3, fcntl } from '../sys/descriptors.ts';
import { executeDescriptor, waitPidfd } from '../sys/processes.ts';

const OUTSIDE = 'BERTH_ROOTLESS';

/** The user's own ids outside of the user namespace that `enterUserNamespace` made; undefined for a helper of root's. */
export function outsideIds(): { uid: number; gid: number } | undefined {
  const [uid, gid] = (process.env[OUTSIDE] ?? '').split(':').map(Number);
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

/** Throws with one line where this kernel lets us make no namespaces: a locked-down container, a sysctl, a security module. */
export function checkNamespaces(flags: number): void {
  const program = createProgram(2);
  program.call(SYS_exit_group, [0]);
  try {
    const child = startChild(program, { flags });
    waitPidfd(child.pidfd, 0);
    closeSync(child.pidfd);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const what = (flags & CLONE_NEWUSER) === 0 ? 'needs CAP_SYS_ADMIN' : 'cannot make a user namespace';
    throw new Error(`uid ${process.getuid?.()} ${what} here (${why}): berth doctor says what to change`, {
      cause: error,
    });
  }
}

/** Starts this process again as root of a user namespace that maps the user's own ids. Does not return. */
export function enterUserNamespace(uid: number, gid: number): never {
  const program = createProgram(2);
  program.call(SYS_unshare, [CLONE_NEWUSER | CLONE_NEWNS], { step: 'make a user namespace' });
  const files = [
    ['setgroups', 'deny'],
    ['uid_map', `0 ${uid} 1`],
    ['gid_map', `0 ${gid} 1`],
  ] as const;
  for (const [name, text] of files) {
    const file = program.call(SYS_openat, [AT_FDCWD, `/proc/self/${name}`, O_WRONLY, 0]);
    program.call(SYS_write, [file, text, text.length]);
    program.call(SYS_close, [file]);
  }
  const env = Object.entries({ ...process.env, [OUTSIDE]: `${uid}:${gid}` }).map(([name, value]) => `${name}=${value}`);
  const argv = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  program.call(SYS_execve, [process.execPath, program.strings(argv), program.strings(env)]);
  program.call(SYS_exit_group, [1]);
  dup3(sealedMemfd('berth-rootless', encodeProgram(program, { arch: ARCH }), 0), 0, 0);
  for (const fd of [1, 2]) fcntl(fd, F_SETFD, 0);
  return executeDescriptor(theLauncher().fd, AT_EMPTY_PATH);
}
