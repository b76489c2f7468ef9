// Which instance a command means, and where its files lie. Source: ARCHITECTURE.md, "Paths".
import { existsSync, lstatSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CliError } from './error.ts';
import type { Place } from './session.ts';

/** The uid engines run under when root starts them without sudo: nobody's in passwd, outside every range of ours and of subuid. */
export const RESERVED_UID = 0x6fff_fffe;
/** `sun_path` holds 108 bytes with the closing zero. Source: man 7 unix. */
const SOCKET_PATH_MAX = 107;

export type Asked = { readonly host: string | undefined; readonly stateDir: string | undefined };
type Env = Readonly<Record<string, string | undefined>>;

/** Finds the instance: `-H`, `--state-dir`, their variables, the system's, or the user's own. Throws CliError. */
export function findPlace(asked: Asked, env: Env, uid: number): Place {
  const host = asked.host ?? (asked.stateDir === undefined ? nonEmpty(env['BERTH_HOST']) : undefined);
  if (host !== undefined) return { stateDir: undefined, socket: readHost(host), foreign: true, engineUid: uid };
  const engineUid = uid === 0 ? sudoUid(env) : uid;
  if (asked.stateDir === '') throw new CliError('--state-dir is empty: name a directory');
  const named = asked.stateDir ?? nonEmpty(env['BERTH_STATE_DIR']);
  const given = named === undefined ? undefined : resolve(named);
  const stateDir = given ?? (uid === 0 || existsSync('/run/berth/helper.sock') ? undefined : rootlessDir(env, uid));
  const socket = join(stateDir === undefined ? '/run/berth' : join(stateDir, 'run'), String(engineUid), 'docker.sock');
  if (Buffer.byteLength(socket) > SOCKET_PATH_MAX) {
    throw new CliError(
      `state directory ${stateDir} is too deep: the socket's path ${socket} would have more than ${SOCKET_PATH_MAX} bytes; choose a shorter --state-dir`,
    );
  }
  return { stateDir, socket, foreign: false, engineUid };
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function readHost(host: string): string {
  if (host.startsWith('unix://')) return host.slice('unix://'.length);
  if (host.startsWith('/')) return host;
  throw new CliError(`unable to parse docker host ${JSON.stringify(host)}: only unix:///path/of/socket is supported`);
}

function sudoUid(env: Env): number {
  const text = env['SUDO_UID'] ?? '';
  return /^[1-9]\d{0,9}$/.test(text) ? Number(text) : RESERVED_UID;
}

/** The state of a rootless instance: beneath the home directory when it is the user's own, else in /tmp. Throws CliError when that is another's. */
export function rootlessDir(env: Env, uid: number): string {
  const home = nonEmpty(env['HOME']);
  if (home !== undefined && ownerOf(home) === uid && home.length < 60) return join(home, '.local/share/berth');
  const dir = `/tmp/berth-${uid}`;
  // Anybody may put a link there; who made it chooses where it leads.
  const owner = lstatSync(dir, { throwIfNoEntry: false })?.uid;
  if (owner !== undefined && owner !== uid)
    throw new CliError(`${dir} belongs to uid ${owner}, not to you: choose another place with --state-dir`);
  return dir;
}

function ownerOf(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true ? found.uid : undefined;
}
