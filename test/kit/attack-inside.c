// What a hostile program inside a container tries, one try per word of its command line: `name` or `name:argument[:argument]`. Prints `word=answer` lines,
// the answer an errno's name, `done`, or what it got. Built by the tests with `gcc -static`.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static char answer[65536];

static const char *result(long value) {
  return value < 0 ? strerrorname_np(errno) : "done";
}

// Every open descriptor and where it leads.
static const char *descriptors(void) {
  DIR *directory = opendir("/proc/self/fd");
  if (!directory) return result(-1);
  answer[0] = 0;
  for (struct dirent *entry; (entry = readdir(directory));) {
    char target[256];
    ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
    if (length < 0 || atoi(entry->d_name) == dirfd(directory)) continue;
    target[length] = 0;
    sprintf(answer + strlen(answer), "%s>%s ", entry->d_name, target);
  }
  closedir(directory);
  return answer;
}

static const char *keyring(const char *name, const char *value) {
  if (value) return result(syscall(SYS_add_key, "user", name, value, strlen(value), KEY_SPEC_SESSION_KEYRING));
  long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", name, 0);
  if (key < 0) return result(key);
  long length = syscall(SYS_keyctl, KEYCTL_READ, key, answer, sizeof answer - 1);
  if (length < 0) return result(length);
  answer[length] = 0;
  return answer;
}

static const char *content(const char *path) {
  int fd = open(path, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return result(-1);
  ssize_t length = read(fd, answer, 4096);
  close(fd);
  if (length < 0) return result(-1);
  answer[length] = 0;
  for (char *at = answer; *at; at++) if (*at == '\n' || *at == 0) *at = ' ';
  return answer;
}

static const char *put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK, 0644);
  if (fd < 0) return result(-1);
  ssize_t wrote = write(fd, text, strlen(text));
  const char *said = result(wrote);
  close(fd);
  return said;
}

// CAP_SYS_ADMIN, permitted and effective, as a file capability of version 2: one that would hold for everybody.
static const char *capability(const char *path) {
  struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, .data = {{.permitted = 1 << 21}}};
  return result(setxattr(path, "security.capability", &data, XATTR_CAPS_SZ_2, 0));
}

static const char *remount(const char *path, const char *flags) {
  unsigned long bits = MS_REMOUNT | MS_BIND | (strcmp(flags, "ro") ? 0 : MS_RDONLY);
  return result(mount("none", path, NULL, bits, NULL));
}

static const char *connectTo(const char *path) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = 0;
  const char *said = result(connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + length));
  close(fd);
  return said;
}

// Every way to another process: its memory, its descriptors, its program, its place.
static const char *reach(int pid) {
  char byte, path[64];
  struct iovec here = {&byte, 1}, there = {(void *)0x10000000UL, 1};
  long pidfd = syscall(SYS_pidfd_open, pid, 0);
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  answer[0] = 0;
  const struct { const char *name; long result; } ways[] = {
    {"seize", ptrace(PTRACE_SEIZE, pid, 0, 0)},
    {"read", process_vm_readv(pid, &here, 1, &there, 1, 0)},
    {"write", process_vm_writev(pid, &here, 1, &there, 1, 0)},
    {"descriptor", syscall(SYS_pidfd_getfd, pidfd, 0, 0)},
    {"mem", open(path, O_RDWR)},
    {"signal", kill(pid, SIGCONT)},
    {"root", (snprintf(path, sizeof path, "/proc/%d/root/", pid), open(path, O_RDONLY))},
    {"cwd", (snprintf(path, sizeof path, "/proc/%d/cwd/", pid), open(path, O_RDONLY))},
    {"exe", (snprintf(path, sizeof path, "/proc/%d/exe", pid), open(path, O_RDONLY))},
    {"fd", (snprintf(path, sizeof path, "/proc/%d/fd/0", pid), open(path, O_RDONLY))},
    {"maps", (snprintf(path, sizeof path, "/proc/%d/maps", pid), open(path, O_RDONLY))},
    {"environ", (snprintf(path, sizeof path, "/proc/%d/environ", pid), open(path, O_RDONLY))},
    {"join", (snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid), setns(open(path, O_RDONLY), 0))},
    {"joinpid", setns(pidfd, CLONE_NEWNET)},
  };
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    if (ways[i].result >= 0) sprintf(answer + strlen(answer), "%s ", ways[i].name);
  return answer[0] ? answer : "nothing";
}

