// Events to the engines that listen, each principal's own only; and what an engine is told first: its containers and execs as they are now.
import { type Event, type Exited, type Snapshot, State } from '../../proto/gen/berth/helper/v1/request.ts';
import type { ContainerRecord, Exit, Run } from '../ops/records.ts';

type Listener = { readonly event: (event: Event) => void; readonly end: () => void };
export type Hub = ReturnType<typeof newHub>;

const LISTENERS_MAX = 16;

export function newHub() {
  const listeners = new Map<string, Set<Listener>>();
  /** Gives the function that ends the listening. */
  const listen = (principal: string, listener: Listener): (() => void) => {
    const own = listeners.get(principal) ?? new Set();
    const [oldest] = own;
    if (own.size >= LISTENERS_MAX && oldest !== undefined) {
      own.delete(oldest);
      oldest.end();
    }
    listeners.set(principal, own.add(listener));
    return () => own.delete(listener);
  };
  const publish = (principal: string, event: NonNullable<Event['event']>): void => {
    for (const { event: tell } of listeners.get(principal) ?? []) tell({ event });
  };
  return { listen, publish };
}

/** The snapshots of one container: its own, then its execs'. A start under way is not told: it ends as an answer to who asked for it. */
export function snapshots({ id, state, frozen, run, exit, execs }: ContainerRecord): Event[] {
  const own = state === 'starting' ? {} : { '': { run, exit } };
  return Object.entries({ ...own, ...execs }).flatMap(([exec, one]) => {
    if (one.run === undefined) return [];
    const value = snapshot({ container: id, exec }, one.run, one.exit);
    return [{ event: { $case: 'snapshot' as const, value: { ...value, frozen: frozen && exec === '' } } }];
  });
}

type Name = { readonly container: string; readonly exec: string };

function snapshot(name: Name, { pid, stdin, tty }: Run, exit: Exit | undefined): Omit<Snapshot, 'frozen'> {
  const exited = exit === undefined ? undefined : exitedOf(name, exit);
  const state = exit === undefined ? State.STATE_RUNNING : State.STATE_EXITED;
  return { ...name, state, pid, exited, stdin, tty };
}

/** The message of an end. */
export function exitedOf(name: Name, { status, bootNs, outOfMemory }: Exit): Exited {
  return { ...name, status, bootNs: BigInt(bootNs), outOfMemory };
}
