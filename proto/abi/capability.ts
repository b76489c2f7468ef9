// Capability numbers. Source: include/uapi/linux/capability.h, Linux 6.18; man 7 capabilities.
export const CAP_LAST_CAP = 40;
/** Every capability's bit. */
export const CAP_MASK = (1n << BigInt(CAP_LAST_CAP + 1)) - 1n;
