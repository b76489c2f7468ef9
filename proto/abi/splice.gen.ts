// Moving bytes between pipes and files inside the kernel. Source: include/linux/splice.h, Linux 6.18; man 2 splice.
export const SPLICE_F_MOVE = 0x1;
export const SPLICE_F_NONBLOCK = 0x2;
