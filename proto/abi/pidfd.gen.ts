// What a pidfd tells of a process that has ended and was reaped by whomever. Source: include/uapi/linux/pidfd.h, Linux 6.15 on.
export const PIDFD_GET_INFO = 0xc040ff0b;
export const PIDFD_INFO_EXIT = 8;
/** struct pidfd_info: the mask is its first field. */
export const PIDFD_INFO_SIZE_VER0 = 64;
export const PIDFD_EXIT_CODE_AT = 60;
