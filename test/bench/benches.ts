// The benches: each gives outcomes with ours first and the peer whose ratio is the target second.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import type { Phases } from '../../proto/gen/berth/helper/v1/request.ts';
import { api, type Field, IMAGE, PODMAN_LIMITS, QUIET } from './field.ts';
import { openHelper } from './helper-launch.ts';
import { compare, type Contestant, median, type Outcome, race } from './kit.ts';
import { lifeByApi, pull, scale } from './scale.ts';

type Bench = (field: Field, smoke: boolean) => Promise<Outcome[]>;

let counter = 0;

const launch: Bench = async (field, smoke) => {
  if (!field.crun) return [];
  const { crun } = field;
  const rounds = smoke ? 5 : 60;
  const helper = await openHelper();
  const phases: Phases[] = [];
  const contestants: Contestant[] = [
    {
      name: 'berth helper',
      run: async () => {
        const told = await helper.life();
        if (told !== undefined) phases.push(told);
      },
    },
    { name: 'crun run', run: () => crun(`x${counter++}`) },
    { name: 'berth, REST to removed', run: () => lifeByApi(field.socket) },
  ];
  try {
    const title = 'launch to reaped and removed by the helper, beside `crun run` of the equal bundle';
    const outcome = await race(title, contestants, { rounds, target: 0.33 });
    const parts = (['gate', 'lower', 'start', 'program'] as const).map((name) => ({
      name,
      value: median(phases.map((one) => one[name])),
    }));
    return [outcome, compare('phases of a launch inside the helper (medians, not a race)', 'µs', parts)];
  } finally {
    await helper.close();
  }
};

const runByCli: Bench = async (field, smoke) => {
  const contestants: Contestant[] = [
    { name: 'berth run --rm', run: () => void field.berth('run', '--rm', ...QUIET, IMAGE, 'true') },
  ];
  if (field.docker)
    contestants.push({
      name: 'docker run --rm',
      run: () => void field.docker?.cli('run', '--rm', ...QUIET, IMAGE, 'true'),
    });
  if (field.podman)
    contestants.push({
      name: 'podman run --rm',
      run: () => void field.podman?.('run', '--rm', ...QUIET, ...PODMAN_LIMITS, IMAGE, 'true'),
    });
  return [await race('run --rm IMAGE true, no network', contestants, { rounds: smoke ? 2 : 20, target: 0.3 })];
};

const execs: Bench = async (field, smoke) => {
  const start = (cli: (...args: string[]) => string, extra: string[] = []): string =>
    cli('run', '-d', ...QUIET, ...extra, IMAGE, 'sleep', '3600');
  const ours = start(field.berth);
  const theirs = field.docker ? start(field.docker.cli) : undefined;
  const other = field.podman ? start(field.podman, PODMAN_LIMITS) : undefined;
  const byApi = async (socket: string, id: string): Promise<void> => {
    const { Id } = JSON.parse(
      await api(socket, 'POST', `/containers/${id}/exec`, { Cmd: ['true'], AttachStdout: true }),
    ) as { Id: string };
    await api(socket, 'POST', `/exec/${Id}/start`, { Detach: false });
  };
  const rounds = smoke ? 2 : 30;
  const cli: Contestant[] = [{ name: 'berth exec', run: () => void field.berth('exec', ours, 'true') }];
  if (theirs) cli.push({ name: 'docker exec', run: () => void field.docker?.cli('exec', theirs, 'true') });
  if (other) cli.push({ name: 'podman exec', run: () => void field.podman?.('exec', other, 'true') });
  const overApi: Contestant[] = [{ name: 'berth (API)', run: () => byApi(field.socket, ours) }];
  if (theirs && field.docker)
    overApi.push({ name: 'docker (API)', run: () => byApi(field.docker?.host.slice('unix://'.length) ?? '', theirs) });
  try {
    return [
      await race('exec of true, by command line', cli, { rounds, target: 0.4 }),
      await race('exec of true, over the API', overApi, { rounds, target: 0.2 }),
    ];
  } finally {
    field.berth('rm', '-f', ours);
    if (theirs) field.docker?.cli('rm', '-f', theirs);
    if (other) field.podman?.('rm', '-f', '-t', '0', other);
  }
};

/** Starts `count` containers at once over the API, then removes them at once. */
async function crowd(socket: string, count: number): Promise<{ start: number; remove: number }> {
  const begun = performance.now();
  const ids = await Promise.all(
    Array.from({ length: count }, async () => {
      const { Id } = JSON.parse(
        await api(socket, 'POST', '/containers/create', {
          Image: IMAGE,
          Cmd: ['sleep', '3600'],
          HostConfig: { NetworkMode: 'none' },
        }),
      ) as { Id: string };
      await api(socket, 'POST', `/containers/${Id}/start`);
      return Id;
    }),
  );
  const started = performance.now();
  await Promise.all(ids.map((id) => api(socket, 'DELETE', `/containers/${id}?force=1`)));
  return { start: started - begun, remove: performance.now() - started };
}

