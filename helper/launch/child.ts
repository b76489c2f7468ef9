// Starts the launcher (SECURITY, rule 8). The child of clone3 shares the helper's memory for as long as it takes to fix its descriptors and execute
// the sealed launcher, while the helper stands still; it joins nothing before. No page of the helper is writable and executable: the code of the
// child is the sealed file itself, mapped to read and execute.
import { closeSync, fchmodSync, writeSync } from 'node:fs';
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { EINVAL } from '../../proto/abi/errno.gen.ts';
import * as files from '../../proto/abi/fcntl.gen.ts';
import * as mem from '../../proto/abi/memfd.gen.ts';
import * as mman from '../../proto/abi/mman.gen.ts';
import * as sched from '../../proto/abi/sched.gen.ts';
import { SIGCHLD } from '../../proto/abi/signal.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { type Arch, encodeProgram } from '../lower/encode.ts';
import { createProgram, type Program } from '../lower/program.ts';
import { fcntl, memfdCreate } from '../sys/descriptors.ts';
import { SysError } from '../sys/error.ts';
import { cloneFunctionAt, mapMemory, type Mapped, words } from '../sys/libc.ts';
import { emitLauncher } from './launcher.ts';

export const ARCH: Arch = process.arch === 'arm64' ? 'arm64' : 'x64';
/** Added to the record numbers in reports of the child that has not executed the launcher yet. */
export const BEFORE_LAUNCHER = 0x10000;

export type Child = { readonly pid: number; readonly pidfd: number };
export type StartOptions = {
  /** More CLONE_* flags. */
  readonly flags?: number;
  /** A cgroup v2 directory to start in. */
  readonly cgroup?: number | undefined;
};
/** `reportFrom` is added to each record's own number in reports. */
type CloneOptions = StartOptions & { readonly reportFrom?: number };

/** A memory file that nobody can change any more: the launcher (0500, so that no container's user can execute it) or a program (0: not executable). */
export function sealedMemfd(name: string, bytes: Uint8Array, mode: 0 | 0o500 | 0o555): number {
  const executable = mode !== 0;
  const flags = mem.MFD_CLOEXEC | mem.MFD_ALLOW_SEALING;
  const fd = orBefore63(executable ? mem.MFD_EXEC : mem.MFD_NOEXEC_SEAL, (newer) => memfdCreate(name, flags | newer));
  writeSync(fd, bytes);
  if (executable) fchmodSync(fd, mode); // before sealing: F_SEAL_EXEC freezes these bits
  const seals = files.F_SEAL_SEAL | files.F_SEAL_SHRINK | files.F_SEAL_GROW | files.F_SEAL_WRITE;
  orBefore63(executable ? files.F_SEAL_EXEC : 0, (newer) => fcntl(fd, files.F_ADD_SEALS, seals | newer));
  return fd;
}

/** Makes the call with a flag that came with Linux 6.3, or on older kernels without. */
function orBefore63(flag: number, call: (flag: number) => number): number {
  try {
    return call(flag);
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== EINVAL) throw error;
    return call(0);
  }
}

// Memory of the child until it executes: struct clone_args, the pidfd, its program, a stack. One is enough, since the helper waits.
const ARENA_BYTES = 65_536;
const PIDFD_AT = 128;
const PROGRAM_AT = 256;
const STACK_BYTES = 4096;

type Clone = ReturnType<typeof cloneFunctionAt>;
type Launcher = { readonly fd: number; readonly clone: Clone; readonly arena: Mapped };
let launcher: Launcher | undefined;

/** Memory for a child to run in. */
export function newArena(): Mapped {
  const flags = mman.MAP_PRIVATE | mman.MAP_ANONYMOUS;
  return mapMemory(ARENA_BYTES, { protection: mman.PROT_READ | mman.PROT_WRITE, flags, fd: -1 });
}

/** The launcher's sealed file and the helper's mapping of it, made at the first call. */
export function theLauncher(): Launcher {
  if (launcher !== undefined) return launcher;
  const file = emitLauncher(ARCH);
  const fd = sealedMemfd('berth-launcher', file.bytes, 0o500);
  const text = mapMemory(4096, { protection: mman.PROT_READ | mman.PROT_EXEC, flags: mman.MAP_PRIVATE, fd });
  launcher = { fd, clone: cloneFunctionAt(text.address + BigInt(file.cloneAt)), arena: newArena() };
  return launcher;
}

/** What the child does before it is the launcher: closes (on execution) all that the program does not name, and executes. */
function beforeLauncher(program: Program, memfds: { program: number; launcher: number }): Program {
  const before = createProgram(program.status);
  before.call(nr.SYS_close_range, [1, 0xffffffff, CLOSE_RANGE_CLOEXEC], { step: 'close other descriptors' });
  for (const descriptor of program.descriptors)
    before.call(nr.SYS_fcntl, [descriptor, files.F_SETFD, 0], { step: `keep descriptor ${descriptor}` });
  // In all three places, so that nothing the program opens is overwritten when standard input and output are put there.
  for (const place of [0, 1, 2].filter((one) => !program.descriptors.has(one)))
    before.call(nr.SYS_dup3, [memfds.program, place, 0], { step: 'pass the program' });
  const nothing = before.strings([]);
  const step = 'execute the launcher';
  before.call(nr.SYS_execveat, [memfds.launcher, '', nothing, nothing, files.AT_EMPTY_PATH], { step });
  return before;
}

/** Starts a program in a new process and returns when the launcher has been executed (or could not be: the status pipe says why). */
export function startChild(program: Program, { flags = 0, cgroup }: StartOptions = {}): Child {
  const { fd, arena } = theLauncher();
  const memfd = sealedMemfd('berth-program', encodeProgram(program, { arch: ARCH }), 0);
  try {
    const before = beforeLauncher(program, { program: memfd, launcher: fd });
    return cloneInto(arena, before, { flags: flags | sched.CLONE_VFORK, cgroup, reportFrom: BEFORE_LAUNCHER });
  } finally {
    closeSync(memfd);
  }
}

/** A child that shares our memory and runs the program in the arena; without CLONE_VFORK the arena is the child's until it has ended. */
export function cloneInto(arena: Mapped, program: Program, { flags = 0, cgroup, reportFrom = 0 }: CloneOptions): Child {
  const { address, view } = arena;
  const bytes = encodeProgram(program, { arch: ARCH, base: Number(address) + PROGRAM_AT, reportFrom });
  if (PROGRAM_AT + bytes.length > ARENA_BYTES - STACK_BYTES)
    throw new SysError('clone3', 'too many descriptors', EINVAL);
  const into = cgroup === undefined ? 0n : sched.CLONE_INTO_CGROUP;
  const allFlags = BigInt((flags | sched.CLONE_VM | sched.CLONE_PIDFD) >>> 0) | sched.CLONE_CLEAR_SIGHAND | into;
  const stack = address + BigInt(ARENA_BYTES - STACK_BYTES);
  // SIGCHLD also as that of a later CLONE_PARENT child. struct clone_args: man 2 clone3.
  const pidfdAt = address + BigInt(PIDFD_AT);
  const args = words(allFlags, pidfdAt, 0, 0, SIGCHLD, stack, STACK_BYTES, 0, 0, 0, cgroup ?? 0);
  view.fill(0, 0, PROGRAM_AT);
  view.set(args);
  view.set(bytes, PROGRAM_AT);
  const pid = Number(theLauncher().clone(address, args.length, address + BigInt(PROGRAM_AT)));
  if (pid < 0) throw new SysError('clone3', 'a new process', -pid);
  return { pid, pidfd: view.readInt32LE(PIDFD_AT) };
}
