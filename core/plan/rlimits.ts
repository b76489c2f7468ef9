// Resource limits: stated for every resource, so that a container inherits none by accident.
import { Resource, type ResourceLimit } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { HostFacts } from './facts.ts';
import { type Noted, noted, refuse } from './reason.ts';

export const UNLIMITED = 2n ** 64n - 1n;

const NUMBER = {
  core: Resource.RESOURCE_CORE,
  cpu: Resource.RESOURCE_CPU,
  data: Resource.RESOURCE_DATA,
  fsize: Resource.RESOURCE_FSIZE,
  locks: Resource.RESOURCE_LOCKS,
  memlock: Resource.RESOURCE_MEMLOCK,
  msgqueue: Resource.RESOURCE_MSGQUEUE,
  nice: Resource.RESOURCE_NICE,
  nofile: Resource.RESOURCE_NOFILE,
  nproc: Resource.RESOURCE_NPROC,
  rss: Resource.RESOURCE_RSS,
  rtprio: Resource.RESOURCE_RTPRIO,
  rttime: Resource.RESOURCE_RTTIME,
  sigpending: Resource.RESOURCE_SIGPENDING,
  stack: Resource.RESOURCE_STACK,
  as: Resource.RESOURCE_AS,
} as const;
export type RlimitName = keyof typeof NUMBER;
export const RLIMIT_NAMES = Object.keys(NUMBER) as RlimitName[];

// nofile as systemd gives services: more than 1,024 breaks programs that use select(2), and who wants more may raise it.
// The rest is the kernel's own start, but for core files, which nobody asked for: soft 0. Source: man 2 getrlimit, systemd.exec.
const DEFAULT: Readonly<Partial<Record<RlimitName, readonly [bigint, bigint]>>> = {
  core: [0n, UNLIMITED],
  memlock: [8_388_608n, 8_388_608n],
  msgqueue: [819_200n, 819_200n],
  nice: [0n, 0n],
  nofile: [1_024n, 524_288n],
  rtprio: [0n, 0n],
  stack: [8_388_608n, UNLIMITED],
};

/** -1 is unlimited. */
export type Ulimit = { readonly name: string; readonly soft: number; readonly hard: number };

/**
 * One limit for each resource. Defaults are cut at what the helper has; what the user asks above it is refused. Throws bad_parameter.
 * Source: github.com/docker/go-units, ulimit.go, for names and texts.
 */
export function planRlimits(asked: readonly Ulimit[], host: HostFacts): Noted<ResourceLimit[]> {
  const wanted = new Map(asked.map((limit) => [checkName(limit.name), limit]));
  const limits = RLIMIT_NAMES.map((name) => {
    const most = host.rlimits[name] ?? UNLIMITED;
    const own = wanted.get(name);
    const [soft, hard] = own === undefined ? defaultFor(name, most) : askedFor(own, most);
    return { resource: NUMBER[name], soft, hard };
  });
  const reasons = RLIMIT_NAMES.map((name) => ({
    about: `rlimit ${name}`,
    text: wanted.has(name) ? '--ulimit' : 'default',
  }));
  return noted(limits, reasons);
}

/** `nofile` of the resource's number. */
export function rlimitName(resource: Resource): string {
  return RLIMIT_NAMES.find((name) => NUMBER[name] === resource) ?? `resource ${resource}`;
}

function checkName(name: string): RlimitName {
  // Docker knows no `as`: it would count the runtime's own memory.
  const known = RLIMIT_NAMES.find((one) => one === name && one !== 'as');
  return known ?? refuse(`invalid ulimit type: ${name}`);
}

function defaultFor(name: RlimitName, most: bigint): readonly [bigint, bigint] {
  const [soft, hard] = DEFAULT[name] ?? [UNLIMITED, UNLIMITED];
  return [soft < most ? soft : most, hard < most ? hard : most];
}

function askedFor(limit: Ulimit, most: bigint): readonly [bigint, bigint] {
  const [soft, hard] = [limit.soft, limit.hard].map((value) => readValue(limit.name, value)) as [bigint, bigint];
  if (soft > hard) {
    const shown = soft === UNLIMITED ? `soft: -1 (unlimited), hard: ${limit.hard}` : `${limit.soft} > ${limit.hard}`;
    refuse(`ulimit soft limit must be less than or equal to hard limit: ${shown}`);
  }
  if (hard > most) {
    refuse(
      `ulimit ${limit.name}=${limit.soft}:${limit.hard}: this host allows at most ${most}`,
      'raise the hard limit of the helper itself (LimitNOFILE= and the like in its unit)',
    );
  }
  return [soft, hard];
}

function readValue(name: string, value: number): bigint {
  if (value === -1) return UNLIMITED;
  if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  return refuse(`ulimit ${name}: ${value} is no whole number from 0 on, nor -1 for unlimited`);
}
