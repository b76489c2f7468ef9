// A private instance of Berth as a user has it: started by `berth system up`, driven by `berth`, beneath a temporary directory; and what it has
// in the kernel and on disk, to compare before and after. The programs are a copy of dist/ there, so that a build meanwhile changes nothing.
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { RESERVED_UID } from '../../core/cli/place.ts';
import { descriptorsOf } from './helper.ts';
import { busyboxImage, dockerSave25 } from './image.ts';
import type { Need } from './need.ts';

export type Part = 'engine' | 'helper' | 'keeper' | 'porter';
export type Ran = { readonly code: number; readonly out: string; readonly err: string };
export type RunMore = {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** Whose command it is; the instance's owner unless said otherwise. */
  readonly uid?: number;
  readonly limitMs?: number;
  readonly cwd?: string;
  /** A command that starts it: `prlimit`, `script`, … */
  readonly through?: readonly string[];
};
/** A command under way. */
export type Running = {
  readonly pid: number;
  readonly ended: Promise<Ran>;
  readonly kill: (signal: NodeJS.Signals) => void;
};

/** What an instance has in the kernel and on disk. Numbers that differ from one start to the next (inodes, pids, ports) are left out. */
export type Leftovers = {
  readonly mounts: readonly string[];
  readonly cgroups: readonly string[];
  /** Of containers, execs and workers; and zombies that keeper or helper have not waited for. */
  readonly processes: readonly string[];
  readonly keeper: readonly string[];
  readonly helper: readonly string[];
  readonly porter: readonly string[];
  /** Names beneath the directories where things of containers and half-made things lie. */
  readonly directories: readonly string[];
};

export type Instance = {
  readonly directory: string;
  /** The command, for programs that start it themselves. */
  readonly berth: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly slot: () => number;
  /** `berth …` to its end. */
  readonly run: (words: readonly string[], more?: RunMore) => Promise<Ran>;
  /** As `run`, but gives what it printed, and throws where the code is not 0. */
  readonly ok: (words: readonly string[], more?: RunMore) => Promise<string>;
  readonly start: (words: readonly string[], more?: RunMore) => Running;
  readonly pids: (uid?: number) => Readonly<Record<Part, number>>;
  /** SIGKILL to all of them at once; back when they are gone. One that does not run is passed over. */
  readonly kill: (parts: readonly Part[], uid?: number) => Promise<void>;
  readonly leftovers: () => Leftovers;
  /** Logs of engine and helper, for a failure. */
  readonly log: () => string;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};

const root = new URL('../..', import.meta.url).pathname;
const dist = process.env['BERTH_DIST'] ?? join(root, 'dist');
/** An image of busybox, loaded by `loadBusybox`. */
export const IMAGE = 'bb:1';
const LIMIT_MS = 60_000;

export const built: Need = { reason: 'needs dist/berth (npm run build)', met: () => existsSync(join(dist, 'berth')) };

export type InstanceMore = {
  readonly directory?: string;
  /** Where the copy of dist/ is; beneath `directory` otherwise. */
  readonly programs?: string;
  readonly env?: Readonly<Record<string, string>>;
};

/** Starts one beneath `directory` (a new one otherwise). */
export async function startInstance(more: InstanceMore = {}): Promise<Instance> {
  const own = more.directory === undefined;
  const directory = more.directory ?? mkdtempSync(join(tmpdir(), 'berth-i-'));
  chmodSync(directory, 0o755);
  const programs = more.programs ?? join(directory, 'dist');
  if (!existsSync(programs)) copyPrograms(programs);
  const instance = makeInstance({ directory, programs }, more.env ?? {});
  await instance.ok(['system', 'up']);
  return {
    ...instance,
    [Symbol.asyncDispose]: async () => {
      await instance[Symbol.asyncDispose]();
      if (own) removeAll(directory);
    },
  };
}

/** Loads busybox as `bb:1`, for the user of this uid. */
export async function loadBusybox(instance: Instance, more: RunMore = {}): Promise<void> {
  await instance.ok(['load'], { ...more, input: dockerSave25([{ image: busyboxImage(), tags: [IMAGE] }]) });
}

