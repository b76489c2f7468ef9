// Anonymous files. Source: include/uapi/linux/memfd.h, Linux 6.18; man 2 memfd_create.
export const MFD_CLOEXEC = 0x0001;
export const MFD_ALLOW_SEALING = 0x0002;
/** Since Linux 6.3. */
export const MFD_NOEXEC_SEAL = 0x0008;
export const MFD_EXEC = 0x0010;
