// File attributes. Source: include/uapi/linux/fs.h, Linux 6.18; man 2 ioctl_iflags. Numbers of 64-bit machines.
export const FS_IOC_GETFLAGS = 0x80086601;
export const FS_IOC_SETFLAGS = 0x40086602;
export const FS_IMMUTABLE_FL = 0x10;
