// What `berth doctor` looks at: whether this machine has what containers need, and if not, the exact line that changes it. It reads what
// anybody may read and changes nothing.
import { spawnSync } from 'node:child_process';
import { existsSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { CAP_NAMES } from '../../proto/abi/capability.gen.ts';
import { CgroupVersion, ImageForm } from '../../proto/gen/berth/helper/v1/request.ts';
import { binarySize } from '../spec/units.ts';
import type { Context } from './context.ts';
import type { Finding } from './engine.ts';
import { readText } from './host-facts.ts';

type Level = Finding['level'];

function finding(topic: string, level: Level, [found, fix]: readonly [found: string, fix?: string]): Finding {
  return { topic, level, found, fix };
}

/** All findings, the bad ones too when the helper does not answer. */
export function doctor(context: Context): Finding[] {
  return [
    helper(context),
    kernel(),
    ...userNamespaces(),
    ...making(context),
    ...cgroups(context),
    ...filesystems(context),
    seccomp(),
    ...confinement(),
    openFiles(),
    disk(context),
  ];
}

function helper(context: Context): Finding {
  const { hello, problem } = context.link.known();
  if (hello === undefined || problem !== undefined)
    return finding('helper', 'bad', [`does not answer: ${problem ?? ''}`, 'berth system up']);
  return finding('helper', 'ok', [
    `version ${hello.version}, pid ${hello.helperPid}, keeper ${hello.keeperPid}, slot ${hello.slot}${hello.rootless ? ', rootless' : ''}`,
  ]);
}

/** clone3 with CLONE_INTO_CGROUP and CLONE_CLEAR_SIGHAND, openat2, mount_setattr with idmaps, pidfds: all there since 5.12. */
const KERNEL_LEAST = [5, 12] as const;

function kernel(): Finding {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const old = major < KERNEL_LEAST[0] || (major === KERNEL_LEAST[0] && minor < KERNEL_LEAST[1]);
  if (old)
    return finding('kernel', 'bad', [`${release()} is older than ${KERNEL_LEAST.join('.')}`, 'install a newer kernel']);
  return finding('kernel', 'ok', [release()]);
}

const SYSCTLS = [
  { name: 'user.max_user_namespaces', wanted: (value: number) => value >= 1000, set: 10_000, always: true },
  { name: 'kernel.unprivileged_userns_clone', wanted: (value: number) => value === 1, set: 1, always: false },
  {
    name: 'kernel.apparmor_restrict_unprivileged_userns',
    wanted: (value: number) => value === 0,
    set: 0,
    always: false,
  },
  { name: 'user.max_mnt_namespaces', wanted: (value: number) => value >= 1000, set: 10_000, always: true },
  { name: 'user.max_net_namespaces', wanted: (value: number) => value >= 1000, set: 10_000, always: true },
] as const;

/** The root helper needs the first; the next two only matter rootless, so there they are notes. */
function userNamespaces(): Finding[] {
  return SYSCTLS.flatMap(({ name, wanted, set, always }) => {
    const path = `/proc/sys/${name.replaceAll('.', '/')}`;
    if (!existsSync(path))
      return always
        ? [finding(name, 'bad', ['this kernel has no user namespaces', 'a kernel with CONFIG_USER_NS=y'])]
        : [];
    const value = Number(readText(path).trim());
    if (wanted(value)) return [finding(name, 'ok', [String(value)])];
    const fix = `echo '${name} = ${set}' > /etc/sysctl.d/90-berth.conf && sysctl --system`;
    return [
      finding(name, always ? 'bad' : 'note', [
        `${value}${always ? '' : ': users cannot make user namespaces themselves; the helper can'}`,
        fix,
      ]),
    ];
  });
}

/** Whether this process may make a user namespace at all, where no helper has shown it: inside a container a filter often forbids it. */
function making(context: Context): Finding[] {
  if (context.link.known().hello !== undefined) return [];
  const tried = spawnSync('unshare', ['--user', '--map-root-user', '--mount', 'true'], { encoding: 'utf8' });
  if (tried.error !== undefined) return []; // no unshare(1) here: nothing can be said
  if (tried.status === 0) return [finding('make a user namespace', 'ok', ['allowed'])];
  return [
    finding('make a user namespace', 'bad', [
      `${tried.stderr.trim()}: a rule of what surrounds this process (seccomp, AppArmor, missing capabilities) forbids it`,
      'run Berth outside of that container, or start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cap-add SYS_ADMIN',
    ]),
  ];
}

const CONTROLLERS = ['cpu', 'cpuset', 'memory', 'pids', 'devices', 'freezer'];

function cgroups(context: Context): Finding[] {
  const mounts = readText('/proc/self/mounts')
    .split('\n')
    .filter((line) => / cgroup2? /.test(line));
  const listed = mounts
    .map((line) => line.split(' '))
    .map(([, where = '', type = '', options = '']) =>
      finding(`cgroup ${where}`, 'ok', [`${type === 'cgroup2' ? 'v2' : 'v1'} ${options}`]),
    );
  const { hello } = context.link.known();
  if (hello?.cgroups === undefined)
    return listed.length > 0
      ? listed
      : [finding('cgroup', 'bad', ['no cgroup file system is mounted', 'mount -t cgroup2 none /sys/fs/cgroup'])];
  const { version, controllers } = hello.cgroups;
  if (version === CgroupVersion.CGROUP_VERSION_NONE) {
    const fix = hello.rootless
      ? 'systemctl edit user@.service, [Service] Delegate=yes'
      : 'mount -t cgroup2 none /sys/fs/cgroup';
    return [...listed, finding('cgroup', 'note', ['the helper can use none: limits are refused', fix])];
  }
  const missing = CONTROLLERS.filter(
    (name) =>
      !controllers.includes(name) &&
      !(version === CgroupVersion.CGROUP_VERSION_V2 && (name === 'devices' || name === 'freezer')),
  );
  const io = controllers.includes('io') || controllers.includes('blkio');
  const text = `helper uses ${version === CgroupVersion.CGROUP_VERSION_V2 ? 'v2' : 'v1'}: ${controllers.join(' ')}`;
  if (missing.length === 0 && io) return [...listed, finding('cgroup controllers', 'ok', [text])];
  const lacking = [...missing, ...(io ? [] : ['blkio'])].join(' ');
  return [
    ...listed,
    finding('cgroup controllers', 'note', [
      `${text}; without ${lacking}, limits of these are refused`,
      'see /proc/cgroups: boot with cgroup_enable=NAME, or mount the hierarchy',
    ]),
  ];
}

function filesystems(context: Context): Finding[] {
  const known = readText('/proc/filesystems');
  const has = (name: string): boolean => new RegExp(`\\b${name}$`, 'm').test(known);
  const overlay = has('overlay')
    ? finding('overlay', 'ok', ['there'])
    : finding('overlay', 'bad', ['this kernel does not know it (yet)', 'modprobe overlay']);
  const { hello } = context.link.known();
  if (hello?.imageForm === ImageForm.IMAGE_FORM_EROFS)
    return [overlay, finding('erofs', 'ok', ['images are used without unpacking'])];
  const fix = has('erofs')
    ? 'a kernel with CONFIG_EROFS_FS_BACKED_BY_FILE=y (6.12 and later), and a store that does not lie on overlayfs'
    : 'modprobe erofs';
  return [overlay, finding('erofs', 'note', ['layers are unpacked into directories', fix])];
}

function seccomp(): Finding {
  const filter = readText('/proc/sys/kernel/seccomp/actions_avail').includes('errno');
  return filter
    ? finding('seccomp', 'ok', ['there'])
    : finding('seccomp', 'bad', ['this kernel filters no system calls', 'a kernel with CONFIG_SECCOMP_FILTER=y']);
}

/** A filter upon us and no CAP_SYS_ADMIN to be had: a container with default rights, where neither the helper nor a user namespace is possible. */
function confinement(): Finding[] {
  const status = readText('/proc/self/status');
  const bounding = BigInt(`0x${/^CapBnd:\s+([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  if (!/^Seccomp:\s+2/m.test(status) || ((bounding >> BigInt(CAP_NAMES.indexOf('SYS_ADMIN'))) & 1n) === 1n) return [];
  const found = 'locked down: a system call filter and no CAP_SYS_ADMIN, as in a container with default rights';
  return [
    finding('confinement', 'bad', [
      found,
      'docker run --privileged … (or, rootless: --security-opt seccomp=unconfined)',
    ]),
  ];
}

/** A running container costs this engine up to five descriptors while it prints. */
const FILES_LEAST = 4096;

function openFiles(): Finding {
  const line = /^Max open files\s+(\d+|unlimited)/m.exec(readText('/proc/self/limits'))?.[1] ?? '';
  const limit = line === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line);
  if (limit >= FILES_LEAST) return finding('open files', 'ok', [line]);
  return finding('open files', 'note', [
    `${line}: about ${Math.floor(limit / 5)} containers can print at once`,
    `ulimit -n ${FILES_LEAST * 16} before the engine is started`,
  ]);
}

const DISK_BYTES_LEAST = 1 << 30;

function disk(context: Context): Finding {
  const { bavail, bsize, ffree } = statfsSync(context.dir);
  const free = bavail * bsize;
  const text = `${binarySize(free)} free at ${context.dir}`;
  if (free < DISK_BYTES_LEAST)
    return finding('disk', 'bad', [text, 'berth rm, berth rmi, or a larger disk: --state-dir']);
  if (ffree === 0) return finding('disk', 'note', [`${text}; no inodes are counted there`]);
  return finding('disk', 'ok', [text]);
}
