// Starts what a command needs and does not find: the helper (with its keeper), then the engine. As root the system's; without root, where no helper
// answers, the same helper in a user namespace of the user's own.
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canConnect } from '../client/wire.ts';
import { endKeeper, helpersOf } from './end.ts';
import { CliError } from './error.ts';
import { type InstancePaths, isComingBack, isOwn, pathsOf, readReady } from './ready.ts';
import type { Place, Session } from './session.ts';

const HELPER_WAIT_MS = 20_000;
/** A keeper whose helper cannot start starts the next one: after so many it is no use to wait. */
const HELPERS_MAX = 3;
const ENGINE_WAIT_MS = 20_000;
/** A helper that was killed is back within a second. */
const KEEPER_WAIT_MS = 5000;
const POLL_MS = 10;
/** How a program ends that finds another one in its place. Source: sysexits.h. */
const EX_TEMPFAIL = 75;

/** Gives back when helper and engine of the session's instance answer. Throws CliError saying which does not and where its log is. */
export async function ensureRunning(session: Session): Promise<void> {
  await ensure(session, (error) => {
    throw error;
  });
}

/** The same, but an engine serves also where no helper can run; gives back why it cannot. */
export async function ensureEngine(session: Session): Promise<string | undefined> {
  let why: string | undefined;
  await ensure(session, (error) => {
    why = error.message;
  });
  return why;
}

async function ensure(session: Session, withoutHelper: (error: CliError) => void): Promise<void> {
  const place = session.place();
  if (place.foreign)
    throw new CliError(`Cannot connect to the Berth engine at unix://${place.socket}. Is the engine running?`);
  checkReachable(place);
  const paths = pathsOf(place);
  let alone = false;
  const engineRuns = await canConnect(place.socket);
  // An engine that runs waits for its helper by itself.
  if (!(await canConnect(paths.helper)) && !(engineRuns && isComingBack(paths)))
    await revive(session, paths).catch((error: unknown) => {
      if (!(error instanceof CliError)) throw error;
      withoutHelper(error);
      alone = true;
    });
  if (!engineRuns) await startEngine(session, { paths, alone });
}

/** Root may start an instance in a directory that the engine, who is somebody else, cannot enter. Throws CliError naming the directory. */
function checkReachable({ stateDir, engineUid }: Place): void {
  if (stateDir === undefined || process.getuid?.() !== 0) return;
  for (let dir = stateDir; dir !== dirname(dir); dir = dirname(dir)) {
    const found = statSync(dir, { throwIfNoEntry: false });
    if (found === undefined || (found.mode & (found.uid === engineUid ? 0o100 : 0o001)) !== 0) continue;
    throw new CliError(
      `state directory ${stateDir}: uid ${engineUid}, as whom the engine runs, cannot enter ${dir}: chmod o+x ${dir}, or choose another --state-dir`,
    );
  }
}

/** Waits for a helper that somebody else starts: `late` when it is still on its way after a while, `gone` when nobody starts it. */
async function comesBack(paths: InstancePaths): Promise<'up' | 'late' | 'gone'> {
  for (const untilMs = Date.now() + KEEPER_WAIT_MS; isComingBack(paths); await sleep(POLL_MS)) {
    if (await canConnect(paths.helper)) return 'up';
    if (Date.now() > untilMs) return 'late';
  }
  return 'gone';
}

/** Waits for a helper that somebody starts, else starts it. */
async function revive(session: Session, paths: InstancePaths): Promise<void> {
  const found = await comesBack(paths);
  if (found === 'up') return;
  if (found === 'late' && isOwn(session.place())) {
    const why = lastWords(join(paths.log, 'helper.log'));
    throw new CliError(`the helper does not come up, and its keeper tries again: ${why}`);
  }
  await startHelper(session, paths);
}

