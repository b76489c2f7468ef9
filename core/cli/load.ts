// `berth load`.
import { createReadStream } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { type Given, isOn, textOf } from './command.ts';
import { CliError } from './error.ts';
import { printProgress } from './progress.ts';
import type { Session } from './session.ts';

/** Sends an archive from a file or standard input; prints the names that were loaded. */
export async function loadImages(session: Session, given: Given): Promise<number> {
  const archive = await openArchive(session, textOf(given, 'input'));
  const lines = await (await session.client()).load(archive, { quiet: isOn(given, 'quiet') || !session.stdout.isTTY });
  await printProgress(lines, session.stdout);
  return 0;
}

async function openArchive(session: Session, path: string | undefined): Promise<Readable> {
  if (path === undefined || path === '') {
    if (session.stdin.isTTY) throw new CliError('requested load from stdin, but stdin is empty');
    return session.stdin;
  }
  await access(path, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
    const why =
      error.code === 'ENOENT'
        ? 'no such file or directory'
        : error.code === 'EACCES'
          ? 'permission denied'
          : error.message;
    throw new CliError(`open ${path}: ${why}`);
  });
  return createReadStream(path, { highWaterMark: 1024 * 1024 });
}
