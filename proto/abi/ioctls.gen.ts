// Terminal ioctls. Source: include/uapi/asm-generic/ioctls.h, Linux 6.18; man 2 TIOCSWINSZ. Equal on x86-64 and arm64.
export const TIOCSWINSZ = 0x5414;
export const TIOCSCTTY = 0x540e;
/** Unlock (0) or lock the slave of a pty. */
export const TIOCSPTLCK = 0x40045431;
/** Opens the slave without its path. */
export const TIOCGPTPEER = 0x5441;
