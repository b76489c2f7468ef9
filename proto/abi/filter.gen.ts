// Classic BPF. Source: include/uapi/linux/bpf_common.h and include/uapi/linux/filter.h, Linux 6.18. An instruction: u16 code, u8 jt, u8 jf, u32 k.
export const BPF_LD = 0x00;
export const BPF_ALU = 0x04;
export const BPF_JMP = 0x05;
export const BPF_RET = 0x06;
export const BPF_W = 0x00;
export const BPF_ABS = 0x20;
export const BPF_AND = 0x50;
export const BPF_JA = 0x00;
export const BPF_JEQ = 0x10;
export const BPF_JGT = 0x20;
export const BPF_JGE = 0x30;
export const BPF_K = 0x00;
