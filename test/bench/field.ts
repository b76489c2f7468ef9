// What the benches run on: a private instance of Berth, a private dockerd and podman's private store, each with the same busybox image.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { busyboxImage, dockerSave20 } from '../kit/image.ts';
import { type Daemon, installed, mountHugetlb, startDockerd, writeBundle } from '../kit/peers.ts';

export const IMAGE = 'bench:1';
export const QUIET = ['--network', 'none'];
/** What podman needs on a machine without CAP_SYS_RESOURCE. */
export const PODMAN_LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024'];
const root = new URL('../..', import.meta.url).pathname;

export type Field = {
  readonly dir: string;
  readonly peers: readonly string[];
  readonly berth: (...args: string[]) => string;
  readonly socket: string;
  readonly docker: Daemon | undefined;
  readonly podman: ((...args: string[]) => string) | undefined;
  /** Runs crun's bundle of the same busybox once. */
  readonly crun: ((id: string) => void) | undefined;
  readonly close: () => Promise<void>;
};

/** Runs a command to its end; throws with what it wrote to standard error. */
function run(command: string, args: readonly string[], env = process.env): string {
  const done = spawnSync(command, args, { encoding: 'utf8', env, maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: status ${done.status}: ${done.stderr}`);
  return done.stdout.trim();
}

/** Starts everything that is installed. Takes some seconds; `close` ends all of it. */
export async function openField(dir: string): Promise<Field> {
  const state = join(dir, 'b');
  mkdirSync(state, { mode: 0o755 });
  execFileSync('chmod', ['755', dir]);
  const berthBin = join(root, 'dist/berth');
  const env = { ...process.env, BERTH_STATE_DIR: state };
  const berth = (...args: string[]): string => run(berthBin, args, env);
  const archive = join(dir, 'bench.tar');
  writeFileSync(archive, dockerSave20([{ image: busyboxImage(), tags: [IMAGE] }]));
  berth('system', 'up');
  berth('load', '-i', archive);
  const socket = /unix:\/\/([^'"\s;]+)/.exec(berth('system', 'env'))?.[1] ?? '';

  const docker = installed('dockerd') ? await startDockerd(join(dir, 'docker')) : undefined;
  docker?.cli('load', '-i', archive);
  const podman = installed('podman') ? podmanIn(dir) : undefined;
  podman?.('load', '-i', archive);
  const crun = installed('crun') ? crunIn(dir, archive) : undefined;
  return {
    dir,
    peers: [docker && 'dockerd', podman && 'podman', crun && 'crun'].filter((name) => name !== undefined),
    berth,
    socket,
    docker,
    podman,
    crun,
    async close() {
      berth('system', 'down');
      await docker?.stop();
      spawnSync('umount', ['-l', join(dir, 'podman/root/overlay')]);
    },
  };
}

function podmanIn(dir: string): (...args: string[]) => string {
  mountHugetlb();
  const global = [
    '--root',
    join(dir, 'podman/root'),
    '--runroot',
    join(dir, 'podman/run'),
    '--tmpdir',
    join(dir, 'podman/tmp'),
    '--storage-driver',
    'overlay',
    '--cgroup-manager',
    'cgroupfs',
  ];
  return (...args) => run('podman', [...global, ...args]);
}

function crunIn(dir: string, _archive: string): (id: string) => void {
  mountHugetlb();
  const bundle = join(dir, 'crun');
  const rootfs = join(bundle, 'rootfs');
  mkdirSync(join(rootfs, 'bin'), { recursive: true });
  for (const folder of ['proc', 'sys', 'dev']) mkdirSync(join(rootfs, folder));
  cpSync(run('sh', ['-c', 'command -v busybox']), join(rootfs, 'bin/busybox'));
  for (const applet of ['sh', 'true', 'sleep']) execFileSync('ln', ['-s', 'busybox', join(rootfs, 'bin', applet)]);
  execFileSync('chown', ['-Rh', '805306368:805306368', rootfs]);
  writeBundle(bundle, rootfs, ['/bin/true']);
  return (id) =>
    void run('crun', ['--cgroup-manager=cgroupfs', '--root', join(dir, 'crun-state'), 'run', '-b', bundle, id]);
}

/** One request to a Docker socket; resolves with the body as text. Rejects on a status of 400 or more. */
export function api(socket: string, method: string, path: string, body?: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const sent = request(
      {
        socketPath: socket,
        agent: false, // a stream of an exec ends with its connection, which must not be used again
        method,
        path: `/v1.41${path}`,
        headers: { host: 'bench', 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      },
      (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('end', () => {
          const whole = Buffer.concat(parts).toString();
          if ((answer.statusCode ?? 500) >= 400) reject(new Error(`${method} ${path}: ${answer.statusCode} ${whole}`));
          else resolve(whole);
        });
      },
    );
    sent.on('error', reject);
    sent.end(text);
  });
}
