// File types in a mode. Source: include/uapi/linux/stat.h, Linux 6.18; man 7 inode.
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFCHR = 0o020000;