async function startHelper(session: Session, paths: InstancePaths): Promise<void> {
  const place = session.place();
  if (!isOwn(place)) {
    const whose = place.stateDir === undefined ? 'of this machine' : `of ${place.stateDir}, which is not yours,`;
    throw new CliError(
      `the helper ${whose} does not answer: start it as root with \`berth system up\`, or run your own with --state-dir DIR`,
    );
  }
  // Made first, and then looked at again: nobody who came in between is believed.
  if (place.stateDir !== undefined) mkdirSync(place.stateDir, { recursive: true });
  if (!isOwn(place))
    throw new CliError(`${place.stateDir} was made by somebody else meanwhile: choose another --state-dir`);
  const { writeDefaultPolicy } = await import('./policy-default.ts');
  writeDefaultPolicy(place);
  const log = join(makeLogs(paths.log), 'helper.log');
  await startProgram(session, {
    name: 'helper',
    log,
    args: [],
    waitMs: HELPER_WAIT_MS,
    isUp: async () => readReady(paths.ready) !== undefined && (await canConnect(paths.helper)),
  });
}

type EngineStart = { readonly paths: InstancePaths; readonly alone: boolean };

async function startEngine(session: Session, { paths, alone }: EngineStart): Promise<void> {
  const place = session.place();
  const { socket } = place;
  // The log directory of root's instance is closed to others; the helper makes this user one of his own when his first engine says hello.
  const own = join(paths.run, String(process.getuid?.()));
  const first = isOwn(place) || existsSync(own) ? undefined : mkdtempSync(join(tmpdir(), 'berth-'));
  const log = join(first ?? (isOwn(place) ? makeLogs(paths.log) : own), 'engine.log');
  const args = alone ? ['--alone'] : [];
  await startProgram(session, { name: 'engine', log, args, waitMs: ENGINE_WAIT_MS, isUp: () => canConnect(socket) });
  if (first !== undefined) rmSync(first, { recursive: true });
}

function makeLogs(dir: string): string {
  if (!existsSync(dir)) {
    mkdirSync(dir, { recursive: true });
    chmodSync(dir, 0o755);
  }
  return dir;
}

type Program = {
  readonly name: 'helper' | 'engine';
  readonly log: string;
  readonly args: readonly string[];
  readonly waitMs: number;
  readonly isUp: () => Promise<boolean>;
};

async function startProgram(session: Session, program: Program): Promise<void> {
  const { stateDir } = session.place();
  const bundle = join(session.home, `${program.name}.cjs`);
  const node = join(session.home, 'node');
  if (!existsSync(bundle))
    throw new CliError(`${bundle} is missing: build it with \`npm run build\`, or copy the whole of dist`);
  const log = openSync(program.log, 'a', 0o600);
  const args = [bundle, ...(stateDir === undefined ? [] : ['--state-dir', stateDir]), ...program.args];
  const child = spawn(existsSync(node) ? node : process.execPath, args, {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
  });
  let ended: string | undefined;
  let second = false;
  child.once('error', (error) => {
    ended = error.message;
  });
  child.once('exit', (code, signal) => {
    second = code === EX_TEMPFAIL;
    ended ??= signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`;
  });
  const deadline = Date.now() + program.waitMs;
  const helpers = new Set<number>();
  try {
    while (!(await program.isUp())) {
      // Two commands at once start two: the one that comes second ends so, and the first answers both.
      if (ended !== undefined && !second) throw new CliError(startFailure(program, ended));
      for (const pid of child.pid === undefined ? [] : helpersOf(child.pid)) helpers.add(pid);
      const hopeless = helpers.size > HELPERS_MAX;
      if (hopeless || Date.now() > deadline) {
        const why = startFailure(
          program,
          ended ?? (hopeless ? 'it ends again and again' : `it did not answer within ${program.waitMs / 1000} s`),
        );
        // A keeper starts its helper again and again: of one that never answered nobody else knows.
        if (program.name === 'helper' && ended === undefined && child.pid !== undefined) await endKeeper(child.pid);
        throw new CliError(why);
      }
      await sleep(POLL_MS);
    }
  } finally {
    child.removeAllListeners();
    child.unref();
  }
}

function startFailure(program: Program, why: string): string {
  return `the ${program.name} could not be started: ${why}: ${lastWords(program.log)}`;
}

/** The last line of a log, or why there is none. */
function lastWords(log: string): string {
  if (statfsSync(log).bavail === 0) return `no space left on device (${log})`;
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
  // A sentence may have lines of its own: it begins where a program names itself.
  const from = lines.findLastIndex((line) => line.startsWith('berth '));
  const line = lines.slice(from).join(' ').slice(0, 1000);
  return `${line || 'it said nothing'} (log: ${log})`;
}
