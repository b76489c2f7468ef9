// What an op is given beside the host's facts: the checked verb, whose it is, and the ticket's descriptors.
import type { Phases } from '../../proto/gen/berth/helper/v1/request.ts';
import type { Blocks } from './ids.ts';
import type { CgroupHost } from './cgroup-host.ts';
import type { Images } from './images.ts';
import type { Layers } from './layers.ts';
import type { Records, Run } from './records.ts';
import type { Held } from './stdio.ts';
import type { Worker } from './worker.ts';
import type { Machine } from '../lower/host.ts';

/** The principal that asks, and the asking user's own ids by the kernel's word. */
export type Owner = { readonly name: string; readonly uid: number; readonly gid: number };
export type Order<V> = {
  readonly verb: V;
  readonly owner: Owner;
  /** The ticket's descriptors; not the op's to close. */
  readonly fds: readonly number[];
};

/** `deliver` is called when the process runs, before the op lets go of what it opened. */
export type StartOrder<V> = Order<V> & { readonly deliver: (started: Started) => void };

/** A process that an op has started. `held` goes to the keeper and, when asked for, to the engine. */
export type Started = { readonly run: Run; readonly pidfd: number; readonly held: Held; readonly phases: Phases };

/** All that the ops work on. */
export type World = {
  readonly machine: Machine;
  readonly cgroups: CgroupHost;
  readonly blocks: Blocks;
  readonly records: Records;
  readonly layers: Layers;
  readonly images: Images;
  readonly worker: Worker;
  /** Pidfd of a container's first process or of an exec (by its id), while it is watched. */
  readonly pidfdOf: (container: string, exec?: string) => number | undefined;
};
