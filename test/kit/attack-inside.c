// What a hostile program inside a container tries, one try per word of its command line: `name` or `name:argument[:argument]`. Prints `word=answer` lines,
// the answer an errno's name, `done`, or what it got. Built by the tests with `gcc -static`.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
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

static const char *attempt(const char *name, char *a, char *b) {
  if (!strcmp(name, "fds")) return descriptors();
  if (!strcmp(name, "keyring")) return keyring(a, b);
  if (!strcmp(name, "read")) return content(a);
  if (!strcmp(name, "write")) return put(a, b);
  if (!strcmp(name, "open")) return result(open(a, O_RDWR | O_NONBLOCK | O_NOCTTY));
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
