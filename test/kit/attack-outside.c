// What a user of the host prepares against the helper: places in a user and mount namespace of his own. `attack-outside DIR` makes there a FUSE file system
// at DIR/fuse (by the node DIR/device), an overlay of it at DIR/merged; at descriptor 40 a tmpfs that is mounted nowhere, with a directory `sub`; at 41 an open
// file of the FUSE file system. It prints `ready` and serves; after a line on standard input it prints `silent` and answers nothing any more: whoever asks
// then, be it by closing that file, waits for as long as it lives. Built by the tests with `gcc -static`.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  must(fd >= 0 && write(fd, text, strlen(text)) > 0, path);
  close(fd);
}

static void reply(int fuse, unsigned long id, int error, const void *data, size_t length) {
  char bytes[512];
  struct fuse_out_header head = {.len = sizeof head + length, .error = error, .unique = id};
  memcpy(bytes, &head, sizeof head);
  memcpy(bytes + sizeof head, data, length);
  if (write(fuse, bytes, head.len) < 0 && errno != ENOENT) must(0, "answer");
}

// A directory with one empty file, `file`, asked anew each time.
static void serve(int fuse) {
  static char bytes[1 << 18];
  if (read(fuse, bytes, sizeof bytes) < 0) return;
  struct fuse_in_header *head = (void *)bytes;
  struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 1 << 16};
  int isFile = head->nodeid == 2;
  struct fuse_attr_out attr = {.attr = {.ino = head->nodeid, .mode = (isFile ? S_IFREG : S_IFDIR) | 0777, .nlink = 1}};
  struct fuse_entry_out file = {.nodeid = 2, .attr = {.ino = 2, .mode = S_IFREG | 0777, .nlink = 1}};
  struct fuse_statfs_out statfs = {.st = {.bsize = 4096, .frsize = 4096, .namelen = 255}};
  struct fuse_open_out opened = {0};
  switch (head->opcode) {
    case FUSE_INIT: return reply(fuse, head->unique, 0, &init, sizeof init);
    case FUSE_GETATTR: return reply(fuse, head->unique, 0, &attr, sizeof attr);
    case FUSE_STATFS: return reply(fuse, head->unique, 0, &statfs, sizeof statfs);
    case FUSE_OPEN: case FUSE_OPENDIR: return reply(fuse, head->unique, 0, &opened, sizeof opened);
    case FUSE_READDIR: return reply(fuse, head->unique, 0, "", 0);
    case FUSE_FLUSH: case FUSE_RELEASE: case FUSE_RELEASEDIR: return reply(fuse, head->unique, 0, "", 0);
    case FUSE_LOOKUP:
      if (strcmp((char *)(head + 1), "file")) return reply(fuse, head->unique, -ENOENT, "", 0);
      return reply(fuse, head->unique, 0, &file, sizeof file);
    case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: return;
    default: return reply(fuse, head->unique, -ENOSYS, "", 0);
  }
}

static void nowhere(void) {
  int context = syscall(SYS_fsopen, "tmpfs", 0);
  must(context >= 0 && syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) == 0, "fsopen");
  int mounted = syscall(SYS_fsmount, context, 0, 0);
  must(mounted >= 0 && mkdirat(mounted, "sub", 0777) == 0 && dup2(mounted, 40) == 40, "fsmount");
}

int main(int argc, char **argv) {
  char text[256];
  int uid = getuid(), gid = getgid();
  must(argc == 2 && chdir(argv[1]) == 0, "directory");
  must(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0, "unshare");
  put("/proc/self/setgroups", "deny");
  snprintf(text, sizeof text, "0 %d 1", uid);
  put("/proc/self/uid_map", text);
  snprintf(text, sizeof text, "0 %d 1", gid);
  put("/proc/self/gid_map", text);
  must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private");
  int fuse = open("device", O_RDWR);
  must(fuse >= 0, "device");
  snprintf(text, sizeof text, "fd=%d,rootmode=40777,user_id=0,group_id=0", fuse);
  must(mount("attack", "fuse", "fuse", 0, text) == 0, "mount fuse");
  nowhere();
  alarm(60); // nobody's mistake waits for ever
  if (fork() == 0) {
    alarm(60);
    close(fuse); // or it would wait, as it ends, for itself
    must(mount("none", "merged", "overlay", 0, "lowerdir=fuse:lower,userxattr") == 0, "mount overlay");
    int file = open("fuse/file", O_RDONLY);
    must(file >= 0 && dup2(file, 41) == 41, "file");
    puts("ready");
    fflush(stdout);
    pause();
  }
  struct pollfd both[] = {{.fd = 0, .events = POLLIN}, {.fd = fuse, .events = POLLIN}};
  while (poll(both, 2, -1) > 0) {
    if (both[0].revents) break;
    if (both[1].revents) serve(fuse);
  }
  puts("silent");
  fflush(stdout);
  pause();
}
