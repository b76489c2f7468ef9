// How openat2(2) resolves a path. Source: include/uapi/linux/openat2.h, Linux 6.18; man 2 openat2.
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;
/** struct open_how: u64 flags, u64 mode, u64 resolve. */
export const OPEN_HOW_BYTES = 24;