/** Hard links where they can be: node alone has a hundred megabytes. */
function copyPrograms(to: string): void {
  mkdirSync(to, { mode: 0o755 });
  for (const entry of readdirSync(dist, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    try {
      linkSync(join(dist, entry.name), join(to, entry.name));
    } catch {
      copyFileSync(join(dist, entry.name), join(to, entry.name)); // another file system
    }
  }
}

/** Layers are immutable until an instance was stopped in an orderly way: after a test that failed they are made mutable here. */
function removeAll(directory: string): void {
  try {
    rmSync(directory, { recursive: true, force: true });
  } catch {
    execFileSync('chattr', ['-R', '-f', '-i', join(directory, 'lib/helper/layers')], { stdio: 'ignore' });
    rmSync(directory, { recursive: true, force: true });
  }
}

type Places = { readonly directory: string; readonly programs: string };

function makeInstance({ directory, programs }: Places, extra: Readonly<Record<string, string>>): Instance {
  const berth = [join(programs, 'node'), join(programs, 'berth')];
  const { SUDO_UID: _uid, SUDO_GID: _gid, BERTH_HOST: _host, ...inherited } = process.env;
  const env = { ...inherited, BERTH_STATE_DIR: directory, ...extra };
  const start = (words: readonly string[], more?: RunMore): Running =>
    startCommand([...(more?.through ?? []), ...berth, ...words], env, more);
  const run = (words: readonly string[], more?: RunMore): Promise<Ran> => start(words, more).ended;
  const ready = (): { helper: number; keeper: number; porter: number; slot: number } =>
    JSON.parse(readFileSync(join(directory, 'run/helper.json'), 'utf8'));
  const pids = (uid = ownerUid()): Record<Part, number> => {
    const path = join(directory, 'run', String(uid), 'engine.json');
    const engine = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { engine: number }).engine : 0;
    const { helper, keeper, porter } = ready();
    return { engine, helper, keeper, porter };
  };
  const log = (): string =>
    ['log/helper.log', 'log/engine.log', `lib/users/${ownerUid()}/engine.log`]
      .map((name) => join(directory, name))
      .map((path) => (existsSync(path) ? `${path}:\n${readFileSync(path, 'utf8').slice(-4000)}` : ''))
      .join('\n');
  const ok = async (words: readonly string[], more?: RunMore): Promise<string> => {
    const { code, out, err } = await run(words, more);
    if (code !== 0) throw new Error(`berth ${words.join(' ')}: ${code}: ${err}${out}\n${log()}`);
    return out.trimEnd();
  };
  return {
    directory,
    berth,
    env,
    slot: () => ready().slot,
    run,
    ok,
    start,
    pids,
    kill: async (parts, uid) => {
      const all = pids(uid);
      const victims = parts.map((part) => all[part]).filter((pid) => pid > 0 && isAlive(pid));
      for (const pid of victims) process.kill(pid, 'SIGKILL');
      for (let waitedMs = 0; victims.some(isAlive) && waitedMs < 5000; waitedMs++) await sleep(1);
    },
    leftovers: () => leftoversOf(directory, ready()),
    log,
    [Symbol.asyncDispose]: async () => {
      const { code, err } = await run(['system', 'down']);
      if (code !== 0) throw new Error(`berth system down: ${code}: ${err}\n${log()}`);
    },
  };
}

function ownerUid(): number {
  const uid = process.getuid?.() ?? 0;
  return uid === 0 ? RESERVED_UID : uid;
}

function startCommand(
  command: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  more: RunMore = {},
): Running {
  const [file = '', ...args] = command;
  const { uid, input, limitMs = LIMIT_MS } = more;
  const child = spawn(file, args, {
    env: { ...env, ...(uid === undefined ? {} : { HOME: '/nonexistent' }), ...more.env },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    cwd: more.cwd ?? '/',
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const { stdin, stdout, stderr } = child;
  if (input !== undefined && stdin !== null) {
    stdin.on('error', () => undefined); // one that ends before it has read everything
    Readable.from([Buffer.from(input)]).pipe(stdin);
  }
  const read = (from: Readable | null): { text: () => string } => {
    const pieces: Buffer[] = [];
    from?.on('data', (piece: Buffer) => pieces.push(piece));
    return { text: () => Buffer.concat(pieces).toString('utf8') };
  };
  const [out, err] = [read(stdout), read(stderr)];
  const late = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const ended = new Promise<Ran>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(late);
      resolve({ code: code ?? 1000, out: out.text(), err: signal === null ? err.text() : `${err.text()}(${signal})` });
    });
  });
  return { pid: child.pid ?? 0, ended, kill: (signal) => void child.kill(signal) };
}

