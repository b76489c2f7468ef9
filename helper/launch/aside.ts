// Closes what strangers have sent. What lies behind a descriptor can keep close(2) waiting for as long as its sender likes (a file of a FUSE file system of
// his, a socket that lingers, a huge file that was removed); so it is closed by a process that shares our table of descriptors and nothing waits for.
import { CLONE_FILES } from '../../proto/abi/sched.gen.ts';
import { SYS_close, SYS_exit_group } from '../../proto/abi/unistd.gen.ts';
import { createProgram } from '../lower/program.ts';
import { isOpen } from '../sys/descriptors.ts';
import { cloneInto, newArena } from './child.ts';
import { reaped } from './run.ts';

// Each has memory of its own, used again when it has ended.
const spare: ReturnType<typeof newArena>[] = [];

/** Nobody that we start may inherit one: it would hang as it executes, and we with it. So they are out of our table first, which takes no file system's word. */
const GONE_MS = 20;

/** Closes at most 500, in their order. What can wait for ever must come alone. Settled when all are closed. */
export async function closeAside(descriptors: readonly number[]): Promise<void> {
  if (descriptors.length === 0) return;
  const arena = spare.pop() ?? newArena();
  const program = createProgram(-1);
  for (const descriptor of descriptors) program.call(SYS_close, [descriptor], { ignore: true });
  program.call(SYS_exit_group, [0]);
  const { pidfd } = cloneInto(arena, program, { flags: CLONE_FILES });
  const last = descriptors.at(-1) ?? -1;
  for (const end = performance.now() + GONE_MS; isOpen(last) && performance.now() < end; );
  await reaped(pidfd);
  spare.push(arena);
}
