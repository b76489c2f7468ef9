// The unmodified docker CLI against Berth: one list of command lines, run by `berth`, by docker 28 (and whatever other docker is installed) against
// Berth, and by docker against a private dockerd. Standard output, standard error and exit code are compared, times and ids made equal first.
import { execFileSync } from 'node:child_process';
import { chownSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RESERVED_UID } from '../../core/cli/place.ts';
import { busybox, root, suite, tool } from '../kit/need.ts';
import { type Daemon, startDockerd } from '../kit/peers.ts';
import { type Instance, type Ran, runProgram, startInstance } from './kit.ts';

type Step = {
  readonly line: string;
  readonly stdin?: string;
  /** Why dockerd's answer may differ from ours; what clients print about ours is compared all the same. */
  readonly differs?: string;
  /** Why an older client may print something else. */
  readonly newer?: string;
};

const step = (line: string, more: Omit<Step, 'line'> = {}): Step => ({ line, ...more });
const NETWORK = "Docker's default network is a bridge, ours is none until there are networks";
const WORDS = 'our sentence says more';

/** SHARED stands for a directory of the host. One word per space; `_` within a word is a space. */
const STEPS: readonly Step[] = [
  step('run --rm --net none bb:1 echo hi'),
  step('run --rm --net none bb:1 sh -c exit_3'),
  step('run --name a1 --net none bb:1 sh -c echo_out;exit_3'),
  step('run --rm -i --net none bb:1 cat', { stdin: 'typed\nlines' }),
  step('run --rm -t --net none bb:1 echo hi'),
  step('run -it --net none bb:1 sh'),
  step('ps -a --format {{.Names}}|{{.Image}}|{{.Command}}|{{.Status}}|{{.State}}|{{.Ports}}'),
  step('ps -aq --no-trunc'),
  step('ps --format {{.Foo}}'),
  step('ps -a --format table_{{.Names}}\\t{{.Image}}'),
  step('container ls -a --filter name=a1 --format {{.Names}}'),
  step('ps -a --filter status=exited --filter exited=3 --format {{.Names}}'),
  step('ps --filter bad'),
  step('inspect -f {{.State}} a1'),
  step('inspect -f {{.Config.Labels.zzz}} a1'),
  step('inspect -f {{.HostConfig.PidsLimit}}_{{.HostConfig.MemorySwappiness}} a1'),
  step('inspect -f x _'),
  step('inspect --type foo a1'),
  step('ps -aq --format {{.Names}} --filter name=a1', { newer: '-q wins since 23' }),
  step('ps -l -n 1 --format {{.Names}}'),
  step('ps -a --filter name=a1 --filter is-task=false --format {{.Names}}'),
  step('ps --filter exited=x', { differs: WORDS }),
  step('ps --filter health=x', { differs: WORDS }),
  step('stop _'),
  step('logs a1'),
  step('logs --tail 0 a1'),
  step('inspect -f {{.State.ExitCode}}_{{.Name}}_{{json_.Config.Cmd}}_{{.State.Running}} a1'),
  step('inspect -f {{.Foo}} a1'),
  step('inspect a1x'),
  step('inspect -f {{.Id}} a1 a1x'),
  step('wait a1'),
  step('kill a1', { differs: WORDS }),
  step('start a1'),
  step('wait a1'),
  step('start -a a1'),
  step('rename a1 a!b'),
  step('rename a1 a1'),
  step('rename a1 _'),
  step('rename gone x'),
  step('rename a1 a2'),
  step('rm a2'),
  step('rm a2'),
  step('rm -f a2'),
  step('run --name bad --net none bb:1 nope', { differs: WORDS }),
  step('run --name bad --net none bb:1 true', { differs: 'capital letters as in newer moby' }),
  step('rm bad'),
  step('run --rm --net none bb:1 /etc/passwd', { differs: WORDS }),
  step('run --nope bb:1'),
  step('run'),
  step('run -m 3x bb:1'),
  step('run --rm --net none --pull never gone:1'),
  step('ps extra'),
  step('start'),
  step('start gone gone2'),
  step('stop gone'),
  step('stop --time 1 gone', { newer: 'the flag is deprecated since 28' }),
  step('restart gone gone2'),
  step('kill gone', { differs: WORDS }),
  step('pause gone'),
  step('logs gone'),
  step('attach gone'),
  step('exec gone true'),
  step('run -d --name d1 --net none -e A=b --label k=v -v SHARED:/x -w /tmp bb:1 sleep 1000'),
  step('ps --format {{.Names}}|{{.Label_"k"}}|{{.Labels}}|{{.State}}'),
  step('exec d1 echo in'),
  step('exec d1 sh -c exit_7'),
  step('exec d1 sh -c echo_err_>&2'),
  step('exec -i d1 cat', { stdin: 'x'.repeat(100_000) }),
  step('exec -t d1 tty'),
  step('exec -e X=y -w /x d1 sh -c echo_$X_$A_$PWD'),
  step('exec -u 1:2 d1 id -u'),
  step('exec -d d1 touch /tmp/made'),
  step('exec d1 ls /tmp/made'),
  step('exec -u nosuch d1 id', { differs: 'Docker 20.10 answers on standard output' }),
  step('exec d1 nope', { differs: 'Docker 20.10 answers 126 and on standard output' }),
  step(
    'inspect -f {{.HostConfig.Binds}}_{{.Config.Labels}}_{{.Config.WorkingDir}}_{{index_.Config.Env_0}}_{{.HostConfig.NetworkMode}} d1',
  ),
  step('inspect -f {{range_.Mounts}}{{.Type}}:{{.Destination}}:{{.RW}}{{end}} d1'),
  step('pause d1'),
  step('ps --format {{.Names}}_{{.State}}'),
  step('exec d1 true', { differs: WORDS }),
  step('unpause d1'),
  step('unpause d1', { differs: 'capital letters as in newer moby' }),
  step('kill -s NOPE d1', { differs: 'capital letters as in newer moby' }),
  step('rm d1'),
  step('update -m 64m --memory-swap 64m d1'),
  step('inspect -f {{.HostConfig.Memory}} d1'),
  step('restart -t 0 d1'),
  step('kill -s TERM d1'),
  step('stop -t 0 d1'),
  step('inspect -f {{.State.Status}}_{{.State.ExitCode}} d1'),
  step('stop d1'),
  step('rm -f d1'),
  step('run --rm --net none -h web --read-only bb:1 sh -c hostname;touch_/x_2>/dev/null||echo_read-only'),
  step('run --rm --net none --entrypoint echo bb:1 a b'),
  step('run --rm --net none -u 1000:1000 bb:1 id -u'),
  step('run --rm --net none --ulimit nofile=100:200 bb:1 sh -c ulimit_-n;ulimit_-Hn'),
  step('run --rm --net none --tmpfs /t:size=1m bb:1 sh -c grep_-c__/t__/proc/mounts'),
  step('run --rm --net none --sysctl kernel.msgmax=4096 bb:1 cat /proc/sys/kernel/msgmax'),
  step('run --rm --net none --init bb:1 true'),
  step('run --rm --net none --tmpfs /t:size=10% bb:1 sh -c df_-k_/t|grep_-c_/t'),
  step('run --rm --net none --isolation hyperv bb:1 true', { differs: 'capital letters as in newer moby' }),
  step('run --rm --net none --stop-signal FOO bb:1 true', { differs: 'capital letters as in newer moby' }),
  step('run --rm --net none -w rel bb:1 true'),
  step('run --rm --net none BB:1 true'),
  step('run --rm --net none bb: true'),
  step('run --rm --net none --platform nonsense bb:1 true'),
  step('run --rm --net none --pull never --platform linux/s390x bb:1 true', { differs: WORDS }),
  step('run --rm --net none --group-add nosuch bb:1 true'),
  step('run --rm --net none --entrypoint= bb:1 _', { differs: WORDS }),
  step('run --rm --net container:nosuch bb:1 true'),
  step('run --rm --net none --pid container:nosuch bb:1 true'),
  step('run --rm --net none --cidfile /nonexistent/cid bb:1 true'),
  step('run --rm --net none --env-file /nonexistent bb:1 true'),
  step('run --rm --net none --cpus 1/2 bb:1 sh -c cat_/sys/fs/cgroup/cpu/*quota*'),
  step('run --rm --net none --sysctl vm.swappiness=1 bb:1 true'),
  step('run --rm --net none -v /a:b bb:1 true'),
  step('run --rm --net none --mount type=bind,src=/nonexistent,dst=/b bb:1 true'),
  step('run --rm --net none --cap-add FOO bb:1 true'),
  step('run --rm --net none -m 1 bb:1 true'),
  step('run --rm --net none --name a!b bb:1 true'),
  step('run --rm --net none --restart always bb:1 true'),
  step('create --name c1 --net none bb:1 true'),
  step('inspect -f {{.State.Status}} c1'),
  step('start -a c1'),
  step('rm c1 gone'),
  step('run --name l1 --net none bb:1 seq 5'),
  step('logs --tail 2 l1'),
  step('logs --details l1'),
  step('logs -n 1 --since 1h l1'),
  step('logs --until 1h l1'),
  step('logs --since x l1'),
  step('logs --tail x l1'),
  step('rm l1'),
  step('images --format {{.Repository}}:{{.Tag}}'),
  step('images -q --no-trunc'),
  step('images --format {{.Foo}}'),
  step('rmi gone:1'),
  step('image ls -q'),
  step('inspect --type image -f {{.RepoTags}}_{{.Architecture}} bb:1'),
  step('load', { stdin: 'not an archive', differs: WORDS }),
  step('version -f {{.Server.Os}}'),
  step('info -f {{.OSType}}_{{.NCPU}}'),
  step('events --since 1 --until 2'),
  step('nope'),
  step('ps --filter nope=x', { differs: 'capital letters as in newer moby' }),
  step('run --rm bb:1 cat /proc/net/dev', { differs: NETWORK }),
];

