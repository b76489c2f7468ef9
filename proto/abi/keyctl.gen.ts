// Keyrings. Source: include/uapi/linux/keyctl.h, Linux 6.18; man 2 keyctl.
export const KEYCTL_JOIN_SESSION_KEYRING = 1;
