// A plan as JSON: the message's own field names, the chosen case of a oneof as its field, enums by name, 64-bit numbers as strings, bytes as
// base64. Source: protobuf.dev, ProtoJSON.
import {
  GeneratedName,
  KernelFilesystem,
  Knob,
  Propagation,
  Resource,
  Seccomp,
  ThrottleKind,
} from '../../proto/gen/berth/helper/v1/plan.ts';

const ENUMS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  filesystem: KernelFilesystem,
  kind: ThrottleKind,
  knob: Knob,
  name: GeneratedName,
  propagation: Propagation,
  resource: Resource,
  seccomp: Seccomp,
};

/** Any plan as JSON text, indented by two. */
export function planJson(plan: unknown): string {
  return JSON.stringify(plain(plan, ''), null, 2);
}

function plain(value: unknown, key: string): unknown {
  if (typeof value === 'bigint') return `${value}`;
  if (typeof value === 'number') return nameOf(value, key);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map((item) => plain(item, ''));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([name, item]) => field(name, item)));
}

function field(name: string, item: unknown): [string, unknown][] {
  if (typeof item === 'object' && item !== null && '$case' in item && 'value' in item) {
    return [[String(item.$case), plain(item.value, String(item.$case))]];
  }
  return [[name, plain(item, name)]];
}

function nameOf(value: number, key: string): string | number {
  const names = Object.hasOwn(ENUMS, key) ? ENUMS[key] : undefined;
  return Object.entries(names ?? {}).find(([, number]) => number === value)?.[0] ?? value;
}
