// The flags of `run` and `create`: one line each, for the parser, the help and the table test.
import type { Flag, FlagKind } from './command.ts';

/** Makes a flag from the line a table holds: `-m, --memory bytes`, its help, and what is not the usual. */
export function flag(words: string, help: string, more: Partial<Flag> = {}): Flag {
  const [, short, name = '', kind = 'bool'] = /^(?:-(.), )?--(\S+)(?: (\S+))?$/.exec(words) ?? [];
  return { name, kind: kind as FlagKind, help, ...(short === undefined ? {} : { short }), ...more };
}

const isolation: readonly Flag[] = [
  flag('--cap-add list', 'Add Linux capabilities'),
  flag('--cap-drop list', 'Drop Linux capabilities'),
  flag('--cgroup-parent string', 'Optional parent cgroup for the container'),
  flag('--cgroupns string', 'Cgroup namespace to use (host|private)'),
  flag('--device list', 'Add a host device to the container'),
  flag('--device-cgroup-rule list', 'Add a rule to the cgroup allowed devices list'),
  flag('--gpus string', "GPU devices to add to the container ('all' to pass all GPUs)", { shown: 'gpu-request' }),
  flag('--group-add list', 'Add additional groups to join'),
  flag('--ipc string', 'IPC mode to use'),
  flag('--isolation string', 'Container isolation technology'),
  flag('--pid string', 'PID namespace to use'),
  flag('--privileged', 'Give extended privileges to this container'),
  flag('--runtime string', 'Runtime to use for this container'),
  flag('--security-opt list', 'Security Options'),
  flag('--sysctl map', 'Sysctl options', { preset: 'map[]' }),
  flag('--userns string', 'User namespace to use'),
  flag('--uts string', 'UTS namespace to use'),
];

