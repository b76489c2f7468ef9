// The nodes of the container's /dev, and device rules beyond them.
import type { DeviceNode, DeviceRule } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { DeviceMapping, HostConfig } from '../spec/docker-config.ts';
import type { DeviceFact, Facts } from './facts.ts';
import { cleanPath } from './paths.ts';
import { type Noted, noted, notYet, type Reason, refuse } from './reason.ts';

export type Devices = { readonly nodes: readonly DeviceNode[]; readonly rules: readonly DeviceRule[] };

/** Every container has these; the helper makes ptmx, console and the links itself. Source: OCI runtime-spec, config-linux, Default Devices. */
const DEFAULT: readonly (readonly [string, number, number])[] = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
];
const MADE_BY_HELPER = /^(pts|mqueue|fd|shm)(\/|$)|^(stdin|stdout|stderr|ptmx|core|console)$/;

/**
 * Default nodes, those of --device, with --privileged those the profile allows, and the rules of --device-cgroup-rule. A device named with
 * fewer rights than rwm has a rule with just those. Throws bad_parameter with Docker's texts.
 * Source: moby, daemon/oci_linux.go WithDevices; daemon/pkg/oci/oci.go for rules.
 */
export function planDevices(host: HostConfig, facts: Facts): Noted<Devices> {
  if ((host.DeviceRequests ?? []).length > 0) {
    const { Driver = '', Capabilities } = host.DeviceRequests?.[0] ?? {};
    const shown = (Capabilities ?? []).map((set) => `[${(set ?? []).join(' ')}]`).join(' ');
    refuse(`could not select device driver "${Driver}" with capabilities: [${shown}]`);
  }
  const nodes = new Map(
    DEFAULT.map(([path, major, minor]) => [path, node({ path, block: false, major, minor, mode: 0o666 })]),
  );
  const reasons: Reason[] = DEFAULT.map(([path]) => ({ about: `device ${path}`, text: 'default' }));
  if (host.Privileged) {
    for (const device of facts.host.privilegedDevices) {
      const path = device.path.replace(/^\/dev\//, '');
      if (nodes.has(path) || MADE_BY_HELPER.test(path)) continue;
      nodes.set(path, node({ ...device, path }));
      reasons.push({ about: `device ${path}`, text: '--privileged, and the profile allows it' });
    }
  }
  const mapped = (host.Devices ?? []).map((mapping) => planMapping(mapping, facts));
  for (const [i, { path, device }] of mapped.entries()) {
    nodes.set(path, node({ ...device, path }));
    reasons.push({ about: `device ${path}`, text: `--device ${(host.Devices ?? [])[i]?.PathOnHost ?? ''}` });
  }
  const rules = (host.DeviceCgroupRules ?? []).flatMap(readRule);
  return noted({ nodes: [...nodes.values()], rules }, reasons);
}

function node(device: DeviceFact): DeviceNode {
  const { path, block, major, minor, mode } = device;
  return { path, block, major, minor, mode, uid: 0, gid: 0 };
}

function planMapping(mapping: DeviceMapping, facts: Facts): { readonly path: string; readonly device: DeviceFact } {
  const { PathOnHost: from, CgroupPermissions: asked } = mapping;
  const device = Object.hasOwn(facts.devices, from) ? facts.devices[from] : undefined;
  if (device === undefined) {
    return refuse(`error gathering device information while adding custom device "${from}": no such file or directory`);
  }
  const rights = asked === '' ? 'rwm' : asked;
  if (!/^[rwm]{1,3}$/.test(rights) || new Set(rights).size !== rights.length) refuse(`invalid device mode: ${asked}`);
  if (!rights.includes('r') || !rights.includes('w')) {
    notYet(
      `--device ${from}: rights "${rights}" are not there yet`,
      'a device in the container can be read and written',
    );
  }
  const target = cleanPath(mapping.PathInContainer === '' ? from : mapping.PathInContainer);
  const path = target.replace(/^\/dev\//, '');
  if (path === target || MADE_BY_HELPER.test(path) || !/^[A-Za-z0-9]/.test(path) || path.split('/').length > 4) {
    refuse(
      `--device ${from}: ${target} is no place for a device: it must be beneath /dev, and not one that is made anyway`,
    );
  }
  return { path, device };
}

/** `c 10:200 rwm`, `a *:* r`: one rule, or two where the type is all. */
function readRule(text: string): DeviceRule[] {
  const match = /^([acb]) ([0-9]{1,7}|\*):([0-9]{1,7}|\*) ([rwm]{1,3})$/.exec(text);
  if (match === null) return refuse(`invalid device cgroup rule format: '${text}'`);
  const [, type = '', major = '', minor = '', rights = ''] = match;
  const number = (word: string): bigint => (word === '*' ? -1n : BigInt(word));
  if (number(major) > 0xfffn || number(minor) > 0xfffffn) refuse(`invalid device cgroup rule format: '${text}'`);
  const rule = {
    major: number(major),
    minor: number(minor),
    read: rights.includes('r'),
    write: rights.includes('w'),
    mknod: rights.includes('m'),
  };
  return (type === 'a' ? [false, true] : [type === 'b']).map((block) => ({ block, ...rule }));
}
