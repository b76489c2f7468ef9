// `update`: what changes of a container's limits, and its intent with the change in it.
import type { Limits } from '../../proto/gen/berth/helper/v1/plan.ts';
import { BerthError } from '../base/errors.ts';
import type { UpdateBody } from '../spec/docker-api.ts';
import type { HostConfig } from '../spec/docker-config.ts';
import { isZero } from '../spec/json.ts';
import type { Facts } from './facts.ts';
import type { UpdateIntent } from './intent.ts';
import { planLimits } from './limits.ts';
import { notYet, type Reason } from './reason.ts';

export type UpdatePlan = {
  /** What the helper is sent; undefined where no limit changes. */
  readonly limits: Limits | undefined;
  /** The container's HostConfig from now on. */
  readonly hostConfig: HostConfig;
  readonly reasons: readonly Reason[];
  readonly warnings: readonly string[];
};

const LIMITS = [
  'BlkioWeight',
  'CpuPeriod',
  'CpuQuota',
  'CpuShares',
  'CpusetCpus',
  'CpusetMems',
  'Memory',
  'MemoryReservation',
  'MemorySwap',
  'NanoCpus',
  'PidsLimit',
] as const;
const FIXED = [
  'BlkioDeviceReadBps',
  'BlkioDeviceReadIOps',
  'BlkioDeviceWriteBps',
  'BlkioDeviceWriteIOps',
  'BlkioWeightDevice',
  'DeviceCgroupRules',
  'DeviceRequests',
  'Devices',
  'KernelMemory',
  'Ulimits',
] as const;

/**
 * The change. What has its zero value stays as it is. Throws bad_parameter, and conflict with Docker's texts where old and new do not go
 * together. Source: moby, daemon/container/container_unix.go UpdateContainer.
 */
export function planUpdate({ update, body }: UpdateIntent, facts: Pick<Facts, 'host' | 'devices'>): UpdatePlan {
  const old = body.HostConfig;
  const fixed = FIXED.find((field) => !isZero(update[field]));
  if (fixed !== undefined) notYet(`${fixed}: it can be set at creation only`);
  checkConflicts(update, old);
  const named = LIMITS.filter((field) => update[field] !== null && !isZero(update[field]));
  const pids = update.PidsLimit === null ? [] : (['PidsLimit'] as const); // 0 takes the limit away
  const changed = Object.fromEntries([...named, ...pids].map((field) => [field, update[field]]));
  const restart = update.RestartPolicy.Name === '' ? {} : { RestartPolicy: update.RestartPolicy };
  const hostConfig = { ...old, ...changed, ...restart };
  if (Object.keys(changed).length === 0) return { limits: undefined, hostConfig, reasons: [], warnings: [] };
  const limits = planLimits({
    resources: { ...changed, ...pairOf(update, old) },
    host: facts.host,
    devices: facts.devices,
    deviceRules: [],
    update: { memory: old.Memory, memorySwap: old.MemorySwap === 0 ? old.Memory * 2 : old.MemorySwap },
  });
  return { limits: limits.value, hostConfig, reasons: limits.reasons, warnings: limits.warnings };
}

/** Quota and period are one setting of the kernel: the one that is not named keeps its value. */
function pairOf(update: UpdateBody, old: HostConfig): { readonly CpuQuota?: number; readonly CpuPeriod?: number } {
  if (update.CpuQuota === 0 && update.CpuPeriod === 0) return {};
  return {
    CpuQuota: update.CpuQuota === 0 ? old.CpuQuota : update.CpuQuota,
    CpuPeriod: update.CpuPeriod === 0 ? old.CpuPeriod : update.CpuPeriod,
  };
}

function checkConflicts(update: UpdateBody, old: HostConfig): void {
  const conflicts: readonly (readonly [boolean, string])[] = [
    [update.NanoCpus > 0 && old.CpuPeriod > 0, 'Nano CPUs cannot be updated as CPU Period has already been set'],
    [update.NanoCpus > 0 && old.CpuQuota > 0, 'Nano CPUs cannot be updated as CPU Quota has already been set'],
    [update.CpuPeriod > 0 && old.NanoCpus > 0, 'CPU Period cannot be updated as NanoCPUs has already been set'],
    [update.CpuQuota > 0 && old.NanoCpus > 0, 'CPU Quota cannot be updated as NanoCPUs has already been set'],
  ];
  const found = conflicts.find(([conflict]) => conflict);
  if (found !== undefined) throw new BerthError('conflict', `Conflicting options: ${found[1]}`);
  if (old.AutoRemove && !['', 'no'].includes(update.RestartPolicy.Name)) {
    throw new BerthError(
      'conflict',
      'Restart policy cannot be updated because AutoRemove is enabled for the container',
    );
  }
}
