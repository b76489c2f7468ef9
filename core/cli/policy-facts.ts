// What `berth policy can` judges: the plan of a command line on an ordinary host, made without engine or helper, and what the helper would see of the
// files it names. The image is a plain one of one layer; what depends on a real image (its size, its user) is not asked here.
import { lstatSync, realpathSync, statfsSync, statSync } from 'node:fs';
import type { Profile } from '../../proto/policy/profile.ts';
import { evaluate } from '../../proto/policy/evaluate.ts';
import type { Seen, SeenFile } from '../../proto/policy/seen.ts';
import type { ContainerId, Digest } from '../base/brand.ts';
import { type Plan, planContainer, wantedBinds } from '../plan/container.ts';
import type { BindFact, DeviceFact, Facts, HostFacts, JoinedFacts } from '../plan/facts.ts';
import { containerRefs } from '../plan/modes.ts';
import { type ContainerCreateBody, readContainerCreate } from '../spec/docker-api.ts';
import type { Given } from './command.ts';
import { RUN_FLAGS } from './container-flags.ts';
import { readBody } from './create.ts';
import { CliError } from './error.ts';
import { parseFlags } from './flags.ts';
import type { Session } from './session.ts';

type Request = Parameters<typeof evaluate>[1];
type Reasons = ReturnType<typeof evaluate>;
export type Who = { readonly uid: number; readonly own: readonly string[] };

const ID = 'c'.repeat(64) as ContainerId;
const JOINED = 'd'.repeat(64) as ContainerId;
const LAYER = `sha256:${'0'.repeat(64)}` as Digest;
const HOST: HostFacts = {
  kernel: '6.18.0',
  architecture: process.arch === 'arm64' ? 'arm64' : 'x64',
  emulated: [],
  cgroup: { version: 'v2', controllers: ['cpu', 'cpuset', 'memory', 'pids', 'io'], swap: true, ioWeight: true },
  capabilities: 2n ** 64n - 1n,
  rootless: false,
  uidCountMax: 1_048_576,
  ...{ hostname: 'host', memoryBytes: 2n ** 40n, cpus: '0-1023', mems: '0', rlimits: {}, hosts: '', resolvConf: '' },
  privilegedDevices: [],
};

/** Why a profile refuses `run …`; empty where it allows it. Throws CliError where the words are no such command line, BerthError where there is no plan. */
export function judgeRun(session: Session, words: readonly string[], of: { profile: Profile; who: Who }): Reasons {
  const parsed = parseFlags({ flags: RUN_FLAGS, stopAtWord: true }, words);
  if (parsed.kind !== 'given') throw new CliError(parsed.kind === 'bad' ? parsed.why : "see 'berth run --help'", 125);
  const { given } = parsed;
  if (given.args.length === 0 && !given.flags.has('rootfs'))
    throw new CliError('which image: berth policy can -- run [OPTIONS] IMAGE', 125);
  const {
    plan: { launch },
    files,
  } = planAlone(session, given, of.who.uid);
  const seen: Seen = {
    uid: of.who.uid,
    files,
    own: of.who.own,
    hostNamespaces: [],
    containers: 0,
    execs: 0,
    layersBytes: 0,
  };
  return evaluate(of.profile, asRequest(launch), seen);
}

/** The plan of a command line on an ordinary host, and the files it names as `uid` would open them. Throws BerthError where there is no plan. */
export function planAlone(
  session: Session,
  given: Given,
  uid: number,
): { plan: Plan; files: SeenFile[]; host: HostFacts } {
  const { body } = readContainerCreate(JSON.parse(JSON.stringify(readBody(session, given))));
  const rootfs = body.Rootfs ?? '';
  const opened = [...(rootfs === '' ? [] : [rootfs]), ...wantedBinds({ body }).map(({ source }) => source)];
  const files = opened.map((path) => seeFile(path, uid));
  return { plan: planContainer({ body }, factsOf(body, files)), files, host: HOST };
}

function asRequest(launch: Extract<Request['verb'], { $case: 'launch' }>['value']): Request {
  const none = Buffer.alloc(0);
  return {
    instance: none,
    sequence: 1n,
    principal: '',
    profile: '',
    dryRun: true,
    ticket: none,
    verb: { $case: 'launch', value: launch },
  };
}

function factsOf(body: ContainerCreateBody, files: readonly SeenFile[]): Facts {
  const image = {
    env: [],
    entrypoint: undefined,
    cmd: ['/bin/sh'],
    workingDir: '',
    user: '',
    volumes: [],
    stopSignal: '',
  };
  const rootfs = body.Rootfs ?? '';
  const first = rootfs === '' ? 0 : 1;
  const binds = wantedBinds({ body }).map(
    ({ source }, i): BindFact => ({
      source,
      descriptor: first + i,
      kind: files[first + i]?.isDirectory === false ? 'file' : 'directory',
    }),
  );
  return {
    id: ID,
    host: HOST,
    root:
      rootfs === ''
        ? { kind: 'image', layers: [LAYER], config: image, highestUid: 0, highestGid: 0 }
        : { kind: 'directory', path: rootfs, descriptor: 0 },
    ...{ passwd: '', group: '', lookups: {}, binds },
    devices: devicesOf(body),
    joined: Object.fromEntries(containerRefs(body.HostConfig).map((ref) => [ref, JOINED_FACTS])),
  };
}

const JOINED_FACTS: JoinedFacts = {
  id: JOINED,
  running: true,
  userNamespace: JOINED,
  ipcShareable: true,
  ...{ hostname: 'other', domainname: '', hosts: '', resolvConf: '' },
};

/** What the helper would see of a bind's source; a missing one would be made by its user. */
function seeFile(path: string, uid: number): SeenFile {
  const found = realOf(path);
  const stat = statSync(found, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) {
    const parent = seeFile(found.replace(/\/[^/]*$/, '') || '/', uid);
    return { ...parent, path: found, uid, isDirectory: true };
  }
  return {
    ...{ device: stat.dev, inode: stat.ino, mountId: 0n, path: found, fsType: statfsSync(found).type },
    ...{ uid: Number(stat.uid), gid: Number(stat.gid), mode: Number(stat.mode), isDirectory: stat.isDirectory() },
  };
}

/** The path without links, as far as it exists. */
function realOf(path: string): string {
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) return realpathSync(path);
  const at = path.lastIndexOf('/');
  const parent = at <= 0 ? '/' : realOf(path.slice(0, at));
  return `${parent === '/' ? '' : parent}${path.slice(at)}`;
}

function devicesOf({ HostConfig: host }: ContainerCreateBody): Record<string, DeviceFact> {
  const paths = (host.Devices ?? []).map((device) => device.PathOnHost);
  const found = paths.flatMap((path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined || !(stat.isBlockDevice() || stat.isCharacterDevice())) return [];
    // Source: man 3 makedev; for the numbers that devices have.
    const [major, minor] = [(stat.rdev >> 8) & 0xfff, (stat.rdev & 0xff) | ((stat.rdev >> 12) & 0xfff00)];
    return [[path, { path, block: stat.isBlockDevice(), major, minor, mode: stat.mode & 0o777 }] as const];
  });
  return Object.fromEntries(found);
}