/**
 * Whether it runs: a process that only waits to be waited for does not, once all its threads are gone (until then its sockets take connections). Source:
 * man 5 proc_pid_stat, field 3.
 */
export function isAlive(pid: number): boolean {
  try {
    const waits = /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
    return !waits || readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return false;
  }
}

function leftoversOf(
  directory: string,
  ready: { helper: number; keeper: number; porter: number; slot: number },
): Leftovers {
  const { helper, keeper, porter, slot } = ready;
  return {
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(` ${directory}/`))
      .sort(),
    cgroups: cgroupsOf(slot),
    processes: processesOf(slot, [helper, keeper]),
    keeper: kindsOf(keeper),
    helper: kindsOf(helper),
    porter: kindsOf(porter),
    directories: directoriesOf(directory),
  };
}

function cgroupsOf(slot: number): string[] {
  return readdirSync('/sys/fs/cgroup').flatMap((hierarchy) => {
    const parent = join('/sys/fs/cgroup', hierarchy, `berth-${slot}`);
    if (!existsSync(parent)) return [];
    const entries = readdirSync(parent, { withFileTypes: true, recursive: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  });
}

/** The uids of a slot's blocks. Source: ARCHITECTURE.md, "Slots". */
export function uidsOf(slot: number): readonly [first: number, end: number] {
  const first = 0x74000000 + (slot - 1) * 0x800000;
  return [first, first + 0x800000];
}

function processesOf(slot: number, ours: readonly number[]): string[] {
  const [first, end] = uidsOf(slot);
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const status = readFileSync(`/proc/${name}/status`, 'utf8');
      const field = (key: string): string => new RegExp(`^${key}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '';
      const uid = Number(field('Uid'));
      const isZombie = field('State') === 'Z';
      const isContained = uid >= first && uid < end && !isZombie;
      return isContained || (isZombie && ours.includes(Number(field('PPid')))) ? [field('Name')] : [];
    } catch {
      return []; // it has ended
    }
  });
}

/** Kinds of open descriptors, sorted; none of a process that has ended. */
function kindsOf(pid: number): string[] {
  return (isAlive(pid) ? descriptorsOf(pid) : [])
    .map((link) =>
      link
        .replace(/:\[\d+\]$/, '')
        .replace(/ \(deleted\)$/, '')
        .replace(/^\/proc\/\d+\//, '/proc/PID/')
        .replace(/\d+\.jsonl$/, 'N.jsonl'),
    )
    .sort();
}

function directoriesOf(directory: string): string[] {
  const names = ['containers', 'tmp', 'layers', 'images'].map((name) => join('lib/helper', name));
  const users = join(directory, 'lib/users');
  for (const uid of existsSync(users) ? readdirSync(users) : [])
    names.push(join('lib/users', uid, 'logs'), join('lib/users', uid, 'spool'));
  return names.flatMap((name) => {
    const path = join(directory, name);
    return existsSync(path) ? readdirSync(path).map((entry) => join(name, entry)) : [];
  });
}

/** Waits until what the instance has is what it had; gives the differences that remain, none where all is well. */
export async function settled(instance: Instance, before: Leftovers, limitMs = 5000): Promise<string[]> {
  for (let waitedMs = 0; ; waitedMs += 50) {
    const differences = differencesOf(before, instance.leftovers());
    if (differences.length === 0 || waitedMs >= limitMs) return differences.slice(0, 20);
    await sleep(50);
  }
}

function differencesOf(before: Leftovers, now: Leftovers): string[] {
  return (Object.keys(before) as (keyof Leftovers)[]).flatMap((key) => {
    const rest = [...before[key]];
    const added = now[key].filter((one) => {
      const at = rest.indexOf(one);
      if (at >= 0) rest.splice(at, 1);
      return at < 0;
    });
    return [...added.map((one) => `${key}: + ${one}`), ...rest.map((one) => `${key}: - ${one}`)];
  });
}

/** Writes a file that anybody may read; gives its path. */
export function publicFile(directory: string, name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content, { mode: 0o644 });
  chmodSync(path, 0o644);
  return path;
}
