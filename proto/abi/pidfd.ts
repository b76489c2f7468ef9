// What a pidfd tells. Source: include/uapi/linux/pidfd.h, Linux 6.18; man 2 pidfd_open.
/** Since Linux 6.13; the exit code since 6.15. */
export const PIDFD_GET_INFO = 0xc040ff0b;
export const PIDFD_INFO_EXIT = 8;
/** struct pidfd_info: u64 mask, ten numbers, and at 60 wait(2)'s status. */
export const PIDFD_INFO_SIZE_VER0 = 64;
export const PIDFD_EXIT_CODE_AT = 60;
