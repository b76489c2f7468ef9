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
import { close, writeWithin } from './calls.ts';
import { REPORT_BYTES } from './encode.ts';
import { type Cgroups, type Context, isNew } from './host.ts';
import { raiseLimits } from './identity.ts';
import { newLabel, type Program, u32, u64, within } from './program.ts';

/** What the first process of every launch and exec begins with. */
export function lowerBeginning(program: Program, user: CheckedProcess, cgroups: Cgroups): void {
  lowerUndumpable(program);
  leaveKeyring(program);
  raiseLimits(program, user);
  if (cgroups.kind === 'v1') enterCgroups(program, cgroups);
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

/**
 * v1: the process enters each of the container's groups. (On v2 it was started there.) It has one thread, so `tasks` means the same as `cgroup.procs`,
 * but moving the calling thread alone takes no lock over all processes (Linux 5.4 on), whose first taker waits 5 to 15 ms for a grace period.
 */
function enterCgroups(program: Program, { groups }: Extract<Cgroups, { kind: 'v1' }>): void {
  for (const { name, parent, path } of groups)
    writeWithin(program.during(`enter cgroup ${name}`), { at: program.use(parent), path: `${path}/tasks` }, '0');
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

type Clone = {
  readonly flags: number;
  /** Descriptors that only the first process needs. */
  readonly close: readonly number[];
};

/** Clones the second process, which goes on with the next record; the first reports its pid and ends. */
export function cloneProcess(program: Program, { flags, close: unneeded }: Clone): void {
  const report = program.data(u32(0, 0, 0, 0));
  const all = (flags | sched.CLONE_PARENT | sched.CLONE_PARENT_SETTID) >>> 0;
  const args = new Uint8Array(sched.CLONE_ARGS_SIZE_VER2);
  args.set(u64(all));
  const child = newLabel();
  close(program, ...unneeded);
  const cloning = program.during('clone the process');
  cloning.call(nr.SYS_clone3, [program.data(args, [[24, within(report, 4)]]), args.length], { on: [0, child] });
  program.call(nr.SYS_write, [program.status, report, REPORT_BYTES], { step: 'report the pid' });
  program.call(nr.SYS_exit_group, [0]);
  program.here(child);
  program.call(nr.SYS_setsid, [], { step: 'start a session' });
}

/** CLONE_NEW* bits for the clone: user and time namespaces are entered before. */
export function cloneFlags({ plan }: Context): number {
  return Number(plan.namespaces.unshare) & ~(sched.CLONE_NEWUSER | sched.CLONE_NEWTIME) & 0xffffffff;
}

/** Second process: names and loopback of namespaces that are new. */
export function lowerNames(context: Context): void {
  const { program, plan } = context;
  const { hostname, domainname } = plan;
  if (hostname !== '') program.call(nr.SYS_sethostname, [hostname, hostname.length], { step: 'set the host name' });
  if (domainname !== '')
    program.call(nr.SYS_setdomainname, [domainname, domainname.length], { step: 'set the domain name' });
  if (!isNew(context, sched.CLONE_NEWNET)) return;
  const request = new Uint8Array(IFREQ_BYTES);
  request.set([0x6c, 0x6f]); // "lo"
  request[IFNAMSIZ] = IFF_UP | IFF_RUNNING;
  const raising = program.during('bring up lo');
  const socket = raising.call(nr.SYS_socket, [AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0]);
  raising.call(nr.SYS_ioctl, [socket, SIOCSIFFLAGS, program.data(request)]);
  close(raising, socket);
}
