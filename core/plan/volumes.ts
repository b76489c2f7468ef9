// What -v, --mount and --tmpfs ask for, as Docker reads it: mounts that are not yet the helper's.
import { Propagation, type TmpfsMount } from '../../proto/gen/berth/helper/v1/plan.ts';
import { BerthError } from '../base/errors.ts';
import type { ContainerCreateBody } from '../spec/docker-api.ts';
import type { MountPoint } from '../spec/docker-config.ts';
import { cleanPath, isWithin } from './paths.ts';
import { notYet, refuse } from './reason.ts';
import { defaultTmpfs, type MountFlags, readTmpfsOptions } from './tmpfs.ts';

export type UserBind = {
  readonly kind: 'bind';
  /** As the intent writes it. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly recursive: boolean;
  readonly propagation: Propagation;
  /** `-v` makes a missing source directory, `--mount` does not. */
  readonly create: boolean;
  readonly why: string;
};
export type UserTmpfs = {
  readonly kind: 'tmpfs';
  readonly target: string;
  readonly tmpfs: TmpfsMount;
  /** The size as a share of the machine's memory, in its hundredths; `tmpfs` has none then. */
  readonly percent: bigint | undefined;
  readonly flags: MountFlags;
  readonly why: string;
};
export type UserMount = UserBind | UserTmpfs;

const PROPAGATION: Readonly<Record<string, Propagation>> = {
  private: Propagation.PROPAGATION_PRIVATE,
  rprivate: Propagation.PROPAGATION_PRIVATE,
  slave: Propagation.PROPAGATION_SLAVE,
  rslave: Propagation.PROPAGATION_SLAVE,
  shared: Propagation.PROPAGATION_SHARED,
  rshared: Propagation.PROPAGATION_SHARED,
};
const MODE_GROUPS = [
  ['ro', 'rw'],
  ['z', 'Z'],
  Object.keys(PROPAGATION),
  ['nocopy'],
  ['consistent', 'cached', 'delegated', 'default'],
];

/**
 * Every mount the user asks for, each target once. Throws bad_parameter with Docker's texts, not_implemented for volumes by name.
 * Source: moby, daemon/volume/mounts/linux_parser.go; daemon/volumes.go registerMountPoints.
 */
export function readVolumes(body: ContainerCreateBody): UserMount[] {
  const host = body.HostConfig;
  const binds = (host.Binds ?? []).map(readBind);
  const mounts = (host.Mounts ?? []).map(readMount);
  const tmpfs = Object.entries(host.Tmpfs ?? {}).map(([target, options]) => readTmpfs(target, options));
  for (const path of Object.keys(body.Volumes ?? {})) {
    notYet(`anonymous volume ${path}: volumes are not there yet`, `name a directory of the host: -v /some/dir:${path}`);
  }
  if ((host.VolumesFrom ?? []).length > 0) notYet('--volumes-from is not there yet');
  const all = [...binds, ...mounts, ...tmpfs];
  const seen = new Set<string>();
  for (const { target } of all) {
    if (seen.has(target)) refuse(`Duplicate mount point: ${target}`);
    seen.add(target);
    checkPlace(target);
  }
  return all;
}

/** The kernel's own file systems lie there, with the masks over them. */
function checkPlace(target: string): void {
  for (const kernel of ['/proc', '/sys']) {
    if (isWithin(target, kernel)) refuse(`"${target}" cannot be mounted because it is inside ${kernel}`);
  }
  if (target === '/dev') refuse('"/dev" cannot be mounted over: it is made for each container', 'use --device');
}

/** `source:target[:options]`. */
function readBind(spec: string): UserMount {
  const invalid = `invalid volume specification: '${spec}'`;
  const parts = spec.split(':');
  const [first = '', second, mode = '', ...more] = parts;
  if (first === '' || more.length > 0) refuse(invalid);
  if (second === undefined) {
    checkTarget(first, `${invalid}: invalid mount config for type "volume"`);
    return notYet(
      `anonymous volume ${first}: volumes are not there yet`,
      `name a directory of the host: -v /some/dir:${first}`,
    );
  }
  if (parts.length === 2 && isMode(second)) refuse(invalid);
  if (!isMode(mode)) refuse(`invalid mode: ${mode}`);
  const type = first.startsWith('/') ? 'bind' : 'volume';
  checkTarget(second, `${invalid}: invalid mount config for type "${type}"`);
  const words = mode.split(',');
  if (type === 'volume') {
    if (words.some((word) => PROPAGATION[word] !== undefined)) {
      refuse(`${invalid}: invalid mount config for type "volume": field BindOptions must not be specified`);
    }
    return notYet(
      `volume ${first}: volumes are not there yet`,
      'begin the source with / to name a directory of the host',
    );
  }
  if (words.includes('nocopy')) {
    refuse(`${invalid}: invalid mount config for type "bind": field VolumeOptions must not be specified`);
  }
  const propagation = words.map((word) => PROPAGATION[word]).find((found) => found !== undefined);
  return {
    kind: 'bind',
    source: first,
    target: cleanPath(second),
    readOnly: words.includes('ro'),
    recursive: true,
    propagation: propagation ?? Propagation.PROPAGATION_PRIVATE,
    create: true,
    why: `-v ${spec}`,
  };
}

