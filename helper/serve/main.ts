// The helper's program. Started by `berth system up` (or by hand) it becomes the keeper, which starts it again with --kept: that one is the helper.
import { lstatSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { CLONE_NEWNS, CLONE_NEWUSER } from '../../proto/abi/sched.gen.ts';
import { becomeKeeper } from '../launch/keeper.ts';
import { asFailed } from '../ops/failed.ts';
import { makeDirectory } from '../ops/files.ts';
import { openExits } from '../watch/exits.ts';
import { runHelper } from './helper.ts';
import { keptArguments, type Options, readOptions } from './options.ts';
import { checkNamespaces, enterUserNamespace, outsideIds } from './rootless.ts';
import { InUse, lockSlot } from './slot.ts';

/** Under this number the keeper keeps the slot's lock. */
const SLOT_KEPT = 1024;

/** Makes the instance's directories, takes its slot and becomes the keeper. */
function bootstrap(options: Options): never {
  const { paths } = options;
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  checkNamespaces(uid === 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS);
  if (uid !== 0) enterUserNamespace(uid, gid);
  const rootless = outsideIds() !== undefined;
  if (options.stateDir !== undefined && !rootless) checkOwners(options.stateDir);
  for (const path of [paths.run, paths.users, paths.etc]) makeDirectory(path, 0o755);
  for (const path of [paths.helper, paths.audit]) makeDirectory(path);
  const { fd } = lockSlot(paths, { slot: options.slot, rootless, isSystem: options.stateDir === undefined });
  rmSync(`${paths.run}/helper.json`, { force: true }); // of one that was killed
  return becomeKeeper({
    ...asKeeper(options),
    exits: openExits(`${paths.helper}/exits`).fd,
    held: new Map([[SLOT_KEPT, fd]]),
  });
}

/** Root writes there by path: whoever could rename or replace a directory on the way would choose where. Throws with one line naming it. */
function checkOwners(stateDir: string): void {
  for (let path = stateDir; ; path = dirname(path)) {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    const safe =
      stat === undefined ||
      (stat.uid === 0 && ((stat.mode & 0o022) === 0 || (path !== stateDir && (stat.mode & 0o1000) !== 0)));
    if (!safe || stat?.isSymbolicLink())
      throw new Error(`--state-dir ${stateDir}: ${path} must be a directory of root's that nobody else can write to`);
    if (path === '/') return;
  }
}

function asKeeper(options: Options) {
  return {
    file: process.execPath,
    argv: [process.execPath, ...process.execArgv, process.argv[1] ?? '', ...keptArguments(options)],
    env: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
  };
}

async function main(): Promise<void> {
  try {
    const options = readOptions(process.argv.slice(2));
    if (!options.kept) bootstrap(options);
    await runHelper(options, { slotKept: SLOT_KEPT, asKeeper: asKeeper(options) });
  } catch (error) {
    const { step, message } = asFailed('', error);
    process.stderr.write(`berth helper: ${step === '' ? '' : `${step}: `}${message}\n`);
    process.exitCode = error instanceof InUse ? 75 : 1; // EX_TEMPFAIL of sysexits.h: the command line knows by it who comes second
  }
}

void main();
