// The policy of a fresh machine as a text that its administrator reads and changes. What it compiles to is what is in force without it.
import { existsSync } from 'node:fs';
import { policyPathsOf, replaceFile, writePolicy } from './policy-files.ts';
import { compilePolicy } from './policy-source.ts';
import type { Place } from './session.ts';

export const DEFAULT_POLICY_TEXT = `# Who may ask Berth's helper for what. The helper does not read this file: after a change run
#     berth policy check FILE && berth policy apply FILE
# which takes effect at once. Without a FILE both take this one. \`berth policy can -- run -v /etc:/x alpine\` tells what is allowed, and why not.
version: 1

# A user who is nobody here yet may enrol his own first key; the kernel says who he is. Say false where not every local user shall have containers;
# then enrol those who shall: berth admin enroll NAME --uid UID --key FILE
selfEnrol: true
selfEnrolProfiles: [default]

profiles:
  # A profile is a record of ceilings: the most that may be asked. \`extends\` takes what is not written from another profile, or from the built-in
  # default. Sizes may be written 512m, 2g; unlimited stands above every number; in lists, x* stands for all that begin with x.
  default:
    verbs: ['*']                # launch exec signal pause update remove attach importLayer mergeImage dropLayer dropImage watch forget
    # Binds and --rootfs, judged by where the opened file lies. What may be written may be read.
    rootDirectories: true       # --rootfs DIR
    bindRead: []
    bindWrite: [/]
    bindDenied: [/boot, /dev, /etc, /proc, /run/berth*, /sys, /var/lib/berth/helper, /var/log/berth*]
    bindOwned: [/home, /root, /var/lib/berth]   # beneath these only the user's own files
    bindKernelFilesystems: false  # proc, sysfs and such, wherever they are mounted
    propagation: slave          # private, slave or shared
    kernelFilesystems: ['*']    # proc sysfs dev devpts mqueue cgroup
    tmpfsBytesMax: unlimited
    # Namespaces of the host (user net ipc pid uts cgroup time) and of one's own other containers.
    hostNamespaces: [time]
    hostUserTrace: false        # SYS_PTRACE in the host's user namespace reaches the helper itself
    joinNamespaces: ['*']
    uidCountMax: 1048576        # ids that a user namespace maps
    # Inside a user namespace capabilities reach no further than the container. Stricter: [CHOWN, KILL, SETUID, SETGID], seccomp: default
    capabilities: ['*']
    seccomp: unconfined         # default or unconfined
    noNewPrivileges: false      # true: every process must have it
    maskedPaths: []             # those that must be masked, as /proc/kcore
    readOnlyPaths: []           # those that must be read-only, as /proc/sys
    sysctls: ['*']              # of those that belong to a namespace
    # null zero full random urandom tty console ptmx net/tun, pseudo terminals
    devices: ['c 1:3', 'c 1:5', 'c 1:7', 'c 1:8', 'c 1:9', 'c 5:0', 'c 5:2', 'c 10:200', 'c 136:*']
    # A number here must be met by a limit of the container: without --memory nothing runs where memoryBytesMax is a number.
    cpusMax: unlimited
    cpuSharesMax: unlimited
    cpuWeightMax: unlimited
    ioWeightMax: unlimited
    memoryBytesMax: unlimited
    memorySwapBytesMax: unlimited
    oomKillDisable: true
    oomScoreAdjMin: 0
    pidsMax: unlimited
    rlimits: {'*': unlimited, msgqueue: 819200, nice: 20, rtprio: 0}   # for each name; * is every other
    tty: true
    # Of one principal.
    layersMax: 256
    layerBytesMax: 64g
    layersBytesMax: unlimited
    containersMax: 4096
    execsMax: 4096

  # For those who are root anyway: namespaces and devices of the host. Nobody has it until he is enrolled with it.
  # host:
  #   extends: default
  #   hostNamespaces: ['*']
  #   devices: ['*']
  #   bindDenied: [/proc, /run/berth*, /var/lib/berth/helper]
  #   bindOwned: []

# What this policy must say; \`berth policy test\` asks it.
tests:
  - {profile: default, run: [alpine], allowed: true}
  - {profile: default, run: [--privileged, alpine], allowed: true}
  - {profile: default, run: [-v, '/etc:/x', alpine], allowed: false, rule: bindDenied}
  - {profile: default, run: [--net=host, alpine], allowed: false, rule: hostNamespaces}
`;

/** Writes the text and what it compiles to, where neither is there. */
export function writeDefaultPolicy(place: Pick<Place, 'stateDir'>): void {
  const paths = policyPathsOf(place);
  if (existsSync(paths.policy) || existsSync(paths.source)) return;
  replaceFile(paths.source, DEFAULT_POLICY_TEXT);
  writePolicy(paths, compilePolicy(DEFAULT_POLICY_TEXT, paths.source).policy);
}
