// Executables. Source: include/uapi/linux/elf.h and include/uapi/linux/elf-em.h, Linux 6.18; man 5 elf.
export const ET_EXEC = 2;
export const EM_X86_64 = 62;
export const EM_AARCH64 = 183;
export const PT_LOAD = 1;
export const PT_INTERP = 3;
export const PT_GNU_STACK = 0x6474e551;
export const PF_X = 1;
export const PF_W = 2;
export const PF_R = 4;
