// What Hello tells: facts of this host and this start of the helper that plans need.
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { CgroupVersion, type HelloReply } from '../../proto/gen/berth/helper/v1/request.ts';
import type { World } from '../ops/order.ts';
import { bootNs } from '../sys/processes.ts';

/** The version the build was given; the sources themselves have none. */
export const VERSION: string = process.env['BERTH_BUILD_VERSION'] ?? 'unbuilt';
const VERSIONS = [
  CgroupVersion.CGROUP_VERSION_NONE,
  CgroupVersion.CGROUP_VERSION_V1,
  CgroupVersion.CGROUP_VERSION_V2,
] as const;
const UID_COUNT_MAX = 1n << 20n;

type HelloParts = Pick<HelloReply, 'instance' | 'slot' | 'keeperPid'> & { readonly world: World };

/** The part of Hello that is the same for everybody. */
export function newHello({ world, instance, slot, keeperPid }: HelloParts): () => Omit<HelloReply, 'uid' | 'profiles'> {
  const { machine, cgroups } = world;
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  const fixed = {
    instance,
    version: VERSION,
    helperPid: process.pid,
    keeperPid,
    cgroups: { version: VERSIONS[cgroups.version], controllers: [...cgroups.of.keys()] },
    rootless: machine.rootless,
    imageForm: world.images.form,
    capabilities: BigInt(`0x${bounding ?? '0'}`),
    kernel: release(),
    slot,
    uidCountMax: machine.rootless ? 1n : UID_COUNT_MAX,
  };
  return () => ({ ...fixed, bootNs: bootNs() });
}
