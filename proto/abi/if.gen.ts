// Network interfaces by the old ioctls. Source: include/uapi/linux/if.h and include/uapi/linux/sockios.h, Linux 6.18; man 7 netdevice.
export const SIOCSIFFLAGS = 0x8914;
export const IFF_UP = 0x1;
export const IFF_RUNNING = 0x40;
/** struct ifreq: 16 bytes of name, then the flags. */
export const IFREQ_BYTES = 40;
export const IFNAMSIZ = 16;
