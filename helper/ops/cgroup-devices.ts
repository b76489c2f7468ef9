// Which devices a container may open: the nodes it was given, terminals, and what policy allowed beside. It is the second wall: nodes made by the
// container are on file systems where none opens. Only cgroup v1 has a controller for it that takes text.
import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { DeviceNode, DeviceRule } from '../../proto/gen/berth/helper/v1/plan.ts';
import type { CgroupHost } from './cgroup-host.ts';
import { step } from './failed.ts';

// Terminals, /dev/tty and /dev/ptmx; making a node is not opening it. Source: moby, daemon/pkg/oci/defaults.go; without 5:1, which is the host's console:
// the container's own is one of its terminals.
const USUAL = ['c 136:* rwm', 'c 5:0 rwm', 'c 5:2 rwm', 'c *:* m', 'b *:* m'];

/** Denies all devices but these. */
export function limitDevices(host: CgroupHost, id: string, nodes: readonly DeviceNode[]): void {
  const parent = host.of.get('devices');
  if (host.version !== 1 || parent === undefined) return;
  write(`${parent}/${id}/devices.deny`, ['a']);
  write(`${parent}/${id}/devices.allow`, [
    ...USUAL,
    ...nodes.map((node) => `${node.block ? 'b' : 'c'} ${node.major}:${node.minor} rwm`),
  ]);
}

/** Allows more. */
export function allowDevices(host: CgroupHost, id: string, rules: readonly DeviceRule[]): void {
  const parent = host.of.get('devices');
  if (host.version !== 1 || parent === undefined) return;
  const number = (value: bigint): string => (value < 0n ? '*' : String(value));
  const texts = rules.map((rule) => {
    const access = `${rule.read ? 'r' : ''}${rule.write ? 'w' : ''}${rule.mknod ? 'm' : ''}`;
    return `${rule.block ? 'b' : 'c'} ${number(rule.major)}:${number(rule.minor)} ${access}`;
  });
  write(`${parent}/${id}/devices.allow`, texts);
}

function write(file: string, texts: readonly string[]): void {
  for (const text of texts) step(`write ${text} to ${basename(file)}`, () => writeFileSync(file, text));
}
