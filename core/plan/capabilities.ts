// --cap-add, --cap-drop and --privileged to the five sets of capability bits.
import { CAP_MASK, CAP_NAMES } from '../../proto/abi/capability.gen.ts';
import type { Capabilities } from '../../proto/gen/berth/helper/v1/plan.ts';
import { type Noted, noted, refuse } from './reason.ts';

/** Source: moby, daemon/pkg/oci/caps/defaults.go. */
const DEFAULT = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'MKNOD',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SETFCAP',
  'SETPCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'KILL',
  'AUDIT_WRITE',
];

export type CapabilitiesAsked = {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly privileged: boolean;
  readonly uid: number;
  /** What the helper can give: its own bounding set. */
  readonly available: bigint;
};

/**
 * The sets. A user other than root begins with nothing effective or permitted, as after the execve of Docker's; the bounding set stays, so that
 * setuid programs work. What the helper itself lacks is left out: of the defaults and --privileged with a warning, named in --cap-add refused.
 * Throws bad_parameter with Docker's texts. Source: moby, daemon/pkg/oci/caps/utils.go TweakCapabilities.
 */
export function planCapabilities(asked: CapabilitiesAsked): Noted<Capabilities> {
  const add = asked.add.map((name) => readCapability(name, 'CapAdd'));
  const drop = asked.drop.map((name) => readCapability(name, 'CapDrop'));
  const wanted = asked.privileged ? CAP_MASK : tweak(add, drop);
  const bounding = wanted & asked.available;
  const missing = wanted & ~asked.available;
  const named = bits(add) & missing; // ALL is no name: what is missing of it is left out
  if (named !== 0n && !asked.privileged && !add.includes('ALL')) {
    const first = capabilityNames(named)[0] ?? '';
    refuse(
      `invalid CapAdd: capability not supported by your kernel or not available in the current environment: "${first}"`,
    );
  }
  const own = asked.uid === 0 ? bounding : 0n;
  const reasons = [{ about: 'capabilities', text: why(asked) }];
  const warnings =
    missing === 0n
      ? []
      : [`capabilities left out, because the helper itself lacks them: ${capabilityNames(missing).join(', ')}`];
  return noted({ bounding, effective: own, permitted: own, inheritable: 0n, ambient: 0n }, reasons, warnings);
}

/** `CAP_CHOWN` … of the bits set, in the order of their numbers. */
export function capabilityNames(set: bigint): string[] {
  return CAP_NAMES.map((name) => `CAP_${name}`).filter((_, bit) => ((set >> BigInt(bit)) & 1n) === 1n);
}

/** Docker's order of things: ALL added beats what is dropped as ALL; a named drop beats ALL added. */
function tweak(add: readonly string[], drop: readonly string[]): bigint {
  if (add.includes('ALL')) return CAP_MASK & ~bits(drop);
  if (drop.includes('ALL')) return bits(add);
  return (bits(DEFAULT) & ~bits(drop)) | bits(add);
}

function bits(names: readonly string[]): bigint {
  return names.reduce((set, name) => {
    const bit = CAP_NAMES.indexOf(name);
    return bit < 0 ? set : set | (1n << BigInt(bit));
  }, 0n);
}

function readCapability(text: string, field: string): string {
  const name = text.toUpperCase().replace(/^CAP_/, '');
  if (name === 'ALL' || CAP_NAMES.includes(name)) return name;
  return refuse(`invalid ${field}: unknown capability: "CAP_${name}"`);
}

function why(asked: CapabilitiesAsked): string {
  const root = asked.uid === 0 ? '' : '; the user is not root, so none is effective at first';
  if (asked.privileged) return `--privileged: every one the helper has${root}`;
  const added = asked.add.length === 0 ? '' : `, added ${asked.add.join(' ')}`;
  const dropped = asked.drop.length === 0 ? '' : `, dropped ${asked.drop.join(' ')}`;
  return `Docker's default${added}${dropped}${root}`;
}
