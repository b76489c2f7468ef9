// A private engine beside a private helper: the real programs, driven through the engine's REST socket. Killed and started again at will.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { RESERVED_UID } from '../../core/cli/place.ts';
import { type Client, type CreateAsk, makeClient, readText } from '../../core/client/client.ts';
import { type PrivateHelper, startHelper } from './helper.ts';
import { busyboxImage, dockerSave25 } from './image.ts';
import { type Need, root, userNamespaces } from './need.ts';

export type Output = { readonly out: string; readonly err: string };

export type PrivateEngine = {
  readonly helper: PrivateHelper;
  readonly client: Client;
  readonly socket: string;
  /** The user's state directory. */
  readonly state: string;
  readonly pid: () => number;
  /** SIGKILL; back when it is gone. */
  readonly kill: () => Promise<void>;
  /** Starts one; back when it answers. */
  readonly start: () => Promise<void>;
  /** Makes and starts a container of busybox; gives its id. */
  readonly run: (words: readonly string[], more?: CreateAsk & { readonly name?: string }) => Promise<string>;
  /** What a container printed, as `logs` gives it. */
  readonly logs: (id: string, query?: Readonly<Record<string, string | number | boolean>>) => Promise<Output>;
  /** The exit code, once it has ended. */
  readonly ended: (id: string) => Promise<number>;
  readonly log: () => string;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

/** Root, or a user who can have a user namespace of his own: then helper and engine run rootless. */
export const somebody: Need = {
  reason: `${root.reason}, or ${userNamespaces.reason.replace('needs ', '')}`,
  met: () => root.met() || userNamespaces.met(),
};
/** Whether this is the system's helper. */
export const asRoot = process.getuid?.() === 0;
/** Whom the engine runs as. */
export const ENGINE_UID = asRoot ? RESERVED_UID : (process.getuid?.() ?? 0);

export const IMAGE = 'bb:1';
const ANSWER_MS = 20_000;

/** Starts helper and engine with busybox loaded as `bb:1`. */
export async function startEngine(env: Readonly<Record<string, string>> = {}): Promise<PrivateEngine> {
  const helper = await startHelper(env);
  const socket = join(helper.directory, 'run', String(ENGINE_UID), 'docker.sock');
  const state = join(helper.directory, 'lib/users', String(ENGINE_UID));
  const client = makeClient(socket);
  const logFile = join(helper.directory, 'engine.out');
  const log = (): string =>
    [logFile, join(state, 'engine.log')].map((path) => (existsSync(path) ? readFileSync(path, 'utf8') : '')).join('');
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const out = openSync(logFile, 'a');
    const script = new URL('../../core/daemon/main.ts', import.meta.url).pathname;
    const { SUDO_UID: _uid, SUDO_GID: _gid, ...clean } = { ...process.env, ...env };
    child = spawn(process.execPath, [script, '--state-dir', helper.directory], {
      stdio: ['ignore', out, out],
      env: clean,
    });
    closeSync(out);
    await answers(client, child, log);
  };
  const kill = (): Promise<void> => end(child, 'SIGKILL');
  await start();
  await loadBusybox(client);
  return {
    helper,
    client,
    socket,
    state,
    pid: () => child?.pid ?? 0,
    kill,
    start,
    run: async (words, { name, ...more } = {}) => {
      const { Id } = await client.createContainer({ Image: IMAGE, Cmd: words, ...more }, { name });
      await client.startContainer(Id);
      return Id;
    },
    logs: async (id, query = {}) => demultiplex(await client.logs(id, { stdout: 1, stderr: 1, ...query })),
    ended: async (id) => (await (await client.waitContainer(id, 'not-running')).exit).StatusCode,
    log,
    [Symbol.asyncDispose]: async () => {
      await removeAll(client);
      await end(child, 'SIGTERM');
      await helper[Symbol.asyncDispose]();
      rmSync(helper.directory, { recursive: true, force: true });
    },
  };
}

async function answers(client: Client, child: ChildProcess, log: () => string): Promise<void> {
  for (let waitedMs = 0; waitedMs < ANSWER_MS; waitedMs += 10) {
    if (child.exitCode !== null) throw new Error(`the engine ended with ${child.exitCode}:\n${log()}`);
    try {
      if ((await client.status()).pid === child.pid) return;
    } catch {
      // not yet
    }
    await sleep(10);
  }
  throw new Error(`the engine does not answer:\n${log()}`);
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
}

/** Rootless, only the helper can remove what the kernel makes for an overlay (a directory of mode 0). */
async function removeAll(client: Client): Promise<void> {
  const all = await client.listContainers({ all: 1 }).catch(() => []);
  await Promise.allSettled(all.map((one) => client.removeContainer(one.Id, { force: 1 })));
}

async function loadBusybox(client: Client): Promise<void> {
  const archive = dockerSave25([{ image: busyboxImage(), tags: [IMAGE] }]);
  for await (const line of await client.load(Readable.from([archive]), {}))
    if (line.error !== undefined) throw new Error(line.error);
}

/** Splits an answer's frames by stream. */
export async function demultiplex(reply: Parameters<typeof readText>[0]): Promise<Output> {
  const pieces: Buffer[] = [];
  for await (const piece of reply.body) pieces.push(piece);
  const all = Buffer.concat(pieces);
  const streams: Record<number, Buffer[]> = { 1: [], 2: [] };
  for (let at = 0; at + 8 <= all.length; ) {
    const length = all.readUInt32BE(at + 4);
    streams[all[at] ?? 1]?.push(all.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return { out: Buffer.concat(streams[1] ?? []).toString(), err: Buffer.concat(streams[2] ?? []).toString() };
}