// A system call by the entry for 32-bit programs: getpid there.
static const char *foreign(void) {
  int child = fork(), status;
  if (child == 0) {
#ifdef __x86_64__
    long number = 20;
    __asm__ volatile("int $0x80" : "+a"(number) : : "memory", "r8", "r9", "r10", "r11");
#endif
    _exit(0);
  }
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "done";
}

// Children that fork in turn, until none can; how many there were at once.
static const char *bomb(void) {
  int count = 0;
  while (count < 100000) {
    int child = fork();
    if (child < 0) break;
    if (child == 0) { for (;;) if (fork() < 0) usleep(1000); }
    count++;
  }
  const char *said = result(-1);
  kill(-1, SIGKILL);
  while (waitpid(-1, NULL, 0) > 0) {}
  sprintf(answer, "%d then %s", count, said);
  return answer;
}

static const char *execute(char *path) {
  int child = fork(), status;
  if (child == 0) {
    char *argv[] = {path, "uid", NULL};
    execv(path, argv);
    _exit(errno);
  }
  waitpid(child, &status, 0);
  return strerrorname_np(WEXITSTATUS(status));
}

static const char *storm(int count) {
  for (int i = 0; i < count; i++) {
    int child = fork();
    if (child < 0) return result(-1);
    if (child == 0) _exit(0);
  }
  return "done";
}

static const char *attempt(const char *name, char *a, char *b) {
  if (!strcmp(name, "fds")) return descriptors();
  if (!strcmp(name, "keyring")) return keyring(a, b);
  if (!strcmp(name, "read")) return content(a);
  if (!strcmp(name, "write")) return put(a, b);
  if (!strcmp(name, "open")) return result(open(a, O_RDWR | O_NONBLOCK | O_NOCTTY));
  if (!strcmp(name, "reach")) return reach(atoi(a));
  if (!strcmp(name, "foreign")) return foreign();
  if (!strcmp(name, "bomb")) return bomb();
  if (!strcmp(name, "storm")) return storm(atoi(a));
  if (!strcmp(name, "execute")) return execute(a);
  if (!strcmp(name, "call")) return result(syscall(atoi(a), 0, 0, 0, 0, 0, 0));
  if (!strcmp(name, "unshare")) return result(unshare(strtol(a, NULL, 0)));
  if (!strcmp(name, "mkdir")) return result(mkdir(a, 0755));
  if (!strcmp(name, "link")) return result(symlink(a, b));
  if (!strcmp(name, "mode")) {
    struct stat stat;
    return lstat(a, &stat) < 0 ? result(-1) : (sprintf(answer, "%o %d:%d", stat.st_mode, stat.st_uid, stat.st_gid), answer);
  }
  if (!strcmp(name, "mknod")) return result(mknod(a, S_IFCHR | 0666, makedev(1, atoi(b))));
  if (!strcmp(name, "capability")) return capability(a);
  if (!strcmp(name, "trusted")) return result(setxattr(a, "trusted.overlay.opaque", "y", 1, 0));
  if (!strcmp(name, "opaque")) return result(setxattr(a, "user.overlay.opaque", "y", 1, 0));
  if (!strcmp(name, "setuid")) return result(chmod(a, 06755));
  if (!strcmp(name, "chown")) return result(chown(a, atoi(b), atoi(b)));
  if (!strcmp(name, "remount")) return remount(a, b);
  if (!strcmp(name, "unmount")) return result(umount2(a, MNT_DETACH));
  if (!strcmp(name, "mount")) return result(mount("none", a, b, 0, !strcmp(b, "cgroup") ? "memory" : NULL));
  if (!strcmp(name, "connect")) return connectTo(a);
  if (!strcmp(name, "ptrace")) return result(ptrace(PTRACE_SEIZE, atoi(a), 0, 0));
  if (!strcmp(name, "root")) return result(chroot(a));
  if (!strcmp(name, "type")) {
    char character = 'x';
    int fd = open(a, O_RDWR | O_NOCTTY);
    return result(fd < 0 ? -1 : ioctl(fd, TIOCSTI, &character));
  }
  if (!strcmp(name, "uid")) return sprintf(answer, "%d:%d", geteuid(), getegid()), answer;
  if (!strcmp(name, "stay")) return result(pause());
  return "unknown";
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    char *words = strdup(argv[i]);
    char *name = strtok(words, ":"), *a = strtok(NULL, ":"), *b = strtok(NULL, "");
    errno = 0;
    printf("%s=%s\n", argv[i], attempt(name, a, b));
    fflush(stdout);
  }
  return 0;
}
