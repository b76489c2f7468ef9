// The processes this helper follows: their pidfds, the kept ends of their stdio, and what is done when one ends. An end is on disk before anybody
// hears of it. Whatever changes a container waits for its turn. An exec is found in its container only: its id was chosen by who asked for it, and
// may be that of somebody else's container.
import { closeSync } from 'node:fs';
import { oomKilled, removeCgroups } from '../ops/cgroup.ts';
import type { World } from '../ops/order.ts';
import type { ContainerRecord, Exit, Run } from '../ops/records.ts';
import type { Held } from '../ops/stdio.ts';
import { pidfdSendSignal } from '../sys/processes.ts';
import { exitedOf } from './snapshots.ts';
import { hasEnded, whenExited } from '../watch/children.ts';
import type { Exits } from '../watch/exits.ts';
import type { Hub } from '../watch/hub.ts';

/** `exec`: empty for the container's first process. */
export type Process = {
  readonly record: ContainerRecord;
  readonly exec: string;
  readonly run: Run;
  readonly pidfd: number;
  readonly held: Held;
};

export type Living = {
  /** `exec` as in Process, here and below. */
  readonly pidfdOf: (container: string, exec?: string) => number | undefined;
  readonly heldOf: (container: string, exec: string) => Held | undefined;
  /** Follows a process to its end. */
  readonly follow: (process: Process) => void;
  /** Keeps the stdio of what has ended, until it is read and released. */
  readonly hold: (of: Omit<Process, 'pidfd'>) => void;
  /** Closes what is kept of the stdio of these. */
  readonly release: (container: string, execs: readonly string[]) => void;
  /** Runs when everything asked for this container before is done. */
  readonly inTurn: <T>(container: string, op: () => Promise<T>) => Promise<T>;
  /** What is asked for this container from now on waits for it, but nobody else does; a failure is logged. */
  readonly behind: (container: string, rest: Promise<void>) => void;
  /** Everything that the keeper keeps for us: our descriptor by its number. */
  readonly kept: () => Map<number, number>;
  /** Signals a container's first process, or an exec; false where it has ended. */
  readonly signal: (of: { container: string; exec: string }, signal: number) => boolean;
  /** Settled when no op on a container is under way. */
  readonly idle: () => Promise<void>;
};
export type LivingParts = {
  readonly exits: Exits;
  readonly hub: Hub;
  /** Set once; living and world know each other. */
  readonly world: () => World;
  /** Gives up a duplicate of the keeper's. */
  readonly unkeep: (number: number) => void;
  readonly log: (line: string) => void;
};

const AGAIN_MS = 1000;

const keyOf = (container: string, exec: string): string => `${container} ${exec}`;

export function newLiving(parts: LivingParts): Living {
  const pidfds = new Map<string, number>();
  const held = new Map<string, { readonly run: Run; readonly held: Held }>();
  const turns = new Map<string, Promise<unknown>>();

  const inTurn = <T>(container: string, op: () => Promise<T>): Promise<T> => {
    const turn = (turns.get(container) ?? Promise.resolve()).then(op, op);
    const settled = turn.catch(() => undefined);
    turns.set(container, settled);
    void settled.then(() => turns.get(container) === settled && turns.delete(container));
    return turn;
  };
  /** On a full disk an end is told all the same: until there is room the file of exits has it. */
  const saveOrLater = (record: ContainerRecord): void => {
    const { records } = parts.world();
    try {
      if (records.find(record.principal, record.id) === record) records.save(record);
    } catch (error) {
      parts.log(`record of ${record.id}: ${error instanceof Error ? error.message : String(error)}`);
      setTimeout(() => saveOrLater(record), AGAIN_MS).unref();
    }
  };
  const ended = async ({ record, exec, run }: Process, status: number, bootNs: bigint): Promise<void> => {
    const world = parts.world();
    const outOfMemory = exec === '' && oomKilled(world.cgroups, record.id);
    const exit: Exit = { status, bootNs: String(bootNs), outOfMemory };
    if (exec === '') Object.assign(record, { state: 'exited', frozen: false, run, exit });
    else if (record.execs[exec] !== undefined) record.execs[exec] = { run, exit };
    saveOrLater(record);
    if (outOfMemory) parts.hub.publish(record.principal, { $case: 'outOfMemory', value: { container: record.id } });
    const value = exitedOf({ container: record.id, exec }, exit);
    parts.hub.publish(record.principal, { $case: 'exited', value });
    if (exec === '') await removeCgroups(world.cgroups, record.id);
  };
  return {
    pidfdOf: (container, exec = '') => pidfds.get(keyOf(container, exec)),
    heldOf: (container, exec) => held.get(keyOf(container, exec))?.held,
    follow(process) {
      const id = keyOf(process.record.id, process.exec);
      pidfds.set(id, process.pidfd);
      held.set(id, process);
      const child = { pid: process.run.pid, pidfd: process.pidfd, startedNs: BigInt(process.run.bootNs) };
      const done = whenExited(child, parts.exits).then((entry) => {
        pidfds.delete(id);
        return inTurn(process.record.id, () => ended(process, entry.status, entry.bootNs));
      });
      done.catch((error) => parts.log(`end of ${id}: ${error instanceof Error ? error.message : String(error)}`));
    },
    hold: (of) => void held.set(keyOf(of.record.id, of.exec), of),
    release(container, execs) {
      for (const id of execs.map((exec) => keyOf(container, exec))) {
        const of = held.get(id);
        held.delete(id);
        for (const number of of?.run.kept ?? []) parts.unkeep(number);
        for (const fd of of?.held.fds ?? []) closeSync(fd);
      }
    },
    kept: () =>
      new Map(
        [...held.values()].flatMap((of) => of.run.kept.map((number, i) => [number, of.held.fds[i] ?? -1] as const)),
      ),
    inTurn,
    behind(container, rest) {
      const told = rest.catch((error) => parts.log(`after ${container}: ${String(error)}`));
      void inTurn(container, () => told);
    },
    signal({ container, exec }, signal) {
      const pidfd = pidfds.get(keyOf(container, exec));
      if (pidfd === undefined || hasEnded(pidfd)) return false;
      pidfdSendSignal(pidfd, signal);
      return true;
    },
    idle: async () => {
      while (turns.size > 0) await Promise.all(turns.values());
    },
  };
}
