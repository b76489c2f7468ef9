// Sockets and passed descriptors. Source: include/linux/socket.h and include/uapi/asm-generic/socket.h, Linux 6.18; man 7 unix.
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SO_PEERCRED = 17;
export const SCM_RIGHTS = 1;
/** Most descriptors in one message. */
export const SCM_MAX_FD = 253;
export const MSG_CTRUNC = 0x8;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;
/** Bytes of sockaddr_un.sun_path, the final zero included. Source: include/uapi/linux/un.h. */
export const UNIX_PATH_MAX = 108;
export const AF_INET = 2;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;
/** Since Linux 6.5. */
export const SO_PEERPIDFD = 77;
/** Since Linux 6.16. */
export const SO_PASSRIGHTS = 83;
/** Bytes of struct msghdr and struct cmsghdr of a 64-bit kernel. */
export const MSGHDR_BYTES = 56;
export const CMSGHDR_BYTES = 16;