/** At most one word of each group. */
function isMode(mode: string): boolean {
  if (mode === '') return true;
  const words = mode.split(',');
  const known = words.every((word) => MODE_GROUPS.some((group) => group.includes(word)));
  return known && MODE_GROUPS.every((group) => words.filter((word) => group.includes(word)).length <= 1);
}

function checkTarget(target: string, before: string): void {
  if (target === '') refuse(`${before}: field Target must not be empty`);
  if (cleanPath(target) === '/' && (target.startsWith('/') || target === '.')) {
    refuse(`${before}: invalid specification: destination can't be '/'`);
  }
  if (!target.startsWith('/')) refuse(`${before}: invalid mount path: '${target}' mount path must be absolute`);
}

/** One `--mount`. */
function readMount(mount: MountPoint): UserMount {
  const before = `invalid mount config for type "${mount.Type}"`;
  checkOptions(mount, before);
  checkTarget(mount.Target, before);
  switch (mount.Type) {
    case 'bind':
      return readBindMount(mount, before);
    case 'tmpfs':
      return readTmpfsMount(mount, before);
    case 'volume':
      return notYet(
        `volume ${mount.Source ?? ''} for ${mount.Target}: volumes are not there yet`,
        'use type=bind with a directory of the host',
      );
    case 'image':
      return notYet(`--mount type=image for ${mount.Target}: image mounts are not there yet`);
    default:
      return refuse(`${before}: mount type unknown`);
  }
}

function checkOptions(mount: MountPoint, before: string): void {
  const wrong = [
    mount.Type !== 'bind' && mount.BindOptions !== undefined && 'BindOptions',
    mount.Type !== 'volume' && mount.VolumeOptions !== undefined && 'VolumeOptions',
    mount.Type !== 'image' && mount.ImageOptions !== undefined && 'ImageOptions',
    mount.Type !== 'tmpfs' && mount.TmpfsOptions !== undefined && 'TmpfsOptions',
  ].find((name) => name !== false);
  if (wrong !== undefined) refuse(`${before}: field ${wrong} must not be specified`);
}

function readBindMount(mount: MountPoint, before: string): UserBind {
  const { BindOptions: options, Source: source = '' } = mount;
  if (source === '') refuse(`${before}: field Source must not be empty`);
  if (!source.startsWith('/')) refuse(`${before}: invalid mount path: '${source}' mount path must be absolute`);
  const word = options?.Propagation ?? 'rprivate';
  const propagation = PROPAGATION[word] ?? refuse(`${before}: invalid propagation mode: ${word}`);
  if (options?.ReadOnlyNonRecursive === true) {
    notYet(
      `--mount ${mount.Target}: bind-recursive=writable is not there yet`,
      'a read-only bind is read-only all the way down',
    );
  }
  return {
    kind: 'bind',
    source,
    target: cleanPath(mount.Target),
    readOnly: mount.ReadOnly === true,
    recursive: options?.NonRecursive !== true,
    propagation,
    create: options?.CreateMountpoint === true,
    why: `--mount type=bind,source=${source}`,
  };
}

function readTmpfsMount(mount: MountPoint, before: string): UserTmpfs {
  if ((mount.Source ?? '') !== '') refuse(`${before}: field Source must not be specified`);
  const { TmpfsOptions: options } = mount;
  const words = (options?.Options ?? []).map((pair) => (pair ?? []).join('='));
  for (const word of words) {
    if (word !== 'exec' && word !== 'noexec') refuse(`${before}: invalid option: ${word.split('=')[0]}`);
  }
  const mode = options?.Mode ?? 0;
  const size = options?.SizeBytes ?? 0;
  if (mode < 0 || mode > 0o7777) refuse(`${before}: mode ${mode.toString(8)} is none of a directory`);
  if (size < 0) refuse(`${before}: size ${size} is below 0`);
  const read = readTmpfsOptions(words.join(','));
  return {
    kind: 'tmpfs',
    target: cleanPath(mount.Target),
    tmpfs: { ...defaultTmpfs, sizeBytes: BigInt(size), mode: mode === 0 ? defaultTmpfs.mode : mode },
    percent: undefined,
    flags: { ...read.flags, readOnly: mount.ReadOnly === true },
    why: '--mount type=tmpfs',
  };
}

function readTmpfs(target: string, options: string): UserTmpfs {
  if (cleanPath(target) === '/' && target.startsWith('/')) refuse("invalid specification: destination can't be '/'");
  if (!target.startsWith('/')) refuse(`invalid mount path: '${target}' mount path must be absolute`);
  const { tmpfs, percent, flags } = readTmpfsOptions(options);
  const why = options === '' ? `--tmpfs ${target}` : `--tmpfs ${target}:${options}`;
  return { kind: 'tmpfs', target: cleanPath(target), tmpfs, percent, flags, why };
}

/** What the engine opens as the user before it plans; with `create`, a missing directory is made first. */
export function bindSources(body: ContainerCreateBody): { readonly source: string; readonly create: boolean }[] {
  const sources = new Map<string, boolean>();
  for (const mount of readVolumes(body)) {
    if (mount.kind === 'bind') sources.set(mount.source, (sources.get(mount.source) ?? false) || mount.create);
  }
  return [...sources].map(([source, create]) => ({ source, create }));
}

/** Thrown by the engine, too, when it opens the sources. */
export function bindSourceMissing(source: string): BerthError {
  return new BerthError(
    'bad_parameter',
    `invalid mount config for type "bind": bind source path does not exist: ${source}`,
  );
}
