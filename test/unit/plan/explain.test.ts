// What cannot be seen in the text must not change what the helper does: every field of a plan is changed, and the text must change.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { planContainer } from '../../../core/plan/container.ts';
import { explainPlan } from '../../../core/plan/explain.ts';
import { planJson } from '../../../core/plan/json.ts';
import type { Launch } from '../../../proto/gen/berth/helper/v1/plan.ts';
import { baseFacts, intent, loadCases } from '../../cases/load.ts';

type Path = readonly (string | number)[];
type Leaf = { readonly path: Path; readonly value: unknown };

/** Every value that is no object, with the path to it; the bytes of a file count as one, a oneof by its case and its fields. */
function leaves(value: unknown, path: Path = []): Leaf[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [{ path, value }];
  return Object.entries(value).flatMap(([key, item]) =>
    leaves(item, [...path, Array.isArray(value) ? Number(key) : key]),
  );
}

/** The same value with another at the path. */
function changed(value: unknown, path: Path, leaf: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return leaf;
  if (Array.isArray(value)) return value.map((item, i) => (i === key ? changed(item, rest, leaf) : item));
  const object = value as Record<string, unknown>;
  return { ...object, [key]: changed(object[key], rest, leaf) };
}

function other(value: unknown): unknown {
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'bigint') return value + 1n;
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'string') return `${value}x`;
  return Buffer.concat([value as Uint8Array, Buffer.from([0xff])]);
}

/** Names of the leaves as plan.proto has them: lists without their index, a oneof as the field that is set. */
function fieldsOf(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [path];
  if (Array.isArray(value)) return value.flatMap((item) => fieldsOf(item, path));
  if ('$case' in value && 'value' in value) return fieldsOf(value.value, path.replace(/[^.]*$/, String(value.$case)));
  return Object.entries(value).flatMap(([key, item]) => fieldsOf(item, path === '' ? key : `${path}.${key}`));
}

/** The same names from the text of plan.proto. */
function fieldsOfProto(message: string, path = ''): string[] {
  const text = readFileSync(new URL('../../../proto/berth/helper/v1/plan.proto', import.meta.url), 'utf8');
  const body = new RegExp(`^message ${message} \\{\n([\\s\\S]*?)^\\}`, 'm').exec(text)?.[1] ?? '';
  const found = [...body.matchAll(/^\s*(?:repeated )?(\w+) (\w+) = \d+;/gm)];
  return found.flatMap(([, type = '', name = '']) => {
    const field = `${path}${name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())}`;
    return text.includes(`\nmessage ${type} {`) ? fieldsOfProto(type, `${field}.`) : [field];
  });
}

const cases = loadCases();

describe('explainPlan()', () => {
  test.each(cases)('$name: every field of the plan is in the text', ({ intent: asked, facts }) => {
    const plan = planContainer(asked, facts);
    const text = explainPlan(plan, facts.host.cgroup);
    // The case of a oneof is not a leaf of its own: another case has other fields.
    const all = leaves(plan.launch).filter(({ path }) => path.at(-1) !== '$case');
    expect(all.length).toBeGreaterThan(150);
    const unseen = all.filter(({ path, value }) => {
      const launch = changed(plan.launch, path, other(value)) as Launch;
      return explainPlan({ ...plan, launch }, facts.host.cgroup) === text;
    });
    expect(unseen.map(({ path }) => path.join('.'))).toEqual([]);
  });

  test('the cases set every field of the message', () => {
    const directory = baseFacts({ root: { kind: 'directory', path: '/r', descriptor: 0 }, lookups: {} });
    const plans = [
      ...cases.map(({ intent: asked, facts }) => planContainer(asked, facts).launch),
      planContainer(intent({ Cmd: ['x'] }), directory).launch,
    ];
    const seen = new Set(plans.flatMap((launch) => fieldsOf(launch)));
    const known = fieldsOfProto('Launch');
    expect(known.length).toBeGreaterThan(70);
    expect(known.filter((field) => !seen.has(field))).toEqual([]);
  });

  test('removing an element of any list is seen', () => {
    const { intent: asked, facts } = cases.find(({ name }) => name === 'names') ?? {
      intent: intent(),
      facts: baseFacts(),
    };
    const plan = planContainer(asked, facts);
    const text = explainPlan(plan, facts.host.cgroup);
    const { mounts, devices } = plan.launch;
    expect(explainPlan({ ...plan, launch: { ...plan.launch, mounts: mounts.slice(1) } }, facts.host.cgroup)).not.toBe(
      text,
    );
    expect(explainPlan({ ...plan, launch: { ...plan.launch, devices: devices.slice(1) } }, facts.host.cgroup)).not.toBe(
      text,
    );
  });

  test('a --rootfs is shown with its descriptor', () => {
    const facts = baseFacts({ root: { kind: 'directory', path: '/srv/root', descriptor: 3 }, lookups: {} });
    const text = explainPlan(planContainer(intent({ Cmd: ['sh'] }), facts), facts.host.cgroup);
    expect(text).toContain('directory, descriptor 3, writable');
    expect(text).toContain('# --rootfs /srv/root, written in place');
  });

  test('the order is root, volumes, pivot, exec', () => {
    const { intent: asked, facts } = cases.find(({ name }) => name === 'binds') ?? {
      intent: intent(),
      facts: baseFacts(),
    };
    const text = explainPlan(planContainer(asked, facts), facts.host.cgroup);
    const at = ['\nroot\n', '-v /srv/case/data:/data', '\npivot_root\n', '\nexec\n'].map((word) => text.indexOf(word));
    expect(at).toEqual([...at].sort((a, b) => a - b));
    expect(at.every((place) => place > 0)).toBe(true);
  });
});

describe('planJson()', () => {
  test('is JSON with names for enums, texts for long numbers, base64 for bytes', () => {
    const { launch } = planContainer(intent({ Cmd: ['true'], HostConfig: { PidsLimit: 5 } }), baseFacts());
    const read = JSON.parse(planJson(launch));
    expect(read.limits.settings).toEqual([{ knob: 'KNOB_PIDS_MAX', value: '5' }]);
    expect(read.root.image.layers).toHaveLength(1);
    expect(read.mounts[0].kernel.filesystem).toBe('KERNEL_FILESYSTEM_PROC');
    const hostname = read.mounts.find((mount: { target: string }) => mount.target === '/etc/hostname');
    expect(Buffer.from(hostname.file.content, 'base64').toString()).toBe('3f2a01234567\n');
    expect(hostname.file.name).toBe('GENERATED_NAME_HOSTNAME');
  });
});
