// Opening and duplicating. Source: include/uapi/asm-generic/fcntl.h and include/uapi/linux/fcntl.h, Linux 6.18; man 2 open, man 2 fcntl.
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const F_DUPFD_CLOEXEC = 1030;
export const AT_FDCWD = -100;
