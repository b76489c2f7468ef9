// Waiting for children. Source: include/uapi/linux/wait.h and include/uapi/asm-generic/siginfo.h, Linux 6.18; man 2 waitid.
export const WNOHANG = 0x1;
export const WEXITED = 0x4;
export const WNOWAIT = 0x1000000;
export const P_ALL = 0;
export const P_PID = 1;
export const P_PIDFD = 3;
export const CLD_EXITED = 1;
export const CLD_DUMPED = 3;
/** siginfo_t of SIGCHLD: where the kernel puts si_code, si_pid and si_status, and the whole's size. */
export const SI_CODE_AT = 8;
export const SI_PID_AT = 16;
export const SI_STATUS_AT = 24;
export const SIGINFO_BYTES = 128;
