// Numbers of system calls libc has no function for; from 424 on they are equal on all architectures. Source: include/uapi/asm-generic/unistd.h, Linux 6.18.
export const SYS_openat2 = 437;
