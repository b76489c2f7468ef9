// A lab for attacks: a private helper, its clients as made-up uids, images with the attacker's programs in them, and short words for what every attack does.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openPath } from '../../core/sys/fd.ts';
import { O_PATH } from '../../proto/abi/fcntl.gen.ts';
import { type Launch, Propagation, Seccomp } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { Exec } from '../../proto/gen/berth/helper/v1/request.ts';
import {
  type Client,
  importTar,
  launchedOf,
  launchOf,
  newId,
  type PrivateHelper,
  processOf,
  readAll,
  startHelper,
} from './helper.ts';
import { ALL_CAPABILITIES, DEFAULT_MOUNTS } from './launcher.ts';
import { type TarItem, tarOf } from './tar.ts';

export const ADA = 41_011;
export const BOB = 41_012;

/** Compiles a program of this directory, static, for no machine but this one. */
export function compile(name: string): { readonly path: string; readonly remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), 'berth-attack-'));
  chmodSync(directory, 0o755);
  const path = join(directory, 'program');
  execFileSync('gcc', ['-O1', '-static', '-o', path, new URL(`${name}.c`, import.meta.url).pathname]);
  return { path, remove: () => rmSync(directory, { recursive: true }) };
}

export type Lab = {
  readonly helper: PrivateHelper;
  readonly ada: Client;
  readonly bob: Client;
  /** A layer of ADA's and BOB's: `/inside` (attack-inside.c), and what is added. Gives its diff id. */
  readonly layer: (items?: readonly TarItem[]) => Promise<string>;
  /** Runs `/inside` with these words to its end; what it answered to each. Options as `launch`. */
  readonly inside: (words: readonly string[], options?: Options) => Promise<string[]>;
  /** As `inside`, in a container that runs. */
  readonly beside: (container: string, words: readonly string[], options?: BesideOptions) => Promise<string[]>;
  /** A container of ADA's that stays. */
  readonly stay: (options?: Options) => Promise<{ readonly id: string; readonly pid: number; readonly block: number }>;
  readonly end: (container: string, client?: Client) => Promise<void>;
  readonly [Symbol.asyncDispose]: () => Promise<void>;
};
type Process = Parameters<typeof processOf>[1];
export type Options = {
  readonly client?: Client;
  readonly layers?: readonly string[];
  readonly change?: Partial<Launch>;
  /** What differs of the process. */
  readonly process?: Process;
  /** All capabilities, no filter, no masks. */
  readonly mighty?: boolean;
  readonly fds?: readonly number[];
};
export type BesideOptions = Pick<Options, 'process' | 'mighty'> & { readonly change?: Partial<Exec> };

/** Opens one; `gcc` must be there. */
export async function openLab(env: Readonly<Record<string, string>> = {}): Promise<Lab> {
  const program = compile('attack-inside');
  const content = readFileSync(program.path);
  program.remove();
  const helper = await startHelper(env);
  const [ada, bob] = [await helper.client(ADA), await helper.client(BOB)];
  const plain = await deliver();
  async function deliver(items: readonly TarItem[] = []): Promise<string> {
    const tmp: TarItem = { name: 'tmp/', type: '5', mode: 0o1777 };
    const all: TarItem[] = [{ name: 'inside', mode: 0o755, content }, tmp, ...items];
    const tar = tarOf(all);
    await importTar(bob, tar, helper.directory);
    return await importTar(ada, tar, helper.directory);
  }
  const launch = ({ layers = [plain], change, ...options }: Options, words: readonly string[]): Launch =>
    launchOf(layers, [], { ...meant(options, words), ...change });
  const remove = (client: Client, container: string) => client.done({ $case: 'remove', value: { container } });
  const lab: Lab = {
    helper,
    ada,
    bob,
    layer: deliver,
    async inside(words, options = {}) {
      const { client = ada, fds = [] } = options;
      const value = launch(options, words);
      const answer = await client.done({ $case: 'launch', value }, { fds, wantFds: true });
      const [out = -1, ...rest] = answer.fds;
      for (const fd of rest) closeSync(fd);
      await client.exited(value.id);
      await remove(client, value.id);
      return answersOf(await readAll(out));
    },
    async beside(container, words, { change, ...options } = {}) {
      const value = { ...execOf(container, [], meant(options, words)), ...change };
      const answer = await ada.done({ $case: 'exec', value }, { wantFds: true });
      const [out = -1, ...rest] = answer.fds;
      for (const fd of rest) closeSync(fd);
      await ada.exited(container, value.id);
      await ada.done({ $case: 'forget', value: { container, exec: value.id } });
      return answersOf(await readAll(out));
    },
    async stay(options = {}) {
      const { client = ada, fds = [] } = options;
      const value = launch(options, ['stay']);
      const { pid, block } = launchedOf(await client.done({ $case: 'launch', value }, { fds }));
      return { id: value.id, pid, block };
    },
    async end(container, client = ada) {
      await client.done({ $case: 'signal', value: { container, exec: '', signal: 9, all: true } });
      await client.exited(container);
      await remove(client, container);
    },
    [Symbol.asyncDispose]: () => helper[Symbol.asyncDispose](),
  };
  return lab;
}

