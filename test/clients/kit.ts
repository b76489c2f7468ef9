// A whole instance as users have it: the built programs, `berth system up` in a state directory of its own, busybox loaded as bb:1.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxImage, dockerSave20 } from '../kit/image.ts';

export type Ran = { readonly code: number; readonly out: string; readonly err: string };
export type Instance = {
  readonly dir: string;
  /** `unix://…`, for DOCKER_HOST. */
  readonly host: string;
  readonly berthPath: string;
  /** A directory that containers may bind: outside of the state directory. */
  readonly shared: string;
  readonly archive: string;
  readonly berth: (words: readonly string[], stdin?: string) => Ran;
  readonly [Symbol.dispose]: () => void;
};

const root = new URL('../..', import.meta.url).pathname;

/** Runs a program to its end, at most a minute. */
export function runProgram(
  program: string,
  words: readonly string[],
  more: { env: NodeJS.ProcessEnv; stdin?: string | undefined },
): Ran {
  const done = spawnSync(program, words, { env: more.env, input: more.stdin ?? '', encoding: 'utf8', timeout: 60_000 });
  return {
    code: done.status ?? -1,
    out: done.stdout,
    err: done.error === undefined ? done.stderr : String(done.error),
  };
}

/** Builds what is out of date and starts an instance. Throws with what it printed when it does not start. */
export function startInstance(): Instance {
  const built = spawnSync(process.execPath, ['.ci/build.mjs'], { cwd: root, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`build: ${built.stdout}${built.stderr}`);
  const berthPath = join(root, 'dist/berth');
  const dir = mkdtempSync(join(tmpdir(), 'berth-c-'));
  const state = join(dir, 'state');
  const shared = join(dir, 'shared');
  for (const path of [state, shared]) mkdirSync(path);
  for (const path of [dir, state]) chmodSync(path, 0o755);
  chmodSync(shared, 0o777);
  const archive = join(dir, 'bb.tar');
  writeFileSync(archive, dockerSave20([{ image: busyboxImage({ Cmd: ['sh'] }), tags: ['bb:1'] }]));
  const { SUDO_UID: _uid, SUDO_GID: _gid, BERTH_HOST: _host, ...clean } = process.env;
  const env = { ...clean, BERTH_STATE_DIR: state, DOCKER_CONFIG: join(dir, 'none') };
  const berth = (words: readonly string[], stdin?: string): Ran => runProgram(berthPath, words, { env, stdin });
  const must = (...words: string[]): Ran => {
    const done = berth(words);
    if (done.code !== 0) throw new Error(`berth ${words.join(' ')}: ${done.err}${logs(state)}`);
    return done;
  };
  must('system', 'up');
  must('load', '-i', archive);
  const host = must('system', 'env').out.trim().replace('export DOCKER_HOST=', '');
  return {
    dir,
    host,
    berthPath,
    shared,
    archive,
    berth,
    [Symbol.dispose]: () => {
      must('system', 'down');
      rmSync(dir, { recursive: true });
    },
  };
}

function logs(state: string): string {
  return ['helper', 'engine']
    .map((name) => {
      try {
        return `\n${name}: ${readFileSync(join(state, 'log', `${name}.log`), 'utf8').slice(-2000)}`;
      } catch {
        return ''; // it never got as far as a log
      }
    })
    .join('');
}
