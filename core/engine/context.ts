// What all verbs of the engine work with. Made once by make.ts.
import type { ContainerId } from '../base/brand.ts';
import { BerthError } from '../base/errors.ts';
import type { Link } from '../link/link.ts';
import { saveContainer } from '../store/containers.ts';
import type { Store } from '../store/open.ts';
import type { Container, ContainerRecord } from './container.ts';
import type { Ref } from './engine.ts';
import type { Events } from './events.ts';
import type { ImageFiles } from './image-files.ts';
import type { Pump } from './pump.ts';

export type Context = {
  readonly link: Link;
  readonly store: Store;
  readonly pump: Pump;
  readonly events: Events;
  readonly imageFiles: ImageFiles;
  readonly containers: Map<ContainerId, Container>;
  /** The user's state directory. */
  readonly dir: string;
  /** One line into the engine's log file. */
  readonly log: (line: string) => void;
  /** Containers whose record in memory is newer than on disk. */
  readonly unsaved: Set<Container>;
};

/** Changes the record; it is on disk when this returns. Throws name_in_use, no_space. */
export function save(context: Context, container: Container, change: Partial<ContainerRecord>): void {
  const record = { ...container.record, ...change };
  saveContainer(context.store, { id: record.id, name: record.name, document: record });
  context.unsaved.delete(container);
  container.record = record;
}

/** Changes the record at once in memory and soon on disk: for what the helper would tell again if we were killed in between. */
export function saveSoon(context: Context, container: Container, change: Partial<ContainerRecord>): void {
  container.record = { ...container.record, ...change };
  if (context.unsaved.size === 0) setTimeout(() => flush(context), SOON_MS);
  context.unsaved.add(container);
}

const SOON_MS = 20;
/** What could not be written (the disk is full) is tried again so often. */
const AGAIN_MS = 1000;

/** Writes what saveSoon() left. */
export function flush(context: Context): void {
  for (const container of [...context.unsaved]) {
    try {
      if (context.containers.get(container.record.id) === container) save(context, container, {});
      context.unsaved.delete(container);
    } catch (error) {
      context.log(
        `container ${container.record.id}: its record cannot be written: ${error instanceof Error ? error.message : error}`,
      );
    }
  }
  if (context.unsaved.size > 0) setTimeout(() => flush(context), AGAIN_MS).unref();
}

/** The container a person names: full id, then name, then the beginning of an id. Throws container_not_found, bad_parameter where several begin so. */
export function findContainer(context: Context, ref: Ref): Container {
  const { containers, store } = context;
  const exact =
    containers.get(ref as ContainerId) ??
    containers.get(store.names.get(ref.replace(/^\//, '')) ?? ('' as ContainerId));
  if (exact !== undefined) return exact;
  const begins = /^[0-9a-f]+$/.test(ref) ? [...containers.keys()].filter((id) => id.startsWith(ref)) : [];
  if (begins.length > 1) throw new BerthError('bad_parameter', `Multiple IDs found with provided prefix: ${ref}`);
  const only = begins[0] === undefined ? undefined : containers.get(begins[0]);
  if (only === undefined) throw new BerthError('container_not_found', `No such container: ${ref}`);
  return only;
}

/** Tells subscribers what happened to a container. */
export function emit(
  context: Context,
  container: Container,
  event: { readonly action: string; readonly more?: Readonly<Record<string, string>> },
): void {
  const { id, name, body } = container.record;
  context.events.emit({
    type: 'container',
    action: event.action,
    id,
    attributes: { ...(body.Labels ?? {}), image: body.Image, name, ...event.more },
  });
}