const parallel: Bench = async (field, smoke) => {
  const count = smoke ? 5 : 50;
  const ours = await crowd(field.socket, count);
  const theirs = field.docker ? await crowd(field.docker.host.slice('unix://'.length), count) : undefined;
  const both = (key: 'start' | 'remove') => [
    { name: 'berth', value: ours[key] },
    ...(theirs ? [{ name: 'docker', value: theirs[key] }] : []),
  ];
  return [
    compare(`${count} containers started at once`, 'ms', both('start'), 0.2),
    compare(`${count} containers removed at once`, 'ms', both('remove'), 0.2),
  ];
};

/** Proportional set size in KiB of a process. Source: proc_pid_smaps_rollup(5). */
function pss(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
}

/** Sum over the processes whose command line contains one of the words. */
function pssOf(...words: string[]): number {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .reduce((sum, name) => {
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, 'latin1');
        return words.some((word) => line.includes(word)) ? sum + pss(Number(name)) : sum;
      } catch {
        return sum; // gone meanwhile
      }
    }, 0);
}

const memory: Bench = async (field, smoke) => {
  const count = smoke ? 5 : 50;
  const sleepers = (cli: (...args: string[]) => string): string[] =>
    Array.from({ length: count }, () => cli('run', '-d', ...QUIET, IMAGE, 'sleep', '3600'));
  const status = JSON.parse(field.berth('system', 'status', '--json')) as Record<
    'engine' | 'helper' | 'keeper',
    { pid: number }
  >;
  const ourSum = (): number => pss(status.engine.pid) + pss(status.helper.pid) + pss(status.keeper.pid);
  const idle = ourSum();
  const ours = sleepers(field.berth);
  const added = (ourSum() - idle) / count;
  const whole = ourSum() / count;
  field.berth('rm', '-f', ...ours);
  if (!field.docker)
    return [compare(`memory added by each of ${count} idle containers`, 'KiB', [{ name: 'berth', value: added }])];
  const words = ['dockerd', 'containerd'];
  const before = pssOf(...words);
  const theirs = sleepers(field.docker.cli);
  const after = pssOf(...words);
  field.docker.cli('rm', '-f', ...theirs);
  return [
    compare(`memory added by each of ${count} idle containers (PSS of all our processes)`, 'KiB', [
      { name: 'berth', value: Math.max(added, 1) },
      { name: 'docker', value: (after - before) / count },
    ]),
    compare(`memory of everything that runs, divided by ${count} containers`, 'KiB', [
      { name: 'berth', value: whole },
      { name: 'docker', value: after / count },
    ]),
  ];
};

/** The Debian image of the tests, made once by debootstrap, loaded and started for the first time. */
const images: Bench = async (field, smoke) => {
  if (smoke) return [];
  const { debianArchive } = await import('./debian.ts');
  const archive = debianArchive();
  if (!archive) return [];
  const first =
    (cli: (...args: string[]) => string, extra: string[] = []) =>
    (): void => {
      cli('load', '-i', archive);
      cli('run', '--rm', ...QUIET, ...extra, 'debian-bench:1', '/bin/true');
      cli('rmi', 'debian-bench:1');
      execFileSync('sync');
    };
  const contestants: Contestant[] = [{ name: 'berth load, run', run: first(field.berth) }];
  if (field.docker) contestants.push({ name: 'docker load, run', run: first(field.docker.cli) });
  if (field.podman) contestants.push({ name: 'podman load, run', run: first(field.podman, PODMAN_LIMITS) });
  return [
    await race('load of the Debian image to its first container, then removed', contestants, {
      rounds: 3,
      target: 0.25,
    }),
  ];
};

const phases: Bench = async (field) => {
  const text = field.berth('run', '--rm', ...QUIET, IMAGE, 'cat', '/proc/self/cgroup');
  if (!text) throw new Error('no output');
  const samples = Array.from({ length: 5 }, () => api(field.socket, 'GET', '/_ping'));
  await Promise.all(samples);
  return [
    await race(
      'what the parts cost alone',
      [
        { name: 'berth --version', run: () => void field.berth('--version') },
        { name: 'GET /_ping', run: () => api(field.socket, 'GET', '/_ping').then(() => undefined) },
      ],
      { rounds: 10 },
    ),
  ];
};

export const benches: Record<string, Bench> = {
  launch,
  run: runByCli,
  exec: execs,
  parallel,
  memory,
  images,
  pull,
  scale,
  phases,
};
