// Waiting for descriptors. Source: include/uapi/asm-generic/poll.h, Linux 6.18; man 2 poll.
export const POLLHUP = 0x10;
