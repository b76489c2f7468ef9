// Opening and duplicating. Source: include/uapi/asm-generic/fcntl.h and include/uapi/linux/fcntl.h, Linux 6.18; man 2 open, man 2 fcntl.
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const F_DUPFD_CLOEXEC = 1030;
export const AT_FDCWD = -100;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NOCTTY = 0o400;
export const O_NONBLOCK = 0o4000;
/** O_DIRECTORY's number differs. Source: arch/arm64/include/uapi/asm/fcntl.h. */
export const O_DIRECTORY_OF = { x64: 0o200000, arm64: 0o40000 } as const;
export const F_GETFD = 1;
export const F_SETFD = 2;
export const FD_CLOEXEC = 1;
export const F_SETPIPE_SZ = 1031;
export const F_ADD_SEALS = 1033;
export const F_SEAL_SEAL = 0x1;
export const F_SEAL_SHRINK = 0x2;
export const F_SEAL_GROW = 0x4;
export const F_SEAL_WRITE = 0x8;
/** Since Linux 6.3: the executable bits cannot change any more. */
export const F_SEAL_EXEC = 0x20;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;
export const AT_RECURSIVE = 0x8000;
export const F_GETFL = 3;
export const F_SETFL = 4;
