// What of /proc and /sys the container does not see or cannot write. Everything is resolved in our own procfs and sysfs descriptors, covered by the
// seed's own empty node and directory: nothing of the container's root takes part (CVE-2025-31133, CVE-2025-52881). Only "this kernel has no such
// entry" is passed over; any other failure stops the launch. A container's root that may mount can take masks off its own file systems (as in Docker);
// behind them it is nobody.
import { ENOENT } from '../../proto/abi/errno.gen.ts';
import { MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY } from '../../proto/abi/mount.gen.ts';
import { SYS_setdomainname } from '../../proto/abi/unistd.gen.ts';
import { KernelFilesystem } from '../../proto/gen/berth/helper/v1/plan.ts';
import { MASKABLE } from '../../proto/policy/lists.ts';
import * as calls from './calls.ts';
import { type Context, step } from './host.ts';
import type { Own } from './mounts.ts';
import { newLabel, type Result } from './program.ts';

/** Where the seed keeps what covers masked files and directories. */
const MASK = { file: '/null', directory: '/empty' };
const COVER = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;

/** Covers masked paths and makes read-only ones read-only. Paths whose file system the container does not have are not there to be covered. */
export function lowerMasks(context: Context, own: Own): void {
  const { maskedPaths, readOnlyPaths } = context.plan.hardening;
  for (const path of maskedPaths)
    cover(step(context, `mask ${path}`), { own, path }, ({ program }) =>
      calls.cloneMount(program, { path: MASK[MASKABLE.get(path) ?? 'file'] }, { set: COVER }),
    );
  for (const path of readOnlyPaths)
    cover(step(context, `make ${path} read-only`), { own, path }, ({ program }, at) =>
      calls.cloneMount(program, { at, recursive: true }, { set: MOUNT_ATTR_RDONLY }),
    );
}

type Place = { readonly own: Own; readonly path: string };

function cover(context: Context, { own, path }: Place, make: (context: Context, entry: Result) => Result): void {
  const { program } = context;
  const { KERNEL_FILESYSTEM_PROC: PROC, KERNEL_FILESYSTEM_SYSFS: SYSFS } = KernelFilesystem;
  const filesystem = own.get(path.startsWith('/proc/') ? PROC : SYSFS);
  if (filesystem === undefined) return;
  const missing = newLabel();
  const name = path.split('/').slice(2).join('/');
  const entry = calls.openWithin(program, { at: filesystem, path: name, on: [-ENOENT, missing] });
  const made = make(context, entry);
  calls.attach(program, made, entry);
  calls.close(program, made, entry);
  program.here(missing);
}

/** Sets sysctls of namespaces that are the container's own (decode has seen to that), through the seed's procfs, as root of the container. */
export function lowerSysctls({ program, plan, host }: Context): void {
  const { sysctls } = plan.hardening;
  if (sysctls.length === 0) return;
  const directory = calls.openOurs(
    program.during('open /proc/sys'),
    '/proc/sys',
    calls.directoryFlags(host.machine.arch),
  );
  for (const { name, value } of sysctls) {
    const setting = program.during(`set ${name}`);
    // Root of a user namespace may not write this file, but may make the call.
    if (name === 'kernel.domainname') setting.call(SYS_setdomainname, [value, value.length]);
    else calls.writeWithin(setting, { at: directory, path: name.replaceAll('.', '/') }, value);
  }
  calls.close(program, directory);
}
