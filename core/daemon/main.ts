// The engine's program: becomes the right user, opens his state, connects to the helper, serves his sockets until SIGTERM. Containers run on
// when it ends.
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthError } from '../base/errors.ts';
import { serveApi } from '../api/server.ts';
import { type Made, makeEngine } from '../engine/make.ts';
import { VERSION } from '../engine/version.ts';
import { greet, type Place } from '../link/session.ts';
import { serveRpc } from '../rpc/server.ts';
import { peerOf } from '../sys/socket.ts';
import { collectWhenIdle } from './idle.ts';
import { type LogFile, openLogFile, tellStarter } from './log-file.ts';
import { type Options, type Paths, pathsOf, readOptions } from './options.ts';
import { leaveRoot, type User } from './user.ts';

/** How the command line tells an engine that comes second. Source: sysexits.h. */
const EX_TEMPFAIL = 75;
const HELPER_WAIT_MS = 10_000;
/** What a client that follows events or logs gets at the end: its stream is cut after so long. */
const CLOSE_MS = 100;
/** Clients are answered at the latest after so long, whether the helper has told what runs or not. */
const SETTLE_MS = 5000;

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  process.umask(0o022);
  const uid = leaveRoot((user) => options.alone && makeHomes(pathsOf(options.stateDir, user.uid), user));
  process.umask(0o077);
  const paths = pathsOf(options.stateDir, uid);
  await homesMade(paths);
  const log = openLogFile(join(paths.state, 'engine.log'));
  process.on('uncaughtException', (error) => {
    log.write(`bug: ${error.stack ?? error.message}`);
    tellStarter(`bug: ${error.stack ?? error.message}`);
    process.exit(70);
  });
  process.on('unhandledRejection', (error) =>
    log.write(`bug: ${error instanceof Error ? error.stack : String(error)}`),
  );
  await serve({ options, paths, uid, log });
}

/** Without a helper the user's directories are made here. */
function makeHomes(paths: Paths, { uid, gid }: User): void {
  for (const path of [paths.run, paths.state]) {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    chmodSync(path, 0o700);
    chownSync(path, uid, gid);
  }
}

/** The helper makes a user's directories when it first hears of him. */
async function homesMade(paths: Paths): Promise<void> {
  const there = (): boolean =>
    [paths.run, paths.state].every((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory());
  if (there()) return;
  await greetWithin(paths.helper, HELPER_WAIT_MS);
  if (!there()) {
    throw new Error(
      `the helper made no directories for uid ${process.getuid?.()}: this user may not use it; an administrator changes that: berth admin enroll`,
    );
  }
}

async function greetWithin(place: Place, ms: number): Promise<void> {
  for (const until = Date.now() + ms; ; ) {
    try {
      await greet(place);
      return;
    } catch (error) {
      if (Date.now() > until)
        throw new Error(
          `the helper does not answer: ${error instanceof Error ? error.message : String(error)}; start it: berth system up`,
          { cause: error },
        );
      await sleep(50);
    }
  }
}

type Serving = { readonly options: Options; readonly paths: Paths; readonly uid: number; readonly log: LogFile };

async function serve({ options, paths, uid, log }: Serving): Promise<void> {
  const made = makeEngine({
    dir: paths.state,
    helper: paths.helper,
    insecureRegistries: options.insecureRegistries,
    log: log.write,
  });
  await Promise.race([made.settled, sleep(SETTLE_MS, undefined, { ref: false })]);
  const api = await serveApi({ engine: made.engine, path: join(paths.run, 'docker.sock'), uid, log: log.write });
  const peerUid = (fd: number): number => peerOf(fd).uid;
  const rpc = await serveRpc({ engine: made.engine, path: join(paths.run, 'rpc.sock'), uid, peerUid, log: log.write });
  writeReady(paths);
  collectWhenIdle();
  log.write(`engine ${VERSION} of uid ${uid} serves, pid ${process.pid}`);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => void end({ made, paths, log, close: () => Promise.all([api.close(), rpc.close()]) }));
  }
}

function writeReady(paths: Paths): void {
  const path = join(paths.run, 'engine.json');
  writeFileSync(`${path}.new`, `${JSON.stringify({ engine: process.pid, version: VERSION })}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

type Ending = {
  readonly made: Made;
  readonly paths: Paths;
  readonly log: LogFile;
  readonly close: () => Promise<unknown>;
};

async function end({ made, paths, log, close }: Ending): Promise<void> {
  log.write('engine ends; containers run on');
  await Promise.race([close(), sleep(CLOSE_MS)]);
  await made.engine.close();
  for (const name of ['docker.sock', 'rpc.sock', 'engine.json']) rmSync(join(paths.run, name), { force: true });
  log.close();
  process.exit(0);
}

main().catch((error: unknown) => {
  process.stderr.write(`berth engine: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof BerthError && error.code === 'conflict' ? EX_TEMPFAIL : 1);
});
