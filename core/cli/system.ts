// `berth system up`, `down`, `status`, `env`: Berth's own processes.
import { setTimeout as sleep } from 'node:timers/promises';
import { type EngineStatus, makeClient } from '../client/client.ts';
import { NoServer } from '../client/error.ts';
import { canConnect } from '../client/wire.ts';
import { type Given, isOn } from './command.ts';
import { endKeeper, endProcess, readText } from './end.ts';
import { ensureRunning } from './ensure.ts';
import { CliError } from './error.ts';
import { type InstancePaths, isAlive, isComingBack, pathsOf, readReady } from './ready.ts';
import type { Place, Session } from './session.ts';

/** A helper that was killed is back within a second. */
const UP_WAIT_MS = 5000;

/** Starts what does not run; prints where the engine listens. */
export async function systemUp(session: Session): Promise<number> {
  const place = session.place();
  await ensureRunning(session);
  const status = await readStatus(place);
  session.stdout.write(
    `engine ${status.engine.pid}, helper ${status.helper.pid}, keeper ${status.keeper.pid}\nunix://${place.socket}\n`,
  );
  return 0;
}

/** Prints `export DOCKER_HOST=…`. */
export async function systemEnv(session: Session): Promise<number> {
  session.stdout.write(`export DOCKER_HOST=unix://${session.place().socket}\n`);
  return 0;
}

type ProcessStatus = { readonly running: boolean; readonly pid: number | null; readonly version: string | null };
type Status = {
  readonly engine: ProcessStatus & { readonly uid: number; readonly sockets: readonly string[] };
  readonly helper: ProcessStatus & { readonly sockets: readonly string[] };
  readonly keeper: ProcessStatus;
  readonly porter: ProcessStatus;
  readonly stateDir: string | null;
  readonly slot: number | null;
};

/** Prints what runs; the exit code is 1 when something does not. */
export async function systemStatus(session: Session, given: Given): Promise<number> {
  const status = await readStatus(session.place());
  session.stdout.write(isOn(given, 'json') ? `${JSON.stringify(status, undefined, 2)}\n` : statusText(status));
  return status.engine.running && status.helper.running && status.keeper.running ? 0 : 1;
}

async function readStatus(place: Place): Promise<Status> {
  const paths = pathsOf(place);
  const ready = readReady(paths.ready);
  const engine = await askEngine(place);
  const helperRuns = await canConnect(paths.helper);
  const of = (pid: number | undefined): ProcessStatus => ({
    running: pid !== undefined && isAlive(pid),
    pid: pid ?? null,
    version: ready?.version ?? null,
  });
  return {
    engine: {
      running: engine !== undefined,
      pid: engine?.pid ?? null,
      version: engine?.version ?? null,
      uid: place.engineUid,
      sockets: [place.socket, place.socket.replace(/docker\.sock$/, 'rpc.sock')],
    },
    helper: {
      running: helperRuns,
      pid: helperRuns ? (ready?.helper ?? null) : null,
      version: ready?.version ?? null,
      sockets: [paths.helper, paths.lane],
    },
    keeper: of(ready?.keeper),
    porter: of(ready?.porter),
    stateDir: place.stateDir ?? null,
    slot: ready?.slot ?? null,
  };
}

async function askEngine(place: Place): Promise<EngineStatus | undefined> {
  try {
    return await makeClient(place.socket).status();
  } catch (error) {
    if (error instanceof NoServer) return undefined;
    throw error;
  }
}

function statusText(status: Status): string {
  const line = (name: string, one: ProcessStatus, sockets: readonly string[]): string =>
    `${name.padEnd(8)}${(one.running ? 'running' : 'stopped').padEnd(9)}${String(one.pid ?? '-').padEnd(8)}${(one.version ?? '-').padEnd(10)}${sockets.join(' ')}`.trimEnd();
  const lines = [
    'PART    STATE    PID     VERSION   SOCKETS',
    line('engine', status.engine, status.engine.sockets),
    line('helper', status.helper, status.helper.sockets),
    line('keeper', status.keeper, []),
    line('porter', status.porter, []),
  ];
  return `${lines.join('\n')}\n`;
}

/** Stops every container, then the engine, the helper and its keeper. Without root only what is the user's own. */
export async function systemDown(session: Session): Promise<number> {
  const place = session.place();
  if (place.foreign) throw new CliError('system down: -H names an engine that somebody else started');
  const engine = await askEngine(place);
  try {
    if (engine !== undefined) {
      await stopContainers(place);
      await endEngine(place, engine.pid);
    }
  } finally {
    if (process.getuid?.() === 0 || place.stateDir !== undefined) await endHelper(pathsOf(place));
  }
  return 0;
}

/** The engine's word for its process is that of its user, who has no say over others' processes. */
async function endEngine({ engineUid, socket }: Place, pid: number): Promise<void> {
  const uid = /^Uid:\t(\d+)/m.exec(readText(`/proc/${pid}/status`))?.[1];
  if (uid !== undefined && Number(uid) !== engineUid)
    throw new CliError(
      `system down: pid ${pid}, which ${socket} names as the engine, is not of uid ${engineUid}: it is left alone`,
    );
  await endProcess('engine', pid);
}

/**
 * A helper that is asked ends its keeper, too; one whose keeper is gone is becoming the keeper, and the next one is asked. One that does not come back
 * from a crash is ended with its keeper, at once: alone each starts the other.
 */
async function endHelper(paths: InstancePaths): Promise<void> {
  for (const untilMs = Date.now() + UP_WAIT_MS; isComingBack(paths) && Date.now() < untilMs; await sleep(10)) {
    const { helper = 0, keeper = 0 } = readReady(paths.ready) ?? {};
    if (!isAlive(keeper) || !isAlive(helper) || !(await canConnect(paths.helper))) continue;
    await endProcess('helper', helper);
    break;
  }
  const { helper, keeper } = readReady(paths.ready) ?? {};
  for (const pid of [keeper, helper]) if (pid !== undefined) await endKeeper(pid);
}

async function stopContainers(place: Place): Promise<void> {
  const client = makeClient(place.socket);
  const running = await client.listContainers({});
  await Promise.allSettled(running.map((one) => client.stopContainer(one.Id, {})));
}
