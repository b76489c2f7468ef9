// `berth key …`: a user's signing key. The engine makes one by itself at its first start; these are for those who want to do it first, or anew.
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { keyId } from '../../proto/sign/envelope.ts';
import { newKeyFile, readKeyFile } from '../../proto/sign/key.ts';
import type { Given } from './command.ts';
import { CliError } from './error.ts';
import { readNamed, reason } from './policy-files.ts';
import type { Place, Session } from './session.ts';

/** Where the engine of this place keeps its key. Source: ARCHITECTURE.md, "Paths". */
function keyPathOf({ stateDir, engineUid }: Place): string {
  const lib = stateDir === undefined ? '/var/lib/berth' : join(stateDir, 'lib');
  return join(lib, 'users', String(engineUid), 'key.pem');
}

/** `berth key new [FILE]`: never over one that is there. */
export async function newKey(session: Session, given: Given): Promise<number> {
  const path = given.args[0] ?? keyPathOf(session.place());
  const text = newKeyFile();
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const fd = openSync(path, 'wx', 0o600);
    writeSync(fd, text);
    fsyncSync(fd);
    closeSync(fd);
  } catch (error) {
    const there = (error as NodeJS.ErrnoException).code === 'EEXIST';
    throw new CliError(
      `${path}: ${there ? 'is there already: remove it first, its owner has to be enrolled anew then' : reason(error)}`,
    );
  }
  session.stdout.write(keyText(path, text));
  return 0;
}

/** `berth key show [FILE]`. */
export async function showKey(session: Session, given: Given): Promise<number> {
  const path = given.args[0] ?? keyPathOf(session.place());
  session.stdout.write(keyText(path, readNamed(path)));
  return 0;
}

function keyText(path: string, text: string): string {
  const key = readKeyFile(text);
  if (key === undefined) throw new CliError(`${path}: holds no Ed25519 key`);
  return `file    ${path}\nkey id  ${keyId(key.publicKey)}\npublic  ${key.publicKey.toString('hex')}\n`;
}
