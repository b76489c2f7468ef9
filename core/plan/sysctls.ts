// --sysctl: the names that belong to a namespace of the container's own. The helper has the same list; a test holds one against the other.
import type { Sysctl } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { HostConfig } from '../spec/docker-config.ts';
import type { NsKind, NsWish } from './namespaces.ts';
import { type Noted, noted, type Reason, refuse } from './reason.ts';

const IPC = [
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shm_rmid_forced',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'fs.mqueue.msg_default',
  'fs.mqueue.msg_max',
  'fs.mqueue.msgsize_default',
  'fs.mqueue.msgsize_max',
  'fs.mqueue.queues_max',
];
const NET = [
  'net.core.somaxconn',
  'net.ipv4.conf.all.arp_announce',
  'net.ipv4.conf.all.arp_ignore',
  'net.ipv4.conf.all.forwarding',
  'net.ipv4.conf.all.rp_filter',
  'net.ipv4.conf.all.route_localnet',
  'net.ipv4.conf.default.forwarding',
  'net.ipv4.conf.default.rp_filter',
  'net.ipv4.ip_default_ttl',
  'net.ipv4.ip_forward',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.ip_nonlocal_bind',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ping_group_range',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_max_syn_backlog',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.tcp_syn_retries',
  'net.ipv4.tcp_tw_reuse',
  'net.ipv4.tcp_wmem',
  'net.ipv6.bindv6only',
  'net.ipv6.conf.all.disable_ipv6',
  'net.ipv6.conf.all.forwarding',
  'net.ipv6.conf.default.disable_ipv6',
  'net.unix.max_dgram_qlen',
];
/** Each name, and the namespace that must be new for it. */
export const SYSCTLS: ReadonlyMap<string, NsKind> = new Map<string, NsKind>([
  ...IPC.map((name) => [name, 'ipc'] as const),
  ...NET.map((name) => [name, 'net'] as const),
  ['kernel.domainname', 'uts'],
]);

/** Docker's own default in a network namespace: any user may bind a port below 1024 there. */
const PORT_START = 'net.ipv4.ip_unprivileged_port_start';

/** What is set before the program starts. Throws bad_parameter; texts: runc, libcontainer/configs/validate/validator.go. */
export function planSysctls(host: HostConfig, wish: NsWish): Noted<Sysctl[]> {
  const sysctls = new Map<string, string>();
  const reasons: Reason[] = [];
  if (wish.net.source.kind === 'new') {
    sysctls.set(PORT_START, '0');
    reasons.push({
      about: `sysctl ${PORT_START}`,
      text: 'default: low ports need no capability in a network of its own',
    });
  }
  for (const [written, value] of Object.entries(host.Sysctls ?? {})) {
    const name = dotted(written);
    checkName(name, wish);
    if (!/^[\x20-\x7e\t]{1,256}$/.test(value))
      refuse(`sysctl "${name}": the value must be 1 to 256 printable characters`);
    sysctls.set(name, value);
    reasons.push({ about: `sysctl ${name}`, text: '--sysctl' });
  }
  return noted(
    [...sysctls].map(([name, value]) => ({ name, value })),
    reasons,
  );
}

/** `net/ipv4/conf/eno2.100/x` is `net.ipv4.conf.eno2/100.x`: the first separator says which one separates. Source: man 8 sysctl. */
function dotted(name: string): string {
  const first = name.search(/[./]/);
  if (first < 0 || name[first] === '.') return name;
  return name.replace(/[./]/g, (separator) => (separator === '.' ? '/' : '.'));
}

function checkName(name: string, wish: NsWish): void {
  if (name === 'kernel.hostname')
    refuse(`sysctl "${name}" is not allowed as it conflicts with the OCI "hostname" field`);
  const needs = SYSCTLS.get(name);
  if (needs === undefined) {
    if (!name.startsWith('net.') && !name.startsWith('fs.mqueue.'))
      refuse(`sysctl "${name}" is not in a separate kernel namespace`);
    refuse(`sysctl "${name}" is not on the list of those that can be set`);
  }
  if (wish[needs].source.kind === 'new') return;
  if (needs === 'ipc') refuse(`sysctl "${name}" is not allowed in the hosts ipc namespace`);
  if (needs === 'net') refuse(`sysctl "${name}" not allowed in host network namespace`);
  refuse(`sysctl "${name}" is not in a separate kernel namespace`);
}
