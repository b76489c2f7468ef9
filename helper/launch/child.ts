// Starts the launcher (SECURITY, rule 8). The child of clone3 shares the helper's memory for as long as it takes to fix its descriptors and execute
// the sealed launcher, while the helper stands still; it joins nothing before. No page of the helper is writable and executable: the code of the
// child is the sealed file itself, mapped to read and execute.
import { closeSync, fchmodSync, writeSync } from 'node:fs';
import { CLOSE_RANGE_CLOEXEC } from '../../proto/abi/close-range.gen.ts';
import { EINVAL } from '../../proto/abi/errno.gen.ts';
import * as files from '../../proto/abi/fcntl.gen.ts';
import { MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_NOEXEC_SEAL } from '../../proto/abi/memfd.gen.ts';
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../../proto/abi/mman.gen.ts';
import * as sched from '../../proto/abi/sched.gen.ts';
import { SIGCHLD } from '../../proto/abi/signal.gen.ts';
import * as nr from '../../proto/abi/unistd.gen.ts';
import { type Arch, encodeProgram } from '../lower/encode.ts';
import { createProgram, type Program } from '../lower/program.ts';
import { fcntl, memfdCreate } from '../sys/descriptors.ts';
import { SysError } from '../sys/error.ts';
import { cloneFunctionAt, mapMemory } from '../sys/libc.ts';
import { emitLauncher } from './launcher.ts';

export const ARCH: Arch = process.arch === 'arm64' ? 'arm64' : 'x64';
/** Added to the record numbers in reports of the child that has not executed the launcher yet. */
export const BEFORE_LAUNCHER = 0x10000;

export type Child = { readonly pid: number; readonly pidfd: number };
export type StartOptions = {
  /** More CLONE_* flags. */
  readonly flags?: number;
  /** A cgroup v2 directory to start in. */
  readonly cgroup?: number;
};

/** A memory file that nobody can change any more: the launcher (0500, so that no container's user can execute it) or a program (0: not executable). */
export function sealedMemfd(name: string, bytes: Uint8Array, mode: 0 | 0o500 | 0o555): number {
  const executable = mode !== 0;
  const fd = createMemfd(name, executable);
  writeSync(fd, bytes);
  if (executable) fchmodSync(fd, mode); // before sealing: F_SEAL_EXEC freezes these bits
  const seals = files.F_SEAL_SEAL | files.F_SEAL_SHRINK | files.F_SEAL_GROW | files.F_SEAL_WRITE;
  try {
    fcntl(fd, files.F_ADD_SEALS, seals | (executable ? files.F_SEAL_EXEC : 0));
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== EINVAL) throw error;
    fcntl(fd, files.F_ADD_SEALS, seals); // before Linux 6.3
  }
  return fd;
}

function createMemfd(name: string, executable: boolean): number {
  try {
    return memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | (executable ? MFD_EXEC : MFD_NOEXEC_SEAL));
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== EINVAL) throw error;
    return memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); // before Linux 6.3
  }
}

// Memory of the child until it executes: struct clone_args, the pidfd, its program, a stack. One is enough, since the helper waits.
export const ARENA_BYTES = 65_536;
const PIDFD_AT = 128;
export const PROGRAM_AT = 256;
const STACK_BYTES = 4096;

type Arena = ReturnType<typeof mapMemory>;
type Launcher = {
  readonly fd: number;
  readonly clone: ReturnType<typeof cloneFunctionAt>;
  readonly arena: Arena;
};
let launcher: Launcher | undefined;

/** The launcher's sealed file and the helper's mapping of it, made at the first call. */
export function theLauncher(): Launcher {
  if (launcher === undefined) {
    const file = emitLauncher(ARCH);
    const fd = sealedMemfd('berth-launcher', file.bytes, 0o500);
    const text = mapMemory(4096, { protection: PROT_READ | PROT_EXEC, flags: MAP_PRIVATE, fd });
    const arena = mapMemory(ARENA_BYTES, {
      protection: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
      fd: -1,
    });
    launcher = { fd, clone: cloneFunctionAt(text.address + BigInt(file.cloneAt)), arena };
  }
  return launcher;
}

/** What the child does before it is the launcher: closes (on execution) all that the program does not name, and executes. */
function beforeLauncher(program: Program, memfds: { program: number; launcher: number }): Program {
  const before = createProgram(program.status);
  before.call(nr.SYS_close_range, [1, 0xffffffff, CLOSE_RANGE_CLOEXEC], { step: 'close other descriptors' });
  for (const descriptor of program.descriptors)
    before.call(nr.SYS_fcntl, [descriptor, files.F_SETFD, 0], { step: `keep descriptor ${descriptor}` });
  // In all three places, so that nothing the program opens is overwritten when standard input and output are put there.
  for (const place of [0, 1, 2])
    if (!program.descriptors.has(place))
      before.call(nr.SYS_dup3, [memfds.program, place, 0], { step: 'pass the program' });
  const nothing = before.strings([]);
  before.call(nr.SYS_execveat, [memfds.launcher, '', nothing, nothing, files.AT_EMPTY_PATH], {
    step: 'execute the launcher',
  });
  return before;
}

/** Starts a program in a new process and returns when the launcher has been executed (or could not be: the status pipe says why). */
export function startChild(program: Program, { flags = 0, cgroup }: StartOptions = {}): Child {
  const { fd, clone, arena } = theLauncher();
  const memfd = sealedMemfd('berth-program', encodeProgram(program, { arch: ARCH }), 0);
  try {
    const before = encodeProgram(beforeLauncher(program, { program: memfd, launcher: fd }), {
      arch: ARCH,
      base: Number(arena.address) + PROGRAM_AT,
      reportFrom: BEFORE_LAUNCHER,
    });
    return cloneWith(clone, { arena, bytes: before, flags: flags | sched.CLONE_VFORK, cgroup });
  } finally {
    closeSync(memfd);
  }
}

/** A child that shares our memory and runs the program in the arena; without CLONE_VFORK the arena is the child's until it has ended. */
export function cloneWith(
  clone: Launcher['clone'],
  { arena, bytes, flags, cgroup }: { arena: Arena; bytes: Uint8Array; flags: number; cgroup?: number | undefined },
): Child {
  if (PROGRAM_AT + bytes.length > ARENA_BYTES - STACK_BYTES)
    throw new SysError('clone3', 'too many descriptors', EINVAL);
  arena.view.fill(0, 0, PROGRAM_AT);
  arena.view.set(bytes, PROGRAM_AT);
  const args = new BigUint64Array(sched.CLONE_ARGS_SIZE_VER2 / 8);
  args[0] = BigInt(sched.CLONE_VM | sched.CLONE_PIDFD) | BigInt(flags >>> 0) | sched.CLONE_CLEAR_SIGHAND;
  if (cgroup !== undefined) args[0] |= sched.CLONE_INTO_CGROUP;
  args[1] = arena.address + BigInt(PIDFD_AT);
  args[4] = BigInt(SIGCHLD); // also that of a later CLONE_PARENT child
  args[5] = arena.address + BigInt(ARENA_BYTES - STACK_BYTES);
  args[6] = BigInt(STACK_BYTES);
  args[10] = BigInt(cgroup ?? 0);
  arena.view.set(new Uint8Array(args.buffer));
  const pid = Number(clone(arena.address, sched.CLONE_ARGS_SIZE_VER2, arena.address + BigInt(PROGRAM_AT)));
  if (pid < 0) throw new SysError('clone3', 'a new process', -pid);
  return { pid, pidfd: arena.view.readInt32LE(PIDFD_AT) };
}
