// Closing many descriptors. Source: include/uapi/linux/close_range.h, Linux 6.18; man 2 close_range.
export const CLOSE_RANGE_CLOEXEC = 0x4;
