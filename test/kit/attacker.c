// Runs in a container as its root with every capability, and attacks each process that appears, as fast as it can, for so many seconds. A launcher is
// known by the first bytes of its program. Prints what it got as `name=count` words.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM_BASE 0x10000000UL
#define MAGIC "berth1"

static long seen, tries, denied, reads, writes, seized, mems, fds, links;

static long look(int pid, char *bytes) {
  struct iovec here = {bytes, 6}, there = {(void *)PROGRAM_BASE, 6};
  return process_vm_readv(pid, &here, 1, &there, 1, 0);
}

static void attack(int pid) {
  char bytes[8] = {0}, path[64], target[64] = {0};
  tries++;
  long count = look(pid, bytes);
  int launcher = count == 6 && !memcmp(bytes, MAGIC, 6);
  if (launcher) {
    struct iovec here = {bytes, 6}, there = {(void *)PROGRAM_BASE, 6};
    reads++;
    if (process_vm_writev(pid, &here, 1, &there, 1, 0) > 0) writes++;
  } else if (count < 0 && errno == EPERM) {
    denied++;
  } else {
    return;
  }
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
    if (look(pid, bytes) == 6 && !memcmp(bytes, MAGIC, 6)) seized++;
    ptrace(PTRACE_DETACH, pid, 0, 0);
  }
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  int memory = open(path, O_RDWR);
  if (memory >= 0) {
    if (pread(memory, bytes, 6, PROGRAM_BASE) == 6 && !memcmp(bytes, MAGIC, 6)) mems++;
    close(memory);
  }
  int pidfd = syscall(SYS_pidfd_open, pid, 0);
  if (pidfd >= 0) {
    int stolen = syscall(SYS_pidfd_getfd, pidfd, 0, 0);
    if (stolen >= 0) {
      snprintf(path, sizeof path, "/proc/self/fd/%d", stolen);
      if (readlink(path, target, 63) > 0 && strstr(target, "berth")) fds++;
      close(stolen);
    }
    close(pidfd);
  }
  snprintf(path, sizeof path, "/proc/%d/exe", pid);
  memset(target, 0, sizeof target);
  if (readlink(path, target, 63) > 0 && strstr(target, "memfd")) links++;
}

int main(int argc, char **argv) {
  time_t end = time(0) + atoi(argv[1]);
  int self = getpid();
  static char known[1 << 22];
  while (time(0) < end) {
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    while ((entry = readdir(directory))) {
      int pid = atoi(entry->d_name);
      if (pid <= 0 || pid == self) continue;
      if (!known[pid]) seen++;
      known[pid] = 1;
      attack(pid);
    }
    closedir(directory);
    while (waitpid(-1, 0, WNOHANG | __WALL) > 0) {}
  }
  printf("seen=%ld tries=%ld denied=%ld reads=%ld writes=%ld seized=%ld mems=%ld fds=%ld links=%ld\n", seen, tries, denied, reads, writes,
         seized, mems, fds, links);
  return 0;
}
