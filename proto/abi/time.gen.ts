// Clocks. Source: include/uapi/linux/time.h, Linux 6.18; man 2 clock_gettime.
export const CLOCK_BOOTTIME = 7;
