// System call filters. Source: include/uapi/linux/seccomp.h, Linux 6.18; man 2 seccomp.
export const SECCOMP_SET_MODE_FILTER = 1;
/** Without it every filter also turns on the costly speculation switches. */
export const SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4;
export const SECCOMP_RET_KILL_PROCESS = 0x80000000;
export const SECCOMP_RET_ERRNO = 0x00050000;
export const SECCOMP_RET_ALLOW = 0x7fff0000;
