// Mappings. Source: include/uapi/asm-generic/mman-common.h and include/uapi/linux/mman.h, Linux 6.18; man 2 mmap.
export const PROT_READ = 0x1;
export const PROT_WRITE = 0x2;
export const PROT_EXEC = 0x4;
export const MAP_PRIVATE = 0x02;
export const MAP_ANONYMOUS = 0x20;
export const MAP_FIXED_NOREPLACE = 0x100000;
