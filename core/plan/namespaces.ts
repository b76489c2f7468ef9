// The eight namespaces: new, the host's or another container's.
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../../proto/abi/sched.gen.ts';
import type { Namespaces } from '../../proto/gen/berth/helper/v1/plan.ts';
import { type ContainerId, unreachable } from '../base/brand.ts';
import { type Noted, noted, type Reason, refuse } from './reason.ts';

/** In the order in which they are printed. */
export const NS_FLAGS = {
  user: CLONE_NEWUSER,
  mnt: CLONE_NEWNS,
  pid: CLONE_NEWPID,
  net: CLONE_NEWNET,
  ipc: CLONE_NEWIPC,
  uts: CLONE_NEWUTS,
  cgroup: CLONE_NEWCGROUP,
  time: CLONE_NEWTIME,
} as const;
export type NsKind = keyof typeof NS_FLAGS;
/** `shared`: the namespace that a process of that container lives in. */
export type NsSource = { kind: 'new' } | { kind: 'host' } | { kind: 'shared'; with: ContainerId };
export type NsWanted = { readonly source: NsSource; readonly why: string };
export type NsWish = Readonly<Record<NsKind, NsWanted>>;

/** Whose user namespace a container lives in: its own or another's id, or the host's. */
export type UserNsOwner = ContainerId | 'host';
export type Target = { readonly id: ContainerId; readonly userNamespace: UserNsOwner };

export const NEEDS_USER: readonly NsKind[] = ['net', 'ipc', 'pid', 'uts'];

/**
 * Splits the wanted namespaces into clone flags and namespaces to join. `uidCount` is how many ids a new user namespace maps.
 * Source: OCI runtime-spec, config-linux, Namespaces; man 7 namespaces.
 */
export function planNamespaces(wish: NsWish, uidCount: bigint): Noted<Namespaces> {
  let unshare = 0n;
  const join: { namespace: bigint; container: string }[] = [];
  const reasons: Reason[] = [];
  for (const ns of Object.keys(NS_FLAGS) as NsKind[]) {
    const { source, why } = wish[ns];
    reasons.push({ about: `namespace ${ns}`, text: why });
    switch (source.kind) {
      case 'new':
        unshare |= BigInt(NS_FLAGS[ns]);
        break;
      case 'shared':
        join.push({ namespace: BigInt(NS_FLAGS[ns]), container: source.with });
        break;
      case 'host':
        break;
      default:
        unreachable(source);
    }
  }
  return noted({ unshare, join, uidCount: wish.user.source.kind === 'new' ? uidCount : 0n }, reasons);
}

/**
 * The user namespace that follows from the others: joining net, ipc, pid or uts of a container means living in its user namespace, since
 * a namespace obeys the user namespace that made it. Throws bad_parameter where two answers would be needed.
 */
export function impliedUser(asked: NsWanted, joined: readonly Target[]): NsWanted {
  const first = joined[0];
  if (first === undefined) return asked;
  const other = joined.find((target) => target.userNamespace !== first.userNamespace);
  if (other !== undefined) {
    refuse(
      `conflicting options: ${short(first.id)} and ${short(other.id)} have different user namespaces, so the namespaces of both cannot be joined`,
    );
  }
  const owner = first.userNamespace;
  if (asked.source.kind === 'host' && owner !== 'host') {
    refuse(
      `conflicting options: --userns=host and joining a namespace of ${short(first.id)}, which has a user namespace`,
    );
  }
  if (owner === 'host')
    return { source: { kind: 'host' }, why: `${short(first.id)} is in the host's, and it is joined` };
  return { source: { kind: 'shared', with: first.id }, why: `implied: a namespace of ${short(first.id)} is joined` };
}

/** The first 12 digits, as people see ids. */
export function short(id: string): string {
  return id.slice(0, 12);
}
