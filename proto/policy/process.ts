// Rules of what launch and exec have in common: the process, its hardening, its standard streams.
import { CAP_NAMES } from '../abi/capability.gen.ts';
import * as plan from '../gen/berth/helper/v1/plan.ts';
import { type Ask, all, among, each, free, holds, may, type Rules, refuse, upTo, wordOf } from './ask.ts';
import { amount, limitOf } from './profile.ts';

const ENDLESS = 2n ** 64n - 1n;

/** The names of a set of capabilities. */
export function capabilityNames(bits: bigint): string[] {
  const digits = [...bits.toString(2)].reverse();
  return digits.flatMap((digit, bit) => (digit === '1' ? [CAP_NAMES[bit] ?? `number ${bit}`] : []));
}

/** Of the other sets what the bounding set, which is judged whole, does not hold. */
function beyond(bits: bigint, ask: Ask, caps: plan.Capabilities): void {
  among(ask, 'capabilities', capabilityNames(bits & ~caps.bounding));
}

const CAPABILITIES: Rules<plan.Capabilities> = {
  bounding: (bits, ask) => among(ask, 'capabilities', capabilityNames(bits)),
  effective: beyond,
  permitted: beyond,
  inheritable: beyond,
  ambient: beyond,
};

const RLIMIT: Rules<plan.ResourceLimit> = {
  resource: (resource, ask, { soft, hard }) => {
    const name = wordOf(plan.Resource, resource);
    const most = limitOf(ask.profile.rlimits, name);
    const asked = soft > hard ? soft : hard;
    const within = asked === ENDLESS ? most === 'unlimited' : most !== undefined && asked <= amount(most);
    const words = `${name} ${asked === ENDLESS ? 'unlimited' : asked}`;
    if (!within) refuse(ask, 'rlimits', [words, most === undefined ? 'none' : `at most ${most}`]);
  },
  ...free('judged with resource', 'soft', 'hard'),
};

export const PROCESS: Rules<plan.Process> = {
  ...free('acts inside the container', 'argv', 'env', 'executables', 'cwd', 'umask'),
  ...free('ids of the user namespace; that of the host has its own rule', 'uid', 'gid', 'groups'),
  rlimits: each(RLIMIT),
  capabilities: all(CAPABILITIES),
  noNewPrivileges: (on, ask) => {
    if (ask.profile.noNewPrivileges && !on) refuse(ask, 'noNewPrivileges', ['privileges to gain', 'none']);
  },
  oomScoreAdj: (value, ask) => {
    const least = ask.profile.oomScoreAdjMin;
    if (value < least) refuse(ask, 'oomScoreAdjMin', [String(value), `at least ${least}`]);
  },
};

const SYSCTL: Rules<plan.Sysctl> = {
  name: (name, ask) => among(ask, 'sysctls', [name]),
  ...free('the kernel judges it, for that namespace alone', 'value'),
};

/** Masks are the container's: an exec brings none, and none are asked of it. */
export function hardening(whole: boolean): Rules<plan.Hardening> {
  return {
    seccomp: (value, ask) => upTo(ask, 'seccomp', wordOf(plan.Seccomp, value)),
    maskedPaths: (paths, ask) => whole && holds(ask, 'maskedPaths', paths),
    readOnlyPaths: (paths, ask) => whole && holds(ask, 'readOnlyPaths', paths),
    sysctls: each(SYSCTL),
  };
}

export const STDIO: Rules<plan.Stdio> = {
  tty: (on, ask) => may(ask, 'tty', [on, 'a terminal']),
  ...free('acts inside the container', 'stdin', 'columns', 'rows'),
};
