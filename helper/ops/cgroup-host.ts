// The cgroup hierarchies of this host, and our own parent group in each: `berth` or `berth-N`, beneath the hierarchy's root. Nothing here or in
// cgroup.ts touches a group that is not beneath our parent; the group's name is a checked id, never text of a request.
import { constants, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { list, readText } from './files.ts';
import { step } from './failed.ts';

export const CONTROLLERS = ['cpu', 'cpuset', 'memory', 'pids', 'blkio', 'io', 'devices', 'freezer'] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** `of`: the parent that has the controller. */
export type CgroupHost = {
  readonly version: 0 | 1 | 2;
  /** The directory of our parent group in each hierarchy in use, once; on v1 they are open, for processes to enter groups beneath them. */
  readonly parents: readonly string[];
  readonly descriptors: readonly number[];
  readonly of: ReadonlyMap<Controller, string>;
};

/** A host whose groups are not ours to make: every limit is refused by name. */
export const NO_CGROUPS: CgroupHost = { version: 0, parents: [], descriptors: [], of: new Map() };

/** Finds the hierarchies and makes our parent groups. Source: man 7 cgroups; v1, co-mounted, hybrid and v2. */
export function openCgroups(name: string, mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): CgroupHost {
  const mounts = mountinfo.split('\n').map(parseMount);
  const v1 = new Map<Controller, string>();
  for (const mount of mounts) {
    if (mount?.type !== 'cgroup') continue;
    for (const controller of CONTROLLERS)
      if (mount.options.includes(controller)) v1.set(controller, `${mount.point}/${name}`);
  }
  if (v1.has('pids') || v1.has('memory')) return makeV1(v1);
  const unified = mounts.find((mount) => mount?.type === 'cgroup2');
  return unified === undefined ? NO_CGROUPS : makeV2(unified.point, name);
}

function parseMount(line: string): { point: string; type: string; options: string[] } | undefined {
  const fields = line.split(' ');
  const dash = fields.indexOf('-');
  const [point, type] = [fields[4], fields[dash + 1]];
  if (dash < 0 || point === undefined || type === undefined) return undefined;
  return { point, type, options: (fields[dash + 3] ?? '').split(',') };
}

function makeV1(of: Map<Controller, string>): CgroupHost {
  const parents = [...new Set(of.values())];
  for (const parent of parents) step(`make cgroup ${parent}`, () => mkdirSync(parent, { recursive: true }));
  const cpuset = of.get('cpuset');
  // A cpuset without processors takes no process: ours and, by clone_children, each container's starts with what the root has.
  const change = (file: string, from: string, to: string): void => {
    if (readText(file)?.trim() === from) writeFileSync(file, to);
  };
  for (const file of ['cpuset.cpus', 'cpuset.mems'])
    change(`${cpuset}/${file}`, '', readText(`${cpuset}/../${file}`)?.trim() ?? '');
  change(`${cpuset}/cgroup.clone_children`, '0', '1');
  change(`${of.get('memory')}/memory.use_hierarchy`, '0', '1');
  const descriptors = parents.map((parent) => openSync(parent, constants.O_RDONLY | constants.O_DIRECTORY));
  return { version: 1, parents, descriptors, of };
}

/** On v2 a group with processes cannot give controllers to its children, so where the helper itself sits in the root's way it moves to a leaf. */
function makeV2(root: string, name: string): CgroupHost {
  const parent = `${root}/${name}`;
  step(`make cgroup ${parent}`, () => mkdirSync(parent, { recursive: true }));
  const wanted = CONTROLLERS.filter((controller) =>
    (readText(`${root}/cgroup.controllers`) ?? '').split(/\s/).includes(controller),
  );
  for (const controller of wanted) {
    for (const group of [root, parent]) enable(group, controller);
  }
  const granted = (readText(`${parent}/cgroup.subtree_control`) ?? '').split(/\s/);
  const of = new Map<Controller, string>([
    ['freezer', parent],
    ['devices', parent],
  ]);
  for (const controller of wanted) if (granted.includes(controller)) of.set(controller, parent);
  return { version: 2, parents: [parent], descriptors: [], of };
}

function enable(group: string, controller: Controller): void {
  if ((readText(`${group}/cgroup.subtree_control`) ?? '').split(/\s/).includes(controller)) return;
  try {
    writeFileSync(`${group}/cgroup.subtree_control`, `+${controller}`);
  } catch {
    // EBUSY where a foreign process sits in the group, or the controller is bound to v1: the host's facts then lack it, and a limit that needs
    // it is refused by name.
  }
}

/** Names of the groups beneath our parents: containers that have or had one. */
export function groupNames(host: CgroupHost): Set<string> {
  return new Set(host.parents.flatMap((parent) => list(parent).filter((name) => /^[0-9a-f]{64}$/.test(name))));
}
