// After a start: what is on disk is compared with what lives. Processes that an earlier helper started are followed again, ends that nobody has told yet
// are recorded, and whatever belongs to no container is removed: groups, half-made launches, descriptors the keeper keeps for nobody.
import { closeSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Keeper } from '../launch/keeper.ts';
import { isFrozen, oomKilled, removeCgroups } from '../ops/cgroup.ts';
import { groupNames } from '../ops/cgroup-host.ts';
import type { World } from '../ops/order.ts';
import type { ContainerRecord, Exit, Run } from '../ops/records.ts';
import { startTime } from '../ops/start.ts';
import type { Held } from '../ops/stdio.ts';
import { isRefusal, unless } from '../ops/failed.ts';
import { bootNs, pidfdOpen } from '../sys/processes.ts';
import { UNSEEN } from '../watch/children.ts';
import type { Exits } from '../watch/exits.ts';
import type { Living } from './living.ts';

export type Found = { readonly world: World; readonly living: Living; readonly keeper: Keeper; readonly exits: Exits };

/** Numbers of what the keeper has open that can be a container's stdio. */
export function keptByKeeper(pid: number): number[] {
  const numbers = readdirSync(`/proc/${pid}/fd`).map(Number);
  return numbers.filter((number) => number >= 1024);
}

export async function reconcile(found: Found): Promise<void> {
  const { world, keeper } = found;
  const all = [...world.records.all()];
  endStrays(keeper.pid, new Set(runsOf(all).map((run) => run.pid)));
  const known = new Set(all.map((record) => record.id));
  for (const id of groupNames(world.cgroups)) if (!known.has(id)) await removeCgroups(world.cgroups, id);
  for (const record of all) await reconcileOne(found, record);
  if (all.every((record) => record.state === 'exited')) found.exits.clear();
  releaseUnknown(found);
}

async function reconcileOne(found: Found, record: ContainerRecord): Promise<void> {
  const { world } = found;
  if (record.state === 'starting') {
    await removeCgroups(world.cgroups, record.id);
    if (record.exit === undefined) return await world.records.remove(record.id);
    record.state = 'exited';
  } else if (record.state === 'running') record.frozen = isFrozen(world.cgroups, record.id);
  for (const [exec, one] of Object.entries(record.execs)) {
    if (one.run === undefined) delete record.execs[exec];
    else record.execs[exec] = { ...one, ...resume(found, { record, exec, run: one.run, exit: one.exit }) };
  }
  if (record.run !== undefined) {
    const exit = resume(found, { record, exec: '', run: record.run, exit: record.exit }).exit;
    if (exit !== undefined) {
      Object.assign(record, { state: 'exited', frozen: false, exit });
      await removeCgroups(world.cgroups, record.id);
    }
  }
  world.records.save(record);
}

type Known = {
  readonly record: ContainerRecord;
  readonly exec: string;
  readonly run: Run;
  readonly exit: Exit | undefined;
};

/** Takes its stdio back from the keeper and follows it if it lives; gives its end if it has ended. */
function resume(found: Found, { record, exec, run, exit }: Known): { exit?: Exit } {
  const fetch = (number: number): number[] => unless(['EBADF'], () => [found.keeper.fetch(number)]) ?? [];
  const held: Held = { tty: run.tty, fds: run.kept.flatMap(fetch) };
  const pidfd = exit === undefined ? openIfSame(run) : undefined;
  if (pidfd !== undefined) {
    found.living.follow({ record, exec, run, held }, pidfd);
    return {};
  }
  found.living.hold({ record, exec, run, held });
  if (exit !== undefined) return { exit };
  const entry = found.exits.find(run.pid, BigInt(run.bootNs));
  const outOfMemory = exec === '' && oomKilled(found.world.cgroups, record.id);
  return { exit: { status: entry?.status ?? UNSEEN, bootNs: String(entry?.bootNs ?? bootNs()), outOfMemory } };
}

/** A pidfd of the process, if the pid is still its own. */
function openIfSame(run: Run): number | undefined {
  if (startTime(run.pid) !== run.started) return undefined;
  const pidfd = pidfdOpen(run.pid);
  if (startTime(run.pid) === run.started) return pidfd;
  closeSync(pidfd);
  return undefined;
}

function runsOf(records: Iterable<ContainerRecord>): Run[] {
  const all = [...records].flatMap((record) => [record.run, ...Object.values(record.execs).map((one) => one.run)]);
  return all.filter((run) => run !== undefined);
}

/** What an earlier helper gave to the keeper and did not live to write down. */
function releaseUnknown({ world, keeper }: Found): void {
  const known = new Set(runsOf(world.records.all()).flatMap((run) => run.kept));
  for (const number of keptByKeeper(keeper.pid)) {
    const link = readlinkSync(`/proc/${keeper.pid}/fd/${number}`);
    const stdio = link.startsWith('pipe:') || link.startsWith('/dev/p');
    if (stdio && !known.has(number)) keeper.release(number);
  }
}

/**
 * Ends the keeper's children that nobody has written down: half-made launches and execs, workers, a porter. Nobody was told that they run, and whoever
 * asked for them asks again. What a container in the host's pid namespace left behind is not one of them.
 */
function endStrays(keeper: number, known: ReadonlySet<number>): void {
  const own = readlinkSync('/proc/self/ns/pid');
  for (const thread of readdirSync(`/proc/${keeper}/task`)) {
    const children = readFileSync(`/proc/${keeper}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean);
    for (const pid of children.map(Number)) {
      if (pid === process.pid || known.has(pid)) continue;
      try {
        const half = readlinkSync(`/proc/${pid}/exe`).startsWith('/memfd:berth-');
        if (half || readlinkSync(`/proc/${pid}/ns/pid`) !== own) process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (!isRefusal(error, 'ENOENT', 'ESRCH')) throw error; // it has ended
      }
    }
  }
}
