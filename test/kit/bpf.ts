// A classic BPF interpreter for seccomp filters, to ask a filter for its verdict without installing it. Source: include/uapi/linux/filter.h; man 2 seccomp.
export type SeccompData = { readonly number: number; readonly arch: number; readonly args: readonly bigint[] };

/** Runs the filter (struct sock_filter, 8 bytes each) on one call; gives the SECCOMP_RET_* value. Throws on an instruction no filter of ours has. */
export function runFilter(filter: Uint8Array, call: SeccompData): number {
  const code = new DataView(filter.buffer, filter.byteOffset, filter.byteLength);
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, call.number, true);
  data.setUint32(4, call.arch, true);
  for (const [i, arg] of call.args.entries()) data.setBigUint64(16 + 8 * i, BigInt.asUintN(64, arg), true);
  let accumulator = 0;
  for (let pc = 0; pc * 8 < filter.byteLength; ) {
    const [operation, yes, no, k] = [
      code.getUint16(8 * pc, true),
      code.getUint8(8 * pc + 2),
      code.getUint8(8 * pc + 3),
      code.getUint32(8 * pc + 4, true),
    ];
    pc++;
    const branch = (holds: boolean): void => {
      pc += holds ? yes : no;
    };
    if (operation === 0x20) accumulator = data.getUint32(k, true);
    else if (operation === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (operation === 0x05) pc += k;
    else if (operation === 0x15) branch(accumulator === k);
    else if (operation === 0x25) branch(accumulator > k);
    else if (operation === 0x35) branch(accumulator >= k);
    else if (operation === 0x45) branch((accumulator & k) !== 0);
    else if (operation === 0x06) return k;
    else throw new Error(`instruction ${operation.toString(16)} at ${pc - 1}`);
  }
  throw new Error('ran off the end of the filter');
}