/** Ids, times and the clients' names made equal. */
function plain(text: string): string {
  return text
    .replace(/\bberth\b/g, 'docker')
    .replace(/[0-9a-f]{64}/g, 'ID')
    .replace(/\b[0-9a-f]{12}\b/g, 'ID')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/(Up|Exited \(\d+\)) (\d+|Less than a) seconds?/g, '$1 N seconds')
    .replace(/\b[a-z]+_[a-z]+\b(?=": )/g, 'NAME');
}

/** The installed clients, newest first: a newer one is often put beside the distribution's. */
const DOCKERS = ['/usr/local/bin/docker', '/usr/bin/docker'].filter((path) => existsSync(path));

/** Whose words ours are. An older docker says the same otherwise, and its output and codes are compared alone. */
const spoken = new Map<string, boolean>();
function speaksOurWords(docker: string): boolean {
  const known = spoken.get(docker);
  if (known !== undefined) return known;
  const major = /version (\d+)/.exec(execFileSync(docker, ['--version'], { encoding: 'utf8' }))?.[1];
  spoken.set(docker, Number(major) >= 28);
  return Number(major) >= 28;
}

type Client = { readonly name: string; readonly program: string; readonly host: string };

suite('clients', [root, busybox, tool('docker', 'docker.io')], () => {
  let berth: Instance;
  let daemon: Daemon | undefined;
  const dir = mkdtempSync(join(tmpdir(), 'berth-d-'));
  const results = new Map<string, Ran[]>();

  const runAll = (client: Client): Ran[] => {
    const env = {
      ...process.env,
      DOCKER_HOST: client.host,
      BERTH_HOST: client.host,
      DOCKER_CONFIG: join(dir, 'none'),
      TZ: 'UTC',
    };
    return STEPS.map(({ line, stdin }) => {
      const words = line.split(' ').map((word) => word.replaceAll(/_(?!_)/g, ' ').replace('SHARED', berth.shared));
      const { code, out, err } = runProgram(client.program, words, { env, stdin });
      return { code, out: plain(out), err: plain(err) };
    });
  };

  beforeAll(async () => {
    berth = startInstance();
    const newest = DOCKERS[0] ?? 'docker';
    results.set('berth', runAll({ name: 'berth', program: berth.berthPath, host: berth.host }));
    results.set('docker', runAll({ name: 'docker', program: newest, host: berth.host }));
    const old = DOCKERS[1];
    if (old !== undefined) results.set('old docker', runAll({ name: 'old docker', program: old, host: berth.host }));
    daemon = await startDockerd(join(dir, 'dockerd'));
    execFileSync(newest, ['load', '-i', berth.archive], { env: { ...process.env, DOCKER_HOST: daemon.host } });
    results.set('dockerd', runAll({ name: 'dockerd', program: newest, host: daemon.host }));
  }, 300_000);
  afterAll(async () => {
    await daemon?.stop();
    berth?.[Symbol.dispose]();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  const of = (name: string, at: number): Ran =>
    results.get(name)?.[at] ?? { code: -1, out: '', err: `${name} did not run` };

  test.each(STEPS.map((one, at) => [one.line, at] as const))('%s: berth prints what docker prints', (_line, at) => {
    const [ours, theirs] = [of('berth', at), of('docker', at)];
    if (speaksOurWords(DOCKERS[0] ?? 'docker')) expect(ours).toEqual(theirs);
    else expect([ours.code, ours.out]).toEqual([theirs.code, theirs.out]);
  });

  test.each(STEPS.map((one, at) => [one.line, one, at] as const))('%s: Berth answers as dockerd', (_line, one, at) => {
    if (one.differs === undefined) expect(of('docker', at)).toEqual(of('dockerd', at));
    else expect(of('docker', at).code === 0).toBe(of('dockerd', at).code === 0);
  });

  test('an older docker gives the same output and codes', () => {
    const old = results.get('old docker');
    if (old === undefined) return;
    // What it says of a wrong command line is its own.
    const differing = STEPS.filter(
      ({ newer }, at) =>
        newer === undefined &&
        (of('old docker', at).out !== of('docker', at).out || of('old docker', at).code !== of('docker', at).code),
    ).map(({ line }) => line);
    expect(differing).toEqual([]);
  });

  test('explain and a run that is refused make no directory', () => {
    const missing = join(berth.shared, 'missing');
    expect(berth.berth(['explain', 'run', '-v', `${missing}:/x`, 'bb:1', 'true']).out).toContain(`-v ${missing}:/x`);
    const asked = berth.berth(['explain', '--dry-run', 'run', '-v', `${missing}/sub:/x`, 'bb:1', 'true']);
    expect(asked.code).toBe(0);
    expect(asked.out).toContain(
      `WARNING: ${missing}/sub is not there, a run would make it: what is decided about it here is about ${berth.shared}\n`,
    );
    expect(berth.berth(['run', '-v', `${missing}:/x`, '-m', '1', 'bb:1', 'true']).code).toBe(125);
    expect(existsSync(missing)).toBe(false);
    expect(berth.berth(['run', '--rm', '-v', `${missing}:/x`, 'bb:1', 'touch', '/x/y']).code).toBe(0);
    expect(existsSync(join(missing, 'y'))).toBe(true);
  });

  test('--rootfs runs a plain directory of the user, and says what one of somebody else lacks', () => {
    const tree = join(berth.shared, 'tree');
    mkdirSync(join(tree, 'bin'), { recursive: true });
    copyFileSync('/bin/busybox', join(tree, 'bin/sh'));
    const run = () => berth.berth(['run', '--rm', '--rootfs', tree, 'sh', '-c', 'echo /*']);
    expect(run().err).toContain(`or give the directory to ${RESERVED_UID}:${RESERVED_UID}`);
    for (const path of [tree, join(tree, 'bin')]) chownSync(path, RESERVED_UID, RESERVED_UID);
    expect(run()).toEqual({ code: 0, out: '/bin /dev /etc /proc /sys\n', err: '' });
  });

  test('nothing is left behind', () => {
    expect(berth.berth(['ps', '-aq']).out).toBe('');
    expect(berth.berth(['images', '-q']).out.trim().split('\n')).toHaveLength(1);
  });
});
