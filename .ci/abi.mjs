// Generates proto/abi from the kernel's headers (Debian package linux-libc-dev, on x86-64): a C program per file prints what the headers say.
// `--output FOLDER` writes elsewhere. What no header here has is given below with its source, and is checked against the header where a newer one has it.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enter, fail, node, root } from './ensure.mjs';

enter(import.meta.url);

// `= FILE: HEADERS` begins a file. Then, one a line: a comment as it shall stand there; `FORMAT NAME …`, constants of the headers; `FORMAT NAME=VALUE …`,
// constants that Debian 12's headers (Linux 6.1) or all headers lack; `FORMAT NAME: EXPRESSION` in C; `names NAME: PREFIX`, the list of the macros' names by
// their numbers; `offsets NAME: STRUCT FIELD …`; `calls NAME …`, system calls; `| …`, C that goes before.
const spec = String.raw`
= audit: linux/audit.h
// Architectures as seccomp tells them.
hex AUDIT_ARCH_X86_64 AUDIT_ARCH_AARCH64

= capability: linux/capability.h
// Capabilities; man 7 capabilities.
/** Every capability's bit. */
big CAP_MASK: (2ull << CAP_LAST_CAP) - 1
/** Names without their CAP_ prefix; a name's index is its number. */
names CAP_NAMES: CAP_
dec CAP_SYS_ADMIN
hex LINUX_CAPABILITY_VERSION_3: _LINUX_CAPABILITY_VERSION_3

= close-range: linux/close_range.h
// Closing many descriptors; man 2 close_range.
hex CLOSE_RANGE_CLOEXEC

= elf: linux/elf.h
// Executables; man 5 elf.
dec ET_EXEC EM_X86_64 EM_AARCH64 PT_LOAD PT_INTERP
hex PT_GNU_STACK
dec PF_X PF_W PF_R

= erofs: linux/types.h
// The on-disk format of EROFS as far as we write it. Source: fs/erofs/erofs_fs.h, Linux 6.18.
| struct super { __le32 magic, checksum, feature_compat; __u8 blkszbits, sb_extslots; __le16 root_nid; __le64 inos, epoch; __le32 fixed_nsec, blocks,
|   meta_blkaddr, xattr_blkaddr; __u8 uuid[16], volume_name[16]; __le32 feature_incompat; __le16 u1, extra_devices, devt_slotoff; };
| struct inode { __le16 i_format, i_xattr_icount, i_mode, i_nb; __le64 i_size; __le32 i_u, i_ino, i_uid, i_gid; __le64 i_mtime; __le32 i_mtime_nsec, i_nlink;
|   __u8 i_reserved2[16]; };
| struct device { __u8 tag[64]; __le32 blocks_lo, uniaddr_lo; __le16 blocks_hi, uniaddr_hi; __u8 reserved[52]; };
| struct chunk { __le16 startblk_hi, device_id; __le32 startblk_lo; };
| struct dirent { __le64 nid; __le16 nameoff; __u8 file_type, reserved; } __attribute__((packed));
| struct xattr_header { __le32 h_name_filter; __u8 h_shared_count, h_reserved2[7]; };
| struct xattr_entry { __u8 e_name_len, e_name_index; __le16 e_value_size; char e_name[]; };
dec EROFS_SUPER_OFFSET=1024
hex EROFS_SUPER_MAGIC_V1=0xe0f5e1e2 EROFS_FEATURE_COMPAT_MTIME=2
hex EROFS_FEATURE_INCOMPAT_CHUNKED_FILE=4 EROFS_FEATURE_INCOMPAT_DEVICE_TABLE=8
/** Inodes are numbered by their offset from meta_blkaddr in units of 32 bytes. */
dec EROFS_SLOT_BYTES=32
dec EROFS_INODE_EXTENDED_BYTES: sizeof(struct inode)
dec EROFS_INODE_LAYOUT_EXTENDED=1 EROFS_INODE_FLAT_PLAIN=0 EROFS_INODE_FLAT_INLINE=2 EROFS_INODE_CHUNK_BASED=4
hex EROFS_CHUNK_FORMAT_INDEXES=0x20
dec EROFS_CHUNK_INDEX_BYTES: sizeof(struct chunk)
hex EROFS_NULL_ADDR=0xffffffff
dec EROFS_DEVICE_SLOT_BYTES: sizeof(struct device)
dec EROFS_DIRENT_BYTES: sizeof(struct dirent)
dec EROFS_XATTR_IBODY_HEADER_BYTES: sizeof(struct xattr_header)
dec EROFS_XATTR_INDEX_USER=1 EROFS_XATTR_INDEX_SECURITY=6
/** struct erofs_super_block, offsets of what is not zero. */
offsets SUPER: super magic feature_compat blkszbits root_nid inos blocks meta_blkaddr uuid feature_incompat extra_devices devt_slotoff
/** struct erofs_inode_extended. */
offsets INODE: inode i_format i_xattr_icount i_mode i_size i_u i_ino i_uid i_gid i_mtime i_mtime_nsec i_nlink
/** struct erofs_deviceslot. */
offsets DEVICE: device tag blocks_lo
/** struct erofs_inode_chunk_index. */
offsets CHUNK: chunk device_id startblk_lo
/** struct erofs_dirent. */
offsets DIRENT: dirent nid nameoff file_type
/** struct erofs_xattr_entry. */
offsets XATTR_ENTRY: xattr_entry e_name_len e_name_index e_value_size e_name

= errno: asm/errno.h
// Error numbers that we compare with.
dec EPERM ENOENT ESRCH EBADF ECHILD EAGAIN EEXIST ENOTDIR EINVAL ENOSYS ENOPROTOOPT

= eventpoll: linux/eventpoll.h
// Event polling; man 7 epoll.
oct EPOLL_CLOEXEC
dec EPOLL_CTL_ADD EPOLL_CTL_DEL
hex EPOLLIN

= falloc: linux/falloc.h
// Room in a file; man 2 fallocate.
hex FALLOC_FL_KEEP_SIZE

= fcntl: linux/fcntl.h
// Opening, duplicating, sealing; man 2 open, man 2 fcntl.
dec O_WRONLY O_RDWR
oct O_CREAT O_EXCL O_NOCTTY O_NONBLOCK O_CLOEXEC O_PATH
/** Differs. Source: arch/arm64/include/uapi/asm/fcntl.h, Linux 6.18. */
oct O_DIRECTORY_OF: x64 O_DIRECTORY, arm64 040000
dec AT_FDCWD
hex AT_REMOVEDIR AT_EMPTY_PATH AT_STATX_DONT_SYNC AT_RECURSIVE
dec F_GETFD F_SETFD F_GETFL F_SETFL F_DUPFD_CLOEXEC F_SETPIPE_SZ F_ADD_SEALS FD_CLOEXEC
hex F_SEAL_SEAL F_SEAL_SHRINK F_SEAL_GROW F_SEAL_WRITE
/** Since Linux 6.3: the executable bits cannot change any more. Source: include/uapi/linux/fcntl.h. */
hex F_SEAL_EXEC=0x20

= file: linux/fcntl.h
// Advisory locks on whole files; man 2 flock.
dec LOCK_EX LOCK_NB

= filter: linux/filter.h
// Classic BPF. An instruction: u16 code, u8 jt, u8 jf, u32 k.
hex BPF_LD BPF_ALU BPF_JMP BPF_RET BPF_W BPF_ABS BPF_AND BPF_JA BPF_JEQ BPF_JGT BPF_JGE BPF_K

= fs: linux/fs.h
// File attributes; man 2 ioctl_iflags. Numbers of 64-bit machines.
hex FS_IOC_GETFLAGS FS_IOC_SETFLAGS FS_IMMUTABLE_FL

= if: linux/if.h linux/sockios.h
// Network interfaces by the old ioctls; man 7 netdevice.
hex SIOCSIFFLAGS IFF_UP IFF_RUNNING
/** struct ifreq: 16 bytes of name, then the flags. */
dec IFREQ_BYTES: sizeof(struct ifreq)
dec IFNAMSIZ

= ioctls: asm/ioctls.h linux/ioctl.h
// Terminals; man 2 TIOCSWINSZ. Equal on x86-64 and arm64.
hex TIOCSWINSZ TIOCSCTTY
/** Unlock (0) or lock the slave of a pty. */
hex TIOCSPTLCK
/** Opens the slave without its path. */
hex TIOCGPTPEER

= keyctl: linux/keyctl.h
// Keyrings; man 2 keyctl.
dec KEYCTL_JOIN_SESSION_KEYRING

= magic: linux/magic.h
// The kernel's own file systems, f_type of statfs(2).
hex PROC_SUPER_MAGIC SYSFS_MAGIC CGROUP_SUPER_MAGIC CGROUP2_SUPER_MAGIC DEVPTS_SUPER_MAGIC DEBUGFS_MAGIC TRACEFS_MAGIC SECURITYFS_MAGIC SELINUX_MAGIC
hex BPF_FS_MAGIC EFIVARFS_MAGIC PSTOREFS_MAGIC NSFS_MAGIC PIPEFS_MAGIC SOCKFS_MAGIC ANON_INODE_FS_MAGIC BINFMTFS_MAGIC
// Source: fs/configfs/mount.c and ipc/mqueue.c, Linux 6.18.
hex CONFIGFS_MAGIC=0x62656570 MQUEUE_MAGIC=0x19800202

= memfd: linux/memfd.h
// Anonymous files; man 2 memfd_create.
hex MFD_CLOEXEC MFD_ALLOW_SEALING
/** Since Linux 6.3. Source: include/uapi/linux/memfd.h. */
hex MFD_NOEXEC_SEAL=0x8 MFD_EXEC=0x10

= mman: linux/mman.h
// Mappings; man 2 mmap.
hex PROT_READ PROT_WRITE PROT_EXEC MAP_PRIVATE MAP_ANONYMOUS MAP_FIXED_NOREPLACE

= mount: linux/mount.h linux/fcntl.h
// Mounts; man 2 mount_setattr, man 2 open_tree, man 2 move_mount, man 2 fsopen.
hex MS_NODEV MS_REC MS_PRIVATE MS_SLAVE MS_SHARED
hex OPEN_TREE_CLONE
oct OPEN_TREE_CLOEXEC
hex MOVE_MOUNT_F_EMPTY_PATH MOVE_MOUNT_T_EMPTY_PATH FSOPEN_CLOEXEC
dec FSCONFIG_SET_FLAG FSCONFIG_SET_STRING FSCONFIG_SET_FD FSCONFIG_CMD_CREATE
hex FSMOUNT_CLOEXEC MOUNT_ATTR_RDONLY MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOEXEC MOUNT_ATTR_IDMAP
/** struct mount_attr: u64 set, u64 clear, u64 propagation, u64 user namespace descriptor. */
dec MOUNT_ATTR_SIZE_VER0
/** umount2(2). Source: include/linux/fs.h, Linux 6.18. */
hex MNT_DETACH=2

= openat2: linux/openat2.h
// How openat2(2) resolves a path; man 2 openat2.
hex RESOLVE_NO_XDEV RESOLVE_NO_MAGICLINKS RESOLVE_NO_SYMLINKS RESOLVE_BENEATH RESOLVE_IN_ROOT
/** struct open_how: u64 flags, u64 mode, u64 resolve. */
dec OPEN_HOW_BYTES: sizeof(struct open_how)

= pidfd: linux/types.h linux/ioctl.h linux/pidfd.h
// What a pidfd tells of a process that has ended and was reaped by whomever. Source: include/uapi/linux/pidfd.h, Linux 6.15 on.
| struct info { __u64 mask, cgroupid; __u32 pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid; __s32 exit_code; };
hex PIDFD_GET_INFO: _IOWR(0xFF, 11, struct info)
hex PIDFD_INFO_EXIT=8
/** struct pidfd_info: the mask is its first field. */
dec PIDFD_INFO_SIZE_VER0=64
dec PIDFD_EXIT_CODE_AT: offsetof(struct info, exit_code)

= poll: asm/poll.h
// Waiting for descriptors; man 2 poll.
hex POLLHUP

= prctl: linux/prctl.h
// Process controls; man 2 prctl.
dec PR_SET_DUMPABLE PR_SET_KEEPCAPS PR_CAPBSET_DROP PR_SET_CHILD_SUBREAPER PR_SET_NO_NEW_PRIVS PR_CAP_AMBIENT PR_CAP_AMBIENT_RAISE PR_CAP_AMBIENT_CLEAR_ALL

= resource: asm/resource.h
// Resource limits; man 2 prlimit. Equal on x86-64 and arm64.
dec RLIMIT_NOFILE
/** Names as ulimit(1) and Docker say them; a name's index is its number. */
names RLIMIT_NAMES: RLIMIT_

= sched: linux/sched.h
// Clone flags; man 2 clone, man 7 namespaces.
hex CLONE_NEWTIME CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_PIDFD CLONE_VFORK CLONE_PARENT CLONE_THREAD CLONE_NEWNS CLONE_PARENT_SETTID
hex CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET
// Above 32 bits, so bigint: only clone3(2) takes them.
big CLONE_CLEAR_SIGHAND CLONE_INTO_CGROUP
/** struct clone_args with its cgroup field. */
dec CLONE_ARGS_SIZE_VER2

= seccomp: linux/seccomp.h
// System call filters; man 2 seccomp.
dec SECCOMP_SET_MODE_FILTER
/** Without it every filter also turns on the costly speculation switches. */
hex SECCOMP_FILTER_FLAG_SPEC_ALLOW
hex SECCOMP_RET_KILL_PROCESS SECCOMP_RET_ERRNO SECCOMP_RET_ALLOW

= signal: asm-generic/signal.h
// Signals, equal on x86-64 and arm64; man 7 signal.
dec SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGIOT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP
dec SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPOLL SIGPWR SIGSYS SIGRTMAX
/** The kernel's first; glibc keeps two for itself, so its SIGRTMIN is 34. */
dec SIGRTMIN
/** How a set is changed. */
dec SIG_SETMASK
/** The size of the kernel's set. */
dec SIGSET_BYTES: sizeof(sigset_t)

= socket: sys/socket.h linux/un.h
// Sockets and passed descriptors; man 7 unix. The kernel's own header is not for programs, so glibc's.
dec AF_UNIX AF_INET SOCK_STREAM SOCK_DGRAM SOCK_SEQPACKET
oct SOCK_CLOEXEC
dec SOL_SOCKET SO_PEERCRED SCM_RIGHTS
/** Since Linux 6.16. Source: include/uapi/asm-generic/socket.h. */
dec SO_PASSRIGHTS=83
/** Most descriptors in one message. Source: include/net/scm.h, Linux 6.18. */
dec SCM_MAX_FD=253
hex MSG_CTRUNC MSG_DONTWAIT MSG_NOSIGNAL MSG_CMSG_CLOEXEC
/** Bytes of sockaddr_un.sun_path, the final zero included. */
dec UNIX_PATH_MAX
dec MSGHDR_BYTES: sizeof(struct msghdr)
dec CMSGHDR_BYTES: sizeof(struct cmsghdr)

= splice: fcntl.h
// Moving bytes between pipes and files inside the kernel; man 2 splice. glibc's header: the kernel's is not for programs.
hex SPLICE_F_MOVE SPLICE_F_NONBLOCK

= stat: linux/stat.h
// File types in a mode; man 7 inode, man 2 statx.
oct S_IFMT S_IFIFO S_IFDIR S_IFREG S_IFBLK S_IFCHR
hex STATX_TYPE STATX_MNT_ID
dec STATX_BYTES: sizeof(struct statx)
dec STX_MODE_AT: offsetof(struct statx, stx_mode)
dec STX_MNT_ID_AT: offsetof(struct statx, stx_mnt_id)

= time: linux/time.h
// Clocks; man 2 clock_gettime.
dec CLOCK_BOOTTIME

= unistd: asm/unistd_64.h
// System calls. Programs carry x86-64's numbers.
calls read write close mmap rt_sigaction rt_sigprocmask ioctl pread64 writev nanosleep socket sendmsg recvmsg clone execve wait4 kill fcntl fchdir umask setsid
calls setgroups setresuid setresgid capset rt_sigtimedwait fstatfs pivot_root prctl mount umount2 sethostname setdomainname clock_gettime exit_group waitid keyctl
calls openat mkdirat mknodat fchownat unlinkat symlinkat unshare dup3 prlimit64 setns seccomp execveat pidfd_send_signal open_tree move_mount fsopen fsconfig
calls fsmount pidfd_open clone3 close_range openat2 pidfd_getfd mount_setattr

= wait: linux/wait.h asm/siginfo.h
// Waiting for children; man 2 waitid.
hex WNOHANG WEXITED WNOWAIT
dec P_ALL P_PIDFD CLD_EXITED CLD_DUMPED
/** siginfo_t of SIGCHLD: where the kernel puts si_code, si_pid and si_status, and the whole's size. */
dec SI_CODE_AT: offsetof(siginfo_t, si_code)
dec SI_PID_AT: offsetof(siginfo_t, si_pid)
dec SI_STATUS_AT: offsetof(siginfo_t, si_status)
dec SIGINFO_BYTES: sizeof(siginfo_t)
`;
// As arch/arm64/include/uapi/asm/unistd.h, Linux 6.18, asks for it.
const ARM64 = '#define __ARCH_WANT_SYS_CLONE3\n#define __ARCH_WANT_SET_GET_RLIMIT\n#include <asm-generic/unistd.h>\n';

