// A private helper beneath a temporary directory, and clients of it as made-up users. The helper is the real program, started as `berth system up` does.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openSession, type Session, type Verb } from '../../core/link/session.ts';
import type { Launch } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { Event, Exited, Launched, Result } from '../../proto/gen/berth/helper/v1/request.ts';
import { type KeyFile, newKeyFile, readKeyFile } from '../../proto/sign/key.ts';
import { planOf, processOf } from './launcher.ts';

export type Pids = { readonly helper: number; readonly keeper: number; readonly porter: number };
export type PrivateHelper = {
  readonly directory: string;
  readonly slot: () => number;
  readonly pids: () => Pids;
  /** A client connected as this uid; each uid has one key. */
  readonly client: (uid?: number) => Promise<Client>;
  /** Waits until a helper answers that is not this one. */
  readonly another: (than: number) => Promise<void>;
  readonly log: () => string;
  /** `berth system down`; the directory stays. */
  readonly down: () => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};
export type Answered = { readonly result: Result; readonly fds: number[] };
export type Client = {
  readonly session: Session;
  readonly events: Event[];
  readonly ask: (
    verb: Verb,
    more?: { fds?: readonly number[]; dryRun?: boolean; wantFds?: boolean },
  ) => Promise<Answered>;
  /** As `ask`, but throws what was refused or failed. */
  readonly done: (verb: Verb, more?: { fds?: readonly number[]; wantFds?: boolean }) => Promise<Answered>;
  /** The end of a container or exec, once it is told. */
  readonly exited: (container: string, exec?: string) => Promise<Exited>;
  readonly close: () => void;
};

const READY_MS = 20_000;
const keys = new Map<string, KeyFile>();

/** Starts one; `env` is added to the environment; `directory` is that of one whose processes are gone; `uid` runs it rootless. */
export async function startHelper(
  env: Readonly<Record<string, string>> = {},
  directory = newDirectory(),
  uid = 0,
): Promise<PrivateHelper> {
  rmSync(join(directory, 'run/helper.json'), { force: true });
  const logFile = join(directory, 'helper.log');
  const log = openSync(logFile, 'a');
  const script = new URL('../../helper/serve/main.ts', import.meta.url).pathname;
  if (uid !== 0) chownSync(directory, uid, uid);
  const child = spawn(process.execPath, [script, '--state-dir', directory], {
    stdio: ['ignore', log, log],
    env: { ...process.env, ...env },
    detached: true,
    ...(uid === 0 ? {} : { uid, gid: uid }),
  });
  closeSync(log);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const ready = (): Pids & { slot: number } => JSON.parse(readFileSync(join(directory, 'run/helper.json'), 'utf8'));
  const another = async (than: number): Promise<void> => {
    for (let waitedMs = 0; waitedMs < READY_MS; waitedMs += 20) {
      if (existsSync(join(directory, 'run/helper.json')) && isServing(ready(), than)) return;
      if (child.exitCode !== null && than === 0) break;
      await sleep(20);
    }
    throw new Error(`no helper in ${directory} within ${READY_MS} ms:\n${readFileSync(logFile, 'utf8')}`);
  };
  await another(0);
  const clients: Client[] = [];
  const down = async (): Promise<void> => {
    for (const client of clients.splice(0)) client.close();
    const { helper, keeper } = ready();
    process.kill(helper, 'SIGTERM');
    for (let waitedMs = 0; waitedMs < READY_MS && (isAlive(helper) || isAlive(keeper)); waitedMs += 10) await sleep(10);
    if (isAlive(helper) || isAlive(keeper))
      throw new Error(`the helper did not end:\n${readFileSync(logFile, 'utf8')}`);
    if (child.pid === keeper) await ended;
  };
  return {
    directory,
    slot: () => ready().slot,
    pids: ready,
    async client(uid = 0) {
      const key = keys.get(`${directory} ${uid}`) ?? makeKey();
      keys.set(`${directory} ${uid}`, key);
      const client = await connect(directory, uid, key);
      clients.push(client);
      return client;
    },
    another,
    log: () => readFileSync(logFile, 'utf8'),
    down,
    async [Symbol.asyncDispose]() {
      if (existsSync(join(directory, 'run/helper.json'))) await down();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Whether another helper than this one serves: it tells its porter last. */
function isServing({ helper, porter }: Partial<Pids>, than: number): boolean {
  return helper !== undefined && helper !== than && porter !== undefined && isAlive(helper);
}

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'berth-helper-'));
  chmodSync(directory, 0o755);
  return directory;
}

