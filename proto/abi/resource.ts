// Resource limits. Source: include/uapi/asm-generic/resource.h, Linux 6.18; man 2 prlimit. Equal on x86-64 and arm64.
export const RLIMIT_NOFILE = 7;
