// What each part of lowering a launch is given.
import type { CheckedLaunch } from '../decode/checked.ts';
import type { LaunchHost } from './host.ts';
import type { Program } from './program.ts';

export type Context = { readonly program: Program; readonly plan: CheckedLaunch; readonly host: LaunchHost };

/** Whether the namespace of that CLONE_NEW* bit is made for this container. */
export function isNew({ plan }: Context, bit: number): boolean {
  return (plan.namespaces.unshare & BigInt(bit)) !== 0n;
}

/** Whether it is the host's: neither made nor joined. */
export function isHosts({ plan, host }: Context, bit: number): boolean {
  return (plan.namespaces.unshare & BigInt(bit)) === 0n && !host.joined.some((join) => join.bit === bit);
}
