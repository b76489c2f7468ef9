// The processes this helper follows: their pidfds, the kept ends of their stdio, and what is done when one ends. An end is on disk before anybody
// hears of it. Whatever changes a container waits for its turn. An exec is found in its container only: its id was chosen by who asked for it, and
// may be that of somebody else's container.
import { closeSync } from 'node:fs';
import { oomKilled, removeCgroups } from '../ops/cgroup.ts';
import type { World } from '../ops/order.ts';
import type { ContainerRecord, Exit, Run } from '../ops/records.ts';
import type { Held } from '../ops/stdio.ts';
import { pidfdSendSignal } from '../sys/processes.ts';
import { hasEnded, whenExited } from '../watch/children.ts';
import type { Exits } from '../watch/exits.ts';
import { exitedOf, type Hub } from './events.ts';

/** `exec`: empty for the container's first process, here and below. */
type Name = { readonly container: string; readonly exec: string };
type Process = { readonly record: ContainerRecord; readonly exec: string; readonly run: Run; readonly held: Held };
export type Living = ReturnType<typeof newLiving>;
/** By `keyOf`, of what is followed. */
export type Pidfds = Map<string, number>;
export type LivingParts = {
  readonly world: World;
  readonly pidfds: Pidfds;
  readonly exits: Exits;
  readonly hub: Hub;
  /** Gives up a duplicate of the keeper's. */
  readonly unkeep: (number: number) => void;
  readonly log: (line: string) => void;
};

const AGAIN_MS = 1000;

export const keyOf = (container: string, exec = ''): string => `${container} ${exec}`;

export function newLiving({ world, pidfds, exits, hub, unkeep, log }: LivingParts) {
  const processes = new Map<string, Process>();
  const failed = (what: string, error: unknown): void =>
    log(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  const turns = newTurns(failed);

  /** On a full disk an end is told all the same: until there is room the file of exits has it. */
  const saveOrLater = (record: ContainerRecord): void => {
    try {
      if (world.records.find(record.principal, record.id) === record) world.records.save(record);
    } catch (error) {
      failed(`record of ${record.id}`, error);
      setTimeout(() => saveOrLater(record), AGAIN_MS).unref();
    }
  };
  const ended = async ({ record, exec, run }: Process, status: number, bootNs: bigint): Promise<void> => {
    const outOfMemory = exec === '' && oomKilled(world.cgroups, record.id);
    const exit: Exit = { status, bootNs: String(bootNs), outOfMemory };
    if (exec === '') Object.assign(record, { state: 'exited', frozen: false, run, exit });
    else if (record.execs[exec] !== undefined) record.execs[exec] = { run, exit };
    saveOrLater(record);
    if (outOfMemory) hub.publish(record.principal, { $case: 'outOfMemory', value: { container: record.id } });
    hub.publish(record.principal, { $case: 'exited', value: exitedOf({ container: record.id, exec }, exit) });
    if (exec === '') await removeCgroups(world.cgroups, record.id);
  };
  /** Keeps the stdio of a process until it is read and released. */
  const hold = (process: Process): void => void processes.set(keyOf(process.record.id, process.exec), process);
  return {
    ...turns,
    hold,
    heldOf: ({ container, exec }: Name) => processes.get(keyOf(container, exec))?.held,
    /** Follows a process to its end. */
    follow(process: Process, pidfd: number): void {
      const { record, run } = process;
      const key = keyOf(record.id, process.exec);
      hold(process);
      pidfds.set(key, pidfd);
      whenExited({ pid: run.pid, pidfd, startedNs: BigInt(run.bootNs) }, exits)
        .then((entry) => {
          pidfds.delete(key);
          return turns.inTurn(record.id, () => ended(process, entry.status, entry.bootNs));
        })
        .catch((error: unknown) => failed(`end of ${key}`, error));
    },
    /** Closes what is kept of the stdio of these. */
    release(container: string, execs: readonly string[]): void {
      for (const key of execs.map((exec) => keyOf(container, exec))) {
        const { run, held } = processes.get(key) ?? {};
        processes.delete(key);
        for (const number of run?.kept ?? []) unkeep(number);
        for (const fd of held?.fds ?? []) closeSync(fd);
      }
    },
    /** Everything that the keeper keeps for us: our descriptor by its number. */
    kept: () =>
      new Map(
        [...processes.values()].flatMap(({ run, held }) =>
          run.kept.map((number, i) => [number, held.fds[i] ?? -1] as const),
        ),
      ),
    /** Signals a container's first process, or an exec; false where it has ended. */
    signal({ container, exec }: Name, signal: number): boolean {
      const pidfd = pidfds.get(keyOf(container, exec));
      if (pidfd === undefined || hasEnded(pidfd)) return false;
      pidfdSendSignal(pidfd, signal);
      return true;
    },
  };
}

/** Ops on containers, one after the other on each. */
function newTurns(failed: (what: string, error: unknown) => void) {
  const turns = new Map<string, Promise<unknown>>();
  /** Runs when everything asked for this container before is done. */
  const inTurn = <T>(container: string, op: () => Promise<T>): Promise<T> => {
    const turn = (turns.get(container) ?? Promise.resolve()).then(op, op);
    const settled = turn.catch(() => undefined);
    turns.set(container, settled);
    void settled.then(() => turns.get(container) === settled && turns.delete(container));
    return turn;
  };
  /** What is asked for this container from now on waits for it, but nobody else does; a failure is logged. */
  const behind = (container: string, rest: Promise<void>): void => {
    const told = rest.catch((error: unknown) => failed(`after ${container}`, error));
    void inTurn(container, () => told);
  };
  /** Settled when no op on a container is under way. */
  const idle = async (): Promise<void> => {
    while (turns.size > 0) await Promise.all(turns.values());
  };
  return { inTurn, behind, idle };
}
