// The closed lists of names a request may use. Source: Docker 28's defaults (moby, oci/defaults.go) and the kernel's namespaced sysctls.
import { CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS } from '../abi/sched.gen.ts';

const words = (text: string): string[] => text.trim().split(/\s+/);

/** What may be masked, and whether a file or a directory covers it. */
export const MASKABLE: ReadonlyMap<string, 'file' | 'directory'> = new Map([
  ...words(`/proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/timer_list
    /proc/timer_stats`).map((path) => [path, 'file'] as const),
  ...words('/proc/acpi /proc/asound /proc/scsi /sys/devices/virtual/powercap /sys/firmware').map(
    (path) => [path, 'directory'] as const,
  ),
]);

/** Mounts of one container. */
export const MOUNTS_MAX = 256;

export const READ_ONLY_ABLE: ReadonlySet<string> = new Set(
  words('/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger'),
);

const IPC_SYSCTLS = words(`kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shm_rmid_forced kernel.shmall
  kernel.shmmax kernel.shmmni fs.mqueue.msg_default fs.mqueue.msg_max fs.mqueue.msgsize_default
  fs.mqueue.msgsize_max fs.mqueue.queues_max`);
const NET_SYSCTLS = words(`net.core.somaxconn net.ipv4.conf.all.arp_announce net.ipv4.conf.all.arp_ignore
  net.ipv4.conf.all.forwarding net.ipv4.conf.all.rp_filter net.ipv4.conf.all.route_localnet
  net.ipv4.conf.default.forwarding net.ipv4.conf.default.rp_filter net.ipv4.ip_default_ttl net.ipv4.ip_forward
  net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports net.ipv4.ip_nonlocal_bind
  net.ipv4.ip_unprivileged_port_start net.ipv4.ping_group_range net.ipv4.tcp_fin_timeout
  net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes net.ipv4.tcp_keepalive_time
  net.ipv4.tcp_max_syn_backlog net.ipv4.tcp_rmem net.ipv4.tcp_syncookies net.ipv4.tcp_syn_retries
  net.ipv4.tcp_tw_reuse net.ipv4.tcp_wmem net.ipv6.bindv6only net.ipv6.conf.all.disable_ipv6
  net.ipv6.conf.all.forwarding net.ipv6.conf.default.disable_ipv6 net.unix.max_dgram_qlen`);

/** Each sysctl that may be set, and the namespace that must be the container's own for it. */
export const SYSCTLS: ReadonlyMap<string, number> = new Map([
  ...IPC_SYSCTLS.map((name) => [name, CLONE_NEWIPC] as const),
  ...NET_SYSCTLS.map((name) => [name, CLONE_NEWNET] as const),
  ['kernel.domainname', CLONE_NEWUTS] as const,
]);
