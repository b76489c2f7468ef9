// Error numbers that programs of the launcher compare with. Source: include/uapi/asm-generic/errno-base.h and errno.h, Linux 6.18.
export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EBADF = 9;
export const ECHILD = 10;
export const EAGAIN = 11;
export const EACCES = 13;
export const EEXIST = 17;
export const ENOTDIR = 20;
export const EINVAL = 22;
export const ENOSYS = 38;
export const ENOPROTOOPT = 92;