const limits: readonly Flag[] = [
  flag('--blkio-weight uint16', 'Block IO (relative weight), between 10 and 1000, or 0 to disable', { preset: '0' }),
  flag('--blkio-weight-device list', 'Block IO weight (relative device weight)', { preset: '[]' }),
  flag('--cpu-period int', 'Limit CPU CFS (Completely Fair Scheduler) period'),
  flag('--cpu-quota int', 'Limit CPU CFS (Completely Fair Scheduler) quota'),
  flag('--cpu-rt-period int', 'Limit CPU real-time period in microseconds'),
  flag('--cpu-rt-runtime int', 'Limit CPU real-time runtime in microseconds'),
  flag('-c, --cpu-shares int', 'CPU shares (relative weight)'),
  flag('--cpus decimal', 'Number of CPUs'),
  flag('--cpuset-cpus string', 'CPUs in which to allow execution (0-3, 0,1)'),
  flag('--cpuset-mems string', 'MEMs in which to allow execution (0-3, 0,1)'),
  flag('--device-read-bps list', 'Limit read rate (bytes per second) from a device', { preset: '[]' }),
  flag('--device-read-iops list', 'Limit read rate (IO per second) from a device', { preset: '[]' }),
  flag('--device-write-bps list', 'Limit write rate (bytes per second) to a device', { preset: '[]' }),
  flag('--device-write-iops list', 'Limit write rate (IO per second) to a device', { preset: '[]' }),
  flag('--kernel-memory bytes', 'Kernel memory limit'),
  flag('-m, --memory bytes', 'Memory limit'),
  flag('--memory-reservation bytes', 'Memory soft limit'),
  flag('--memory-swap bytes', "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
  flag('--memory-swappiness int', 'Tune container memory swappiness (0 to 100)', { preset: '-1' }),
  flag('--oom-kill-disable', 'Disable OOM Killer'),
  flag('--oom-score-adj int', "Tune host's OOM preferences (-1000 to 1000)"),
  flag('--pids-limit int', 'Tune container pids limit (set -1 for unlimited)'),
  flag('--shm-size bytes', 'Size of /dev/shm'),
  flag('--ulimit ulimit', 'Ulimit options', { preset: '[]' }),
];

const networking: readonly Flag[] = [
  flag('--add-host list', 'Add a custom host-to-IP mapping (host:ip)'),
  flag('--dns list', 'Set custom DNS servers'),
  flag('--dns-option list', 'Set DNS options'),
  flag('--dns-opt list', 'Set DNS options', { hidden: true }),
  flag('--dns-search list', 'Set custom DNS search domains'),
  flag('--domainname string', 'Container NIS domain name'),
  flag('--expose list', 'Expose a port or a range of ports'),
  flag('-h, --hostname string', 'Container host name'),
  flag('--ip string', 'IPv4 address (e.g., 172.30.100.104)'),
  flag('--ip6 string', 'IPv6 address (e.g., 2001:db8::33)'),
  flag('--link list', 'Add link to another container'),
  flag('--link-local-ip list', 'Container IPv4/IPv6 link-local addresses'),
  flag('--mac-address string', 'Container MAC address (e.g., 92:d0:c6:0a:29:33)'),
  flag('--network list', 'Connect a container to a network', { shown: 'network' }),
  flag('--net list', 'Connect a container to a network', { shown: 'network', hidden: true }),
  flag('--network-alias list', 'Add network-scoped alias for the container'),
  flag('--net-alias list', 'Add network-scoped alias for the container', { hidden: true }),
  flag('-p, --publish list', "Publish a container's port(s) to the host"),
  flag('-P, --publish-all', 'Publish all exposed ports to random ports'),
];

const files: readonly Flag[] = [
  flag('--mount list', 'Attach a filesystem mount to the container', { shown: 'mount' }),
  flag('--read-only', "Mount the container's root filesystem as read only"),
  flag('--rootfs string', 'Run a plain directory as the root filesystem; there is no IMAGE then', { shown: 'dir' }),
  flag('--storage-opt list', 'Storage driver options for the container'),
  flag('--tmpfs list', 'Mount a tmpfs directory'),
  flag('-v, --volume list', 'Bind mount a volume'),
  flag('--volume-driver string', 'Optional volume driver for the container'),
  flag('--volumes-from list', 'Mount volumes from the specified container(s)'),
];

const process: readonly Flag[] = [
  flag('--annotation map', 'Add an annotation to the container', { preset: 'map[]' }),
  flag('-a, --attach list', 'Attach to STDIN, STDOUT or STDERR'),
  flag('--cidfile string', 'Write the container ID to the file'),
  flag('--disable-content-trust', 'Skip image verification', { preset: 'true' }),
  flag('--entrypoint string', 'Overwrite the default ENTRYPOINT of the image'),
  flag('-e, --env list', 'Set environment variables'),
  flag('--env-file list', 'Read in a file of environment variables'),
  flag('--health-cmd string', 'Command to run to check health'),
  flag('--health-interval duration', 'Time between running the check (ms|s|m|h)', { preset: '0s' }),
  flag('--health-retries int', 'Consecutive failures needed to report unhealthy'),
  flag('--health-start-interval duration', 'Time between running the check during the start period (ms|s|m|h)', {
    preset: '0s',
  }),
  flag(
    '--health-start-period duration',
    'Time for the container to initialize before health-retries count (ms|s|m|h)',
    { preset: '0s' },
  ),
  flag('--health-timeout duration', 'Maximum time to allow one check to run (ms|s|m|h)', { preset: '0s' }),
  flag('--init', 'Run an init inside the container that forwards signals and reaps processes'),
  flag('-i, --interactive', 'Keep STDIN open even if not attached'),
  flag('-l, --label list', 'Set meta data on a container'),
  flag('--label-file list', 'Read in a line delimited file of labels'),
  flag('--log-driver string', 'Logging driver for the container'),
  flag('--log-opt list', 'Log driver options'),
  flag('--name string', 'Assign a name to the container'),
  flag('--no-healthcheck', 'Disable any container-specified HEALTHCHECK'),
  flag('--platform string', 'Set platform if server is multi-platform capable'),
  flag('--pull string', 'Pull image before running ("always", "missing", "never")', { preset: '"missing"' }),
  flag('-q, --quiet', 'Suppress the pull output'),
  flag('--restart string', 'Restart policy to apply when a container exits', { preset: '"no"' }),
  flag('--rm', 'Automatically remove the container and its associated anonymous volumes when it exits'),
  flag('--stop-signal string', 'Signal to stop the container'),
  flag('--stop-timeout int', 'Timeout (in seconds) to stop a container'),
  flag('-t, --tty', 'Allocate a pseudo-TTY'),
  flag('-u, --user string', 'Username or UID (format: <name|uid>[:<group|gid>])'),
  flag('-w, --workdir string', 'Working directory inside the container'),
];

/** Every flag that shapes a container: those of `create`. */
export const CREATE_FLAGS: readonly Flag[] = [...isolation, ...limits, ...networking, ...files, ...process];

/** Those of `run`: the container's and how it is watched. */
export const RUN_FLAGS: readonly Flag[] = [
  ...CREATE_FLAGS,
  flag('-d, --detach', 'Run container in background and print container ID'),
  flag('--detach-keys string', 'Override the key sequence for detaching a container'),
  flag('--sig-proxy', 'Proxy received signals to the process', { preset: 'true' }),
];

/** Flags of `update`. */
export const UPDATE_FLAGS: readonly Flag[] = CREATE_FLAGS.filter((one) =>
  ['blkio-weight', 'cpu-period', 'cpu-quota', 'cpu-rt-period', 'cpu-rt-runtime', 'cpu-shares', 'cpus', 'cpuset-cpus']
    .concat(['cpuset-mems', 'memory', 'memory-reservation', 'memory-swap', 'pids-limit', 'restart'])
    .includes(one.name),
);

/** Flags of `explain`, which may also stand among those of the `run` it explains. */
export const EXPLAIN_FLAGS: readonly Flag[] = [
  flag('--dry-run', 'Ask the helper for its decision, too'),
  flag('--json', 'Print JSON'),
];