if (process.arch !== 'x64') fail('the headers of x86-64 are needed: run this on x86-64');
if (!existsSync('/usr/include/linux/sched.h')) fail('kernel headers are needed (Debian package linux-libc-dev)');
const at = process.argv.indexOf('--output');
const output = at > 0 ? process.argv[at + 1] : join(root, 'proto/abi');
const folder = mkdtempSync(join(tmpdir(), 'berth-abi-'));
const cc = (...args) => execFileSync('cc', args, { cwd: folder, encoding: 'utf8' });

const camel = (field) => field.replace(/^[ieh]_/, '').replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
const literal = {
  dec: (value) => `${value}`,
  hex: (value) => `0x${value.toString(16)}`,
  oct: (value) => `0o${value.toString(8)}`,
  big: (value) => `0x${value.toString(16)}n`,
};

/** What a line of the spec asks the C program for, and how its part of the file is printed from the answers. */
function read(line) {
  const [, word, name, colon, rest] = /^(\S+) (?:(\w+)(:) )?(.*)$/.exec(line);
  if (/^\/[/*]/.test(word)) return { print: () => line };
  if (word === '|') return { before: line.slice(2), print: () => '' };
  if (word === 'names')
    return { prefix: rest, print: (_, names) => `export const ${name}: readonly string[] = ${names};` };
  if (word === 'calls') {
    const calls = rest.split(' ');
    return {
      calls,
      asks: calls.map((call) => `__NR_${call}`),
      print: (values) => calls.map((call, i) => `export const SYS_${call} = ${values[i]};`).join('\n'),
    };
  }
  if (word === 'offsets') {
    const [struct, ...fields] = rest.split(' ');
    const parts = (values) => fields.map((field, i) => `${camel(field)}: ${values[i]}`).join(', ');
    return {
      asks: fields.map((field) => `offsetof(struct ${struct}, ${field})`),
      print: (values) => `export const ${name} = { ${parts(values)} } as const;`,
    };
  }
  const show = literal[word];
  const perArch = /^x64 (\w+), arm64 (\w+)$/.exec(rest);
  if (perArch)
    return {
      asks: perArch.slice(1),
      print: ([x64, arm64]) => `export const ${name} = { x64: ${show(x64)}, arm64: ${show(arm64)} } as const;`,
    };
  const wanted = colon ? [[name, rest]] : rest.split(' ').map((one) => one.split('='));
  return {
    asks: wanted.map(([one, value]) => value ?? one),
    // What is given here must be what a header says that has it.
    before: wanted
      .filter(([, value]) => value !== undefined)
      .map(([one, value]) => `#ifdef ${one}\n_Static_assert(${one} == (${value}), "${one}");\n#endif`)
      .join('\n'),
    print: (values) => wanted.map(([one], i) => `export const ${one} = ${show(values[i])};`).join('\n'),
  };
}

/** The values of the expressions, as the headers have them. */
function ask(source, asks) {
  const prints = asks.map((one) => `printf("%lld\\n", (long long)(${one}));`).join('\n');
  writeFileSync(
    join(folder, 'ask.c'),
    `${source}\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n${prints}\nreturn 0; }\n`,
  );
  cc('-D_GNU_SOURCE', '-o', 'ask', 'ask.c');
  const values = execFileSync(join(folder, 'ask'), { encoding: 'utf8' }).trim().split('\n');
  return asks.map((_, i) => BigInt(values[i]));
}

/** The names of the macros with this prefix that are numbers, in their order. */
function names(source, prefix) {
  writeFileSync(join(folder, 'ask.c'), source);
  const defined = new RegExp(`^#define ${prefix}(\\w+)\\s+(\\d+)$`, 'gm');
  const found = [...cc('-dM', '-E', 'ask.c').matchAll(defined)].sort((a, b) => a[2] - b[2]);
  if (found.length === 0 || found.some(([, , value], i) => Number(value) !== i)) fail(`${prefix}: numbers have gaps`);
  return found.map(([, name]) => (prefix === 'RLIMIT_' ? name.toLowerCase() : name));
}

const quoted = (list) => `[${list.map((one) => `'${one}'`).join(', ')}]`;

function generate(block) {
  const [head, ...lines] = block.trim().split('\n');
  const [, file, from] = /^(\S+): (.*)$/.exec(head);
  const parts = lines.map(read);
  const includes = from
    .split(' ')
    .map((header) => `#include <${header}>\n`)
    .join('');
  const source = includes + parts.map(({ before }) => before ?? '').join('\n');
  const values = ask(
    source,
    parts.flatMap(({ asks }) => asks ?? []),
  );
  const printed = parts.map(({ asks, prefix, print }) =>
    print(values.splice(0, asks?.length ?? 0), prefix && quoted(names(source, prefix))),
  );
  const calls = parts.flatMap((part) => part.calls ?? []);
  if (calls.length > 0) {
    const numbers = ask(
      ARM64,
      calls.map((call) => `__NR_${call}`),
    );
    const rows = calls.map((call, i) => `[SYS_${call}, ${numbers[i]}],`);
    printed.push(
      "/** arm64's numbers by x86-64's. Source: asm-generic/unistd.h. */",
      `export const ARM64_NUMBERS: ReadonlyMap<number, number> = new Map([\n${rows.join('\n')}\n]);`,
    );
  }
  const text = printed.filter((part) => part !== '').join('\n');
  writeFileSync(
    join(folder, `${file}.ts`),
    `// Generated by .ci/abi.mjs from ${from.replaceAll(' ', ', ')}; do not edit.\n${text}\n`,
  );
  return file;
}

try {
  const made = spec.split(/^= /m).slice(1).map(generate);
  const sources = made.map((file) => join(folder, `${file}.ts`));
  const format = [
    join(root, 'node_modules/@biomejs/biome/bin/biome'),
    'format',
    '--write',
    '--config-path=.ci/lint.json',
  ];
  execFileSync(node, [...format, ...sources], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  for (const file of made) copyFileSync(join(folder, `${file}.ts`), join(output, `${file}.gen.ts`));
} finally {
  rmSync(folder, { recursive: true });
}
