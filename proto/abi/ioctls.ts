// Terminal ioctls. Source: include/uapi/asm-generic/ioctls.h, Linux 6.18; man 2 TIOCSWINSZ. Equal on x86-64 and arm64.
export const TIOCSWINSZ = 0x5414;