async function connect(directory: string, uid: number, key: KeyFile): Promise<Client> {
  const session = await openAs(uid, () =>
    openSession({ socket: join(directory, 'run/helper.sock'), lane: join(directory, 'run/lane.sock') }, key),
  );
  const events: Event[] = [];
  const told = new EventEmitter();
  told.setMaxListeners(0);
  const ask: Client['ask'] = (verb, more = {}) =>
    session.ask({ verb, fds: more.fds ?? [], wantFds: more.wantFds ?? false, dryRun: more.dryRun ?? false });
  const exits = (): Exited[] =>
    events.flatMap(({ event }) => {
      if (event?.$case === 'exited') return [event.value];
      return event?.$case === 'snapshot' && event.value.exited !== undefined ? [event.value.exited] : [];
    });
  // The first request enrols the key; a watch needs no more than that.
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no Ready within 5 s')), 5000);
    session.watch(
      (event) => {
        events.push(event);
        told.emit('event');
        if (event.event?.$case !== 'ready') return;
        clearTimeout(late);
        resolve();
      },
      (problem) => reject(new Error(problem)),
    );
  });
  return {
    session,
    events,
    ask,
    async done(verb, more) {
      const answer = await ask(verb, more);
      const { allowed, reasons, outcome } = answer.result;
      if (!allowed) throw new Error(`refused: ${JSON.stringify(reasons)}`);
      if (outcome?.$case === 'failure')
        throw new Error(
          `failed: ${outcome.value.step}: ${outcome.value.detail} (${outcome.value.call} ${outcome.value.errno})`,
        );
      return answer;
    },
    async exited(container, exec = '') {
      const signal = AbortSignal.timeout(15_000);
      for (;;) {
        const found = exits().find((one) => one.container === container && one.exec === exec);
        if (found !== undefined) return found;
        await once(told, 'event', { signal }).catch((cause: unknown) => {
          throw new Error(`no end of ${exec || container} was told within 15 s`, { cause });
        });
      }
    },
    close: session.close,
  };
}

function makeKey(): KeyFile {
  const key = readKeyFile(newKeyFile());
  if (key === undefined) throw new Error('a new key cannot be read');
  return key;
}

/** Makes connections as another user: the kernel notes the effective ids of the moment. */
async function openAs<T>(uid: number, open: () => Promise<T>): Promise<T> {
  if (uid === 0) return await open();
  process.setegid?.(uid);
  process.seteuid?.(uid);
  try {
    return await open();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** 64 random hexadecimal digits. */
export function newId(): string {
  return randomBytes(32).toString('hex');
}

/** A launch of these layers (topmost first) as `docker run` asks for it. */
export function launchOf(layers: readonly string[], run: readonly string[], change: Partial<Launch> = {}): Launch {
  const source = { $case: 'image' as const, value: { layers } };
  return { ...planOf({ run }), id: newId(), root: { source, readOnly: false }, ...change };
}

export { processOf };

/** What the outcome of a launch or exec tells. */
export function launchedOf({ result }: Answered): Launched {
  if (result.outcome?.$case !== 'launched')
    throw new Error(
      `not launched: ${JSON.stringify(result, (_, value) => (typeof value === 'bigint' ? String(value) : value))}`,
    );
  return result.outcome.value;
}

/** Imports a layer from the bytes of its tar; gives its diff id. */
export async function importTar(client: Client, tar: Uint8Array, scratch: string): Promise<string> {
  const { createHash } = await import('node:crypto');
  const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
  const path = join(scratch, `${diffId.slice(7, 23)}.tar`);
  writeFileSync(path, tar);
  const fd = openSync(path, 'r');
  try {
    await client.done({ $case: 'importLayer', value: { diffId, sizeBytesMax: 1n << 32n } }, { fds: [fd] });
  } finally {
    closeSync(fd);
    rmSync(path);
  }
  return diffId;
}

/** All that can be read from a descriptor until its end; closes it. */
export async function readAll(fd: number): Promise<string> {
  const { Socket } = await import('node:net');
  const chunks: Buffer[] = [];
  for await (const chunk of new Socket({ fd, readable: true, writable: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** What waits in a pipe; empty where nothing does. Reads through a descriptor of its own, which does not wait. */
export function readNow(pipe: number): string {
  const fd = openSync(`/proc/self/fd/${pipe}`, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return readTerminal(fd);
  } finally {
    closeSync(fd);
  }
}

/** One read; empty where it fails (a terminal whose other end is closed). */
export function readTerminal(fd: number): string {
  const bytes = Buffer.alloc(65_536);
  try {
    return bytes.toString('utf8', 0, readSync(fd, bytes));
  } catch {
    return '';
  }
}

/** Numbers and targets of a process's open descriptors. */
export function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return []; // the one that was reading the directory
    }
  });
}
