// One start of the helper: opens its state, takes up what an earlier one left, serves, and ends in one of two ways: asked to stop, it stops every
// container and the keeper with it; when the keeper dies, it becomes the keeper.
import { randomBytes } from 'node:crypto';
import { chmodSync, write } from 'node:fs';
import { join } from 'node:path';
import { PR_SET_DUMPABLE } from '../../proto/abi/prctl.gen.ts';
import { openGate } from '../gate/gate.ts';
import { type Becoming, becomeKeeper, connectKeeper, type Keeper } from '../launch/keeper.ts';
import { readText, writeWhole } from '../ops/files.ts';
import { watchPidfd } from '../sys/descriptors.ts';
import { prctl } from '../sys/processes.ts';
import { openExits } from '../watch/exits.ts';
import { collectWhenIdle } from './idle.ts';
import { newHello, VERSION } from './hello.ts';
import { openDoor } from './door.ts';
import { listeningSocket, porterOf } from './porter.ts';
import { newHub } from './events.ts';
import { keyOf, newLiving, type Pidfds } from './living.ts';
import { newLook, type Taken } from './look.ts';
import type { Options, Paths } from './options.ts';
import { keptByKeeper, reconcile } from './reconcile.ts';
import { newService } from './serve.ts';
import { openWorld, stopAll } from './world.ts';

export type Start = { readonly slotKept: number; readonly asKeeper: Omit<Becoming, 'exits' | 'held'> };

/** Runs until it is asked to stop or becomes the keeper. */
export async function runHelper({ paths }: Options, start: Start): Promise<void> {
  prctl(PR_SET_DUMPABLE, 0);
  collectWhenIdle();
  const keeper = connectKeeper(keptByKeeper(process.ppid));
  const slotFd = keeper.fetch(start.slotKept);
  const slot = Number(readText(paths.slot));
  const exits = openExits(`${paths.helper}/exits`);
  const hub = newHub();
  const pidfds: Pidfds = new Map();
  const world = await openWorld({ paths, slot, pidfdOf: (container, exec) => pidfds.get(keyOf(container, exec)) });
  const living = newLiving({ world, pidfds, exits, hub, unkeep: keeper.release, log });
  const reconciled = reconcile({ world, living, keeper, exits });
  const instance = randomBytes(16);
  const taken: Taken = { current: undefined };
  const look = newLook({ world, own: [paths.run, paths.users, paths.helper, paths.etc, paths.audit], taken });
  const gate = openGate({ directory: paths.etc, audit: { directory: paths.audit }, instance, look, nowMs: Date.now });
  const hello = newHello({ world, instance, slot, keeperPid: keeper.pid });
  const performer = { world, living, keep: keepOrWait(keeper) };
  const tell = (porter?: number): void =>
    writeReady(paths, { helper: process.pid, keeper: keeper.pid, porter, version: VERSION, slot });
  tell();
  const listening = {
    service: await listeningSocket(join(paths.run, 'helper.sock')),
    lane: await listeningSocket(join(paths.run, 'lane.sock')),
  };
  const closeDoor = await openDoor({
    start: porterOf(world, listening),
    mayBegin: reconciled,
    service: newService({ gate, performer, hub, taken, hello, homes: [paths.run, paths.users], log }),
    started: tell,
    log,
  });
  let ending = false;
  const closeAll = (): void => {
    ending = true;
    closeDoor();
    gate.close();
  };
  watchPidfd(keeper.pidfd, () => {
    if (ending) return; // who was asked to stop starts nobody
    closeAll();
    becomeKeeper({ ...start.asKeeper, exits: exits.fd, held: new Map([...living.kept(), [start.slotKept, slotFd]]) });
  });
  process.once('SIGTERM', () => {
    closeAll();
    void stopAll(world, living, paths).finally(() => process.exit(0));
  });
}

/** The ready file, for everybody to read. */
function writeReady({ run }: Paths, facts: Readonly<Record<string, unknown>>): void {
  writeWhole(join(run, 'helper.json'), JSON.stringify(facts));
  chmodSync(join(run, 'helper.json'), 0o644);
}

/** While there is no keeper, its next one takes the descriptor under the number that is chosen here. */
function keepOrWait(keeper: Keeper): (fd: number) => number {
  let number = 1 << 19;
  return (fd) => {
    try {
      return keeper.keep(fd);
    } catch {
      return ++number;
    }
  };
}

function log(line: string): void {
  write(2, `berth helper: ${line}\n`, () => undefined); // a full disk ends nothing
}
