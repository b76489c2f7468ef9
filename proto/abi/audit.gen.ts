// Architectures as seccomp tells them. Source: include/uapi/linux/audit.h, Linux 6.18.
export const AUDIT_ARCH_X86_64 = 0xc000003e;
export const AUDIT_ARCH_AARCH64 = 0xc00000b7;
