// From the first process, which has the host's rights, to the second, which has none outside the container. The first joins what is joined, the seed
// and last the user namespace, closes the host's descriptors and clones; the second is the helper's child too (sched.CLONE_PARENT), all its new namespaces
// belong to the container's user namespace, and its memory still to the host's: the launcher was executed before any joining, so non-dumpable
// protects it from the container's root (SECURITY, rule 8).
import { IFF_RUNNING, IFF_UP, IFNAMSIZ, IFREQ_BYTES, SIOCSIFFLAGS } from '../../proto/abi/if.gen.ts';
import { KEYCTL_JOIN_SESSION_KEYRING } from '../../proto/abi/keyctl.gen.ts';
import { PR_SET_DUMPABLE } from '../../proto/abi/prctl.gen.ts';
import * as sched from '../../proto/abi/sched.gen.ts';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from '../../proto/abi/socket.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import type { CheckedProcess } from '../decode/checked.ts';
import { close, directoryFlags, openOurs, writeWithin } from './calls.ts';
import { REPORT_BYTES } from './encode.ts';
import { type Cgroups, type Context, isNew } from './host.ts';
import { newLabel, type Program, u32, u64, within } from './program.ts';
import { raiseLimits } from './user.ts';

/**
 * What the first process of every launch and exec begins with. cgroup v1: it enters each of the container's groups. (On v2 it was started there.) It has one
 * thread, so `tasks` means the same as `cgroup.procs`, but moving the calling thread alone takes no lock over all processes (Linux 5.4 on), whose first
 * taker waits 5 to 15 ms for a grace period.
 */
export function lowerBeginning(program: Program, user: CheckedProcess, cgroups: Cgroups): void {
  lowerUndumpable(program);
  leaveKeyring(program);
  raiseLimits(program, user);
  for (const { name, parent, path } of cgroups.kind === 'v1' ? cgroups.groups : [])
    writeWithin(program.during(`enter cgroup ${name}`), { at: program.use(parent), path: `${path}/tasks` }, '0');
}

/** The first record of every program: nobody may look into the process. */
export function lowerUndumpable(program: Program): void {
  program.call(nr.SYS_prctl, [PR_SET_DUMPABLE, 0, 0, 0, 0], { step: 'become non-dumpable' });
}

/**
 * A session keyring of its own, empty: whoever possesses one reads, uses and adds what is in it, in whichever user namespace. Made by the host's root, whose
 * quota of keys a container cannot use up.
 */
export function leaveKeyring(program: Program): void {
  program.call(nr.SYS_keyctl, [KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0], { step: 'make a session keyring' });
}

/** First process: namespaces that are joined, the user namespace last, then a time namespace of its own for the second. */
export function enterNamespaces(context: Context): void {
  const { program, host } = context;
  const setns = (descriptor: number, bit: number, step: string) =>
    program.call(nr.SYS_setns, [program.use(descriptor), bit], { step });
  for (const { bit, descriptor } of host.joined) setns(descriptor, bit, 'join a namespace of the other container');
  if (host.userNamespace !== undefined) {
    setns(host.userNamespace, sched.CLONE_NEWUSER, 'join the user namespace');
    becomeRoot(program, host.machine.rootless);
  }
  if (isNew(context, sched.CLONE_NEWTIME))
    program.call(nr.SYS_unshare, [sched.CLONE_NEWTIME], { step: 'make a time namespace' });
}

/** Root of the user namespace that was just joined, and of nothing else. Where setgroups(2) is denied (rootless) there are no groups to give up. */
export function becomeRoot(program: Program, rootless: boolean): void {
  if (!rootless) program.call(nr.SYS_setgroups, [0, 0], { step: 'give up groups' });
  const becoming = program.during('become root of the user namespace');
  becoming.call(nr.SYS_setresgid, [0, 0, 0]);
  becoming.call(nr.SYS_setresuid, [0, 0, 0]);
}

/** Clones the second process, which has these descriptors of the helper and goes on with the next record; the first reports its pid and ends. */
export function cloneProcess(program: Program, flags: number, kept: ReadonlySet<number>): void {
  const report = program.data(u32(0, 0, 0, 0));
  const all = (flags | sched.CLONE_PARENT | sched.CLONE_PARENT_SETTID) >>> 0;
  const args = new Uint8Array(sched.CLONE_ARGS_SIZE_VER2);
  args.set(u64(all));
  const child = newLabel();
  close(program, ...[...program.descriptors].filter((descriptor) => !kept.has(descriptor)));
  const cloning = program.during('clone the process');
  cloning.call(nr.SYS_clone3, [program.data(args, [[24, within(report, 4)]]), args.length], { on: [0, child] });
  program.call(nr.SYS_write, [program.status, report, REPORT_BYTES], { step: 'report the pid' });
  program.call(nr.SYS_exit_group, [0]);
  program.here(child);
  program.call(nr.SYS_setsid, [], { step: 'start a session' });
}

/** Second process: names and loopback of namespaces that are new. */
export function lowerNames(context: Context): void {
  const { program, plan } = context;
  const { hostname, domainname } = plan;
  const naming = program.during('set the names');
  if (hostname !== '') naming.call(nr.SYS_sethostname, [hostname, hostname.length]);
  if (domainname !== '') naming.call(nr.SYS_setdomainname, [domainname, domainname.length]);
  if (!isNew(context, sched.CLONE_NEWNET)) return;
  const request = new Uint8Array(IFREQ_BYTES);
  request.set([0x6c, 0x6f]); // "lo"
  request[IFNAMSIZ] = IFF_UP | IFF_RUNNING;
  const raising = program.during('bring up lo');
  const socket = raising.call(nr.SYS_socket, [AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0]);
  raising.call(nr.SYS_ioctl, [socket, SIOCSIFFLAGS, program.data(request)]);
  close(raising, socket);
}

/** Sets sysctls of namespaces that are the container's own (decode has seen to that), through the seed's procfs, as root of the container. */
export function lowerSysctls({ program, plan, host }: Context): void {
  const { sysctls } = plan.hardening;
  if (sysctls.length === 0) return;
  const flags = directoryFlags(host.machine.arch);
  const directory = openOurs(program.during('open /proc/sys'), '/proc/sys', flags);
  for (const { name, value } of sysctls) {
    const setting = program.during(`set ${name}`);
    // Root of a user namespace may not write this file, but may make the call.
    if (name === 'kernel.domainname') setting.call(nr.SYS_setdomainname, [value, value.length]);
    else writeWithin(setting, { at: directory, path: name.replaceAll('.', '/') }, value);
  }
  close(program, directory);
}
