// Room in a file. Source: include/uapi/linux/falloc.h, Linux 6.18; man 2 fallocate.
export const FALLOC_FL_KEEP_SIZE = 1;
