// What of /proc and /sys the container does not see or cannot write. Everything is resolved in our own procfs and sysfs descriptors, covered by the
// seed's own empty node and directory: nothing of the container's root takes part (CVE-2025-31133, CVE-2025-52881). Only "this kernel has no such
// entry" is passed over; any other failure stops the launch.
import { ENOENT } from '../../proto/abi/errno.gen.ts';
import { AT_FDCWD } from '../../proto/abi/fcntl.gen.ts';
import { MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY } from '../../proto/abi/mount.gen.ts';
import { SYS_setdomainname } from '../../proto/abi/unistd.gen.ts';
import { MASKABLE } from '../../proto/policy/lists.ts';
import * as calls from './calls.ts';
import type { Context } from './context.ts';
import type { Own } from './mounts.ts';
import { newLabel, type Result } from './program.ts';

/** Where the seed keeps what covers masked files and directories. */
export const MASK_FILE = '/null';
export const MASK_DIRECTORY = '/empty';

/** Covers masked paths and makes read-only ones read-only. Paths whose file system the container does not have are not there to be covered. */
export function lowerMasks({ program, plan }: Context, own: Own): void {
  for (const path of plan.hardening.maskedPaths) {
    const step = `mask ${path}`;
    const mask = MASKABLE.get(path) === 'directory' ? MASK_DIRECTORY : MASK_FILE;
    overEntry({ program, own, path, step }, (entry) => {
      const cover = calls.cloneMount(program, { at: AT_FDCWD, path: mask, step });
      calls.setAttributes(program, cover, { set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, step });
      calls.attach(program, cover, { target: entry, step });
      calls.close(program, cover);
    });
  }
  for (const path of plan.hardening.readOnlyPaths) {
    const step = `make ${path} read-only`;
    overEntry({ program, own, path, step }, (entry) => {
      const copy = calls.cloneMount(program, { at: entry, recursive: true, step });
      calls.setAttributes(program, copy, { set: MOUNT_ATTR_RDONLY, recursive: true, step });
      calls.attach(program, copy, { target: entry, step });
      calls.close(program, copy);
    });
  }
}

type Entry = { readonly program: Context['program']; readonly own: Own; readonly path: string; readonly step: string };

function overEntry({ program, own, path, step }: Entry, cover: (entry: Result) => void): void {
  const filesystem = path.startsWith('/proc/') ? own.proc : own.sysfs;
  if (filesystem === undefined) return;
  const missing = newLabel();
  const name = path.split('/').slice(2).join('/');
  const entry = calls.openWithin(program, { at: filesystem, path: name, step, on: [-ENOENT, missing] });
  cover(entry);
  calls.close(program, entry);
  program.here(missing);
}

/** Sets sysctls of namespaces that are the container's own (decode has seen to that), through the seed's procfs, as root of the container. */
export function lowerSysctls({ program, plan, host }: Context): void {
  const { sysctls } = plan.hardening;
  if (sysctls.length === 0) return;
  const flags = calls.directoryFlags(host.machine.arch);
  const directory = calls.openOurs(program, { path: '/proc/sys', flags, step: 'open /proc/sys' });
  for (const { name, value } of sysctls) {
    const step = `set ${name}`;
    // Root of a user namespace may not write this file, but may make the call.
    if (name === 'kernel.domainname') program.call(SYS_setdomainname, [value, value.length], { step });
    else calls.writeWithin(program, { at: directory, path: name.replaceAll('.', '/'), step }, value);
  }
  calls.close(program, directory);
}
