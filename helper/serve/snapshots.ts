// What an engine is told first when it listens: each of its principal's containers and execs as they are now.
import { type Event, type Exited, type Snapshot, State } from '../../proto/gen/berth/helper/v1/request.ts';
import type { ContainerRecord, Exit, Run } from '../ops/records.ts';

/** The snapshots of one container: its own, then its execs'. A start under way is not told: it ends as an answer to who asked for it. */
export function snapshots(record: ContainerRecord): Event[] {
  const { id, frozen, run, exit } = record;
  const own =
    run === undefined || record.state === 'starting' ? [] : [snapshot({ container: id, exec: '' }, run, exit)];
  const execs = Object.entries(record.execs).flatMap(([exec, one]) =>
    one.run === undefined ? [] : [snapshot({ container: id, exec }, one.run, one.exit)],
  );
  return [...own.map((one) => ({ ...one, frozen })), ...execs].map((value) => ({
    event: { $case: 'snapshot', value },
  }));
}

type Name = { readonly container: string; readonly exec: string };

function snapshot(name: Name, { pid, stdin, tty }: Run, exit: Exit | undefined): Snapshot {
  const exited = exit === undefined ? undefined : exitedOf(name, exit);
  const state = exit === undefined ? State.STATE_RUNNING : State.STATE_EXITED;
  return { ...name, state, pid, exited, frozen: false, stdin, tty };
}

/** The message of an end. */
export function exitedOf(name: Name, { status, bootNs, outOfMemory }: Exit): Exited {
  return { ...name, status, bootNs: BigInt(bootNs), outOfMemory };
}
