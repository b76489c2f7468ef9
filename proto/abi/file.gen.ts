// Advisory locks on whole files. Source: include/uapi/asm-generic/fcntl.h, Linux 6.18; man 2 flock.
export const LOCK_EX = 2;
export const LOCK_NB = 4;