function answersOf(text: string): string[] {
  return text.split('\n').filter(Boolean);
}

/** An exec with Docker's defaults. */
export function execOf(container: string, argv: readonly string[], change: Partial<Exec> = {}): Exec {
  return {
    container,
    id: newId(),
    process: processOf(argv),
    hardening: { seccomp: Seccomp.SECCOMP_DEFAULT, maskedPaths: [], readOnlyPaths: [], sysctls: [] },
    stdio: { tty: false, stdin: false, columns: 0, rows: 0 },
    ...change,
  };
}

/** The process and its hardening. */
function meant(options: Pick<Options, 'process' | 'mighty'>, words: readonly string[]): Pick<Exec, 'process'> {
  const argv = ['/inside', ...words];
  if (!options.mighty) return { process: processOf(argv, options.process) };
  const [all, none] = [ALL_CAPABILITIES, 0n];
  const capabilities = { bounding: all, effective: all, permitted: all, inheritable: none, ambient: none };
  const hardening = { seccomp: Seccomp.SECCOMP_UNCONFINED, maskedPaths: [], readOnlyPaths: [], sysctls: [] };
  return { process: processOf(argv, { capabilities, ...options.process }), ...{ hardening } };
}

/** A bind of the ticket's first descriptor. */
export function bindMount(
  target: string,
  more: Partial<Launch['mounts'][number]> & { readonly file?: boolean } = {},
): Launch['mounts'][number] {
  const { file = false, ...rest } = more;
  const value = { descriptor: 0, recursive: true, file, propagation: Propagation.PROPAGATION_PRIVATE };
  const quiet = { readOnly: false, noSuid: false, noDev: false, noExec: false };
  return { source: { $case: 'bind', value }, target, ...quiet, ...rest };
}

export const MOUNTS = DEFAULT_MOUNTS;

/** A directory of the user's; gives its path. */
export function directoryOf(helper: PrivateHelper, uid: number, name: string): string {
  const path = join(helper.directory, name);
  mkdirSync(path);
  own(uid, path);
  return path;
}

/** Makes it the user's. */
export function own(uid: number, path: string): void {
  chownSync(path, uid, uid);
}

/** Opens as the user would: with his rights, the place only. */
export function placeAs<T>(uid: number, path: string, use: (fd: number) => T): T {
  process.setegid?.(uid);
  process.seteuid?.(uid);
  try {
    return use(openPath(path));
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

/** The place alone, by whatever links lead there: no rule of our own engine's holds for an attacker's. */
export function place(path: string): number {
  return openSync(path, O_PATH);
}

export type Outside = {
  /** Of the process whose descriptors and mounts they are. */
  readonly pid: number;
  readonly directory: string;
  /** From now on whoever asks waits. */
  readonly silence: () => Promise<void>;
  readonly end: () => void;
};

/** What ADA makes in a user and mount namespace of her own: attack-outside.c, which is compiled at `program`. */
export async function openOutside(helper: PrivateHelper, program: string): Promise<Outside> {
  const directory = directoryOf(helper, ADA, 'outside');
  for (const name of ['fuse', 'merged', 'lower']) {
    mkdirSync(join(directory, name));
    chmodSync(join(directory, name), 0o777);
  }
  execFileSync('mknod', ['-m', '666', join(directory, 'device'), 'c', '10', '229']);
  const child = spawn(program, [directory], { uid: ADA, gid: ADA, stdio: ['pipe', 'pipe', 'ignore'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async (word: string): Promise<void> => {
    const { value } = await lines.next();
    if (value !== word) throw new Error(`attack-outside said ${value}, not ${word}`);
  };
  await said('ready');
  const pid = Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')[0]);
  return {
    pid,
    directory,
    async silence() {
      child.stdin.write('\n');
      await said('silent');
    },
    end() {
      process.kill(pid, 'SIGKILL');
      child.kill('SIGKILL');
    },
  };
}
